"""The least whole program: what a sync has to do in any case, by the same libraries, and nothing that makes it safe.

aiohttp receives over several connections, threads hash and write, two processes inflate with ISA-L and write the
members. It trusts every name and number, resumes and reports nothing, and whatever ends it leaves things half there.
No other program by these means is known here that takes less. Prints what it cost as JSON.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import multiprocessing
import os
import struct
import sys
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from isal import isal_zlib

_MIB = 1 << 20
_SLICE = 16 * _MIB
"""Bytes of an archive that one process unpacks in one go; so both end together."""


@dataclass(frozen=True, slots=True)
class Task:
    """One archive.

    Attributes:
        sha256: Its digest.
        url: Where it is served.
        path: Where to put it until it is unpacked.
        folder: Where to unpack it.
    """

    sha256: str
    url: str
    path: Path
    folder: Path


@functools.lru_cache(maxsize=4)
def members(path: Path) -> list[zipfile.ZipInfo]:
    """What is listed in a zip."""
    with zipfile.ZipFile(path) as opened:
        return [info for info in opened.infolist() if not info.is_dir()]


def write_member(file: int, archive: int, info: zipfile.ZipInfo) -> None:
    """Read a member, inflate and write it, a MiB at a time where it is large."""
    room = 30 + len(info.filename) * 4 + 64  # for its header; most have their data in the same piece
    piece = os.pread(archive, min(room + info.compress_size, _MIB), info.header_offset)
    at = 30 + sum(struct.unpack_from("<2H", piece, 26))
    tail: bytes | memoryview = memoryview(piece)[at : at + info.compress_size]
    at, left = info.header_offset + at + len(tail), info.compress_size - len(tail)
    inflater = isal_zlib.decompressobj(-15) if info.compress_type == zipfile.ZIP_DEFLATED else None
    most, crc = (info.file_size + 1 if info.file_size <= 4 * _MIB else _MIB), 0
    while tail or left:
        if not tail:
            tail = os.pread(archive, min(left, _MIB), at)
            at, left = at + len(tail), left - len(tail)
        data: bytes | memoryview
        data, tail = (inflater.decompress(tail, most), inflater.unconsumed_tail) if inflater else (tail, b"")
        crc = isal_zlib.crc32(data, crc)
        os.write(file, data)
    assert crc == info.CRC, info.filename


def unpack(path: Path, folder: Path, first: int, last: int) -> None:
    """Unpack the members that begin between two places of a zip."""
    known = set[str]()
    with path.open("rb", buffering=0) as archive:
        for info in members(path):
            if first <= info.header_offset < last:
                target = f"{folder}/{info.filename}"
                parent = target.rpartition("/")[0]
                if parent not in known:
                    os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - as fast as Python can
                    known.add(parent)
                file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                write_member(file, archive.fileno(), info)
                os.close(file)


def take(hashing: hashlib._Hash, file: int, pieces: list[bytes]) -> None:
    """Hash and write what has arrived."""
    for piece in pieces:
        hashing.update(piece)
        os.write(file, piece)


async def fetch(session: aiohttp.ClientSession, task: Task, threads: ThreadPoolExecutor) -> None:
    """Download an archive and check its digest; one MiB at a time goes to a thread."""
    loop = asyncio.get_running_loop()
    hashing, pieces, size = hashlib.sha256(), list[bytes](), 0
    file = os.open(task.path, os.O_WRONLY | os.O_CREAT)
    under_way = None
    async with session.get(task.url) as answer:
        async for piece in answer.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size >= _MIB:
                if under_way is not None:
                    await under_way
                under_way = loop.run_in_executor(threads, take, hashing, file, pieces)
                pieces, size = [], 0
    if under_way is not None:
        await under_way
    await loop.run_in_executor(threads, take, hashing, file, pieces)
    os.close(file)
    assert hashing.hexdigest() == task.sha256, task.url


async def put(task: Task, processes: ProcessPoolExecutor) -> None:
    """Unpack an archive that is here, and remove it."""
    loop, size = asyncio.get_running_loop(), task.path.stat().st_size
    count = max(1, size // _SLICE)
    places = [size * number // count for number in range(count + 1)]
    await asyncio.gather(
        *(
            loop.run_in_executor(processes, unpack, task.path, task.folder, first, last)
            for first, last in itertools.pairwise(places)
        )
    )
    task.path.unlink()


async def work(tasks: list[Task], jobs: int, processes: ProcessPoolExecutor) -> None:
    """All archives, in the order in which they are given."""
    left = tasks[::-1]

    async def some(session: aiohttp.ClientSession, threads: ThreadPoolExecutor, group: asyncio.TaskGroup) -> None:
        while left:
            task = left.pop()
            await fetch(session, task, threads)
            group.create_task(put(task, processes))

    with ThreadPoolExecutor(2) as threads:
        async with aiohttp.ClientSession(read_bufsize=256 << 10) as session, asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(some(session, threads, group))


def main() -> None:
    """Do it over JOBS connections: digest, URL, archive and folder by line of standard input, the largest first."""
    tasks = []
    for line in sys.stdin:
        sha256, url, path, folder = line.rstrip("\n").split("\t")
        tasks.append(Task(sha256, url, Path(path), Path(folder)))
    wall, cpu = time.perf_counter(), time.process_time()
    # Forked before there is any thread, which takes no time: a program that has threads already can't.
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
        asyncio.run(work(tasks, int(sys.argv[1]), processes))
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
