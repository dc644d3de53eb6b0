"""The least whole program: what a sync has to do in any case, by the same libraries, and nothing that makes it safe.

aiohttp receives over several connections, threads hash and write, two processes inflate with ISA-L and write the
members. It trusts every name and number, resumes nothing, reports nothing, and is left half done whatever ends it. A
program that parses directories by means of its own takes some hundredths less. Prints what it cost as JSON.
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
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from isal import isal_zlib

_MIB = 1 << 20
_SLICE = 16 * _MIB
"""Bytes of an archive that one process unpacks in one go, so that both processes end at about the same time."""


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


def packed(archive: int, info: zipfile.ZipInfo) -> Iterator[bytes | memoryview]:
    """A member's bytes as they are in the zip, a MiB at a time."""
    room = 30 + len(info.filename) * 4 + 64  # for its header; most have their data in the same piece
    piece = os.pread(archive, min(room + info.compress_size, _MIB), info.header_offset)
    start = 30 + sum(struct.unpack_from("<2H", piece, 26))
    first = memoryview(piece)[start : start + info.compress_size]
    yield first
    at, left = info.header_offset + start + len(first), info.compress_size - len(first)
    while left:
        piece = os.pread(archive, min(left, _MIB), at)
        assert piece, info.filename
        yield piece
        at, left = at + len(piece), left - len(piece)


def inflated(pieces: Iterable[bytes | memoryview], info: zipfile.ZipInfo) -> Iterator[bytes | memoryview]:
    """What they are inflated: in one go, or a MiB at a time where that is more than memory is quick for."""
    if info.compress_type != zipfile.ZIP_DEFLATED:
        yield from pieces
        return
    inflater = isal_zlib.decompressobj(-15)
    most = info.file_size + 1 if info.file_size <= 4 * _MIB else _MIB
    for piece in pieces:
        data = inflater.decompress(piece, most)
        yield data
        while not inflater.eof and (inflater.unconsumed_tail or len(data) == most):
            data = inflater.decompress(inflater.unconsumed_tail, most)
            yield data


def write_member(target: str, pieces: Iterable[bytes | memoryview], info: zipfile.ZipInfo) -> None:
    """Write a member's file."""
    file, crc = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), 0
    for piece in pieces:
        crc = isal_zlib.crc32(piece, crc)
        os.write(file, piece)
    os.close(file)
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
                write_member(target, inflated(packed(archive.fileno(), info), info), info)


def take(hashing: hashlib._Hash, file: int, pieces: list[bytes]) -> None:
    """Hash and write what has arrived."""
    for piece in pieces:
        hashing.update(piece)
        os.write(file, piece)


async def fetch(session: aiohttp.ClientSession, task: Task, threads: ThreadPoolExecutor) -> None:
    """Download an archive and check its digest; of a large one a MiB at a time goes to a thread."""
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
    if under_way is None:
        take(hashing, file, pieces)
    else:
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
            if task.path.stat().st_size < _MIB:  # quicker than to tell another process
                unpack(task.path, task.folder, 0, _MIB)
                task.path.unlink()
            else:
                group.create_task(put(task, processes))

    with ThreadPoolExecutor(2) as threads:
        async with aiohttp.ClientSession(read_bufsize=256 << 10) as session, asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(some(session, threads, group))


def read_tasks() -> list[Task]:
    """Digest, URL, archive and folder by line of standard input."""
    lines = (line.rstrip("\n").split("\t") for line in sys.stdin)
    return [Task(sha256, url, Path(path), Path(folder)) for sha256, url, path, folder in lines]


def main() -> None:
    """Do it over JOBS connections: tasks by standard input, the largest first."""
    tasks = read_tasks()
    begun = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
        processes.submit(int)  # both are forked here, before there is any thread of ours
        asyncio.run(work(tasks, int(sys.argv[1]), processes))
        print(json.dumps({"wall": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
