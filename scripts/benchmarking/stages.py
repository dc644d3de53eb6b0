"""One stage alone, in a process of its own, timed after imports; prints what it cost as JSON.

``download`` and ``unpack`` are this project's own. ``bound`` adds up what no program of this kind can avoid, each
thing alone and by the fastest means known here: receive, hash, inflate, write.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import socket
import struct
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from isal import isal_zlib

from ayon_async import AyonServer
from ayon_async.checksum import Checksum
from ayon_async.item import Item
from ayon_async.limits import Limits
from ayon_async.locate import Archive, Source
from ayon_async.progress import Ledger
from ayon_async.transfer import Part, Transfers
from ayon_async.unpack.workers import Workers
from benchmarking.bare import inflated

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """One archive.

    Attributes:
        sha256: Its digest.
        url: Where it is served.
        path: Where it is, for stages that do not download.
    """

    sha256: str
    url: str
    path: Path


async def download(tasks: list[Task], folder: Path, jobs: int) -> float:
    """All archives into part files, verified; returns seconds."""
    items = [Item("addon", f"archive{number}", "1") for number in range(len(tasks))]
    ledger = Ledger()
    ledger.begin(None, None, items)

    async def fetch(transfers: Transfers, item: Item, task: Task) -> None:
        source = Source("http", task.url, {}, Checksum("sha256", task.sha256), {})
        archive = Archive((source,), None)
        part = Part(folder / f"{item.name}.part", archive.algorithms)
        await transfers.fetch(archive, part, ledger[item])
        part.close()

    async with AyonServer(tasks[0].url) as server:
        begun = time.perf_counter()
        async with Transfers(server, jobs=jobs) as transfers, asyncio.TaskGroup() as group:
            for item, task in zip(items, tasks, strict=True):
                group.create_task(fetch(transfers, item, task))
        return time.perf_counter() - begun


def unpack_all(tasks: list[Task], folder: Path) -> float:
    """All archives into folders; returns seconds. As a sync of so many does it: two processes, asked by two threads."""
    never, limits = threading.Event(), Limits()

    def one(task: Task) -> None:
        name = task.path.name
        with task.path.open("rb") as file:
            workers.unpack(
                file, task.path, folder / name, name=name, limits=limits, on_progress=lambda _: None, stop=never,
                group_writable=False, helpers=pool,
            )  # fmt: skip

    begun = time.perf_counter()
    with Workers(2, background=False) as workers, ThreadPoolExecutor(2) as pool:
        for _ in pool.map(one, tasks):
            pass
    return time.perf_counter() - begun


# --- the bound --------------------------------------------------------------------------------------------------------


def receive(tasks: list[Task]) -> float:
    """Seconds of processor time for taking the bytes from the socket, and nothing else."""
    before = time.process_time()
    buffer = memoryview(bytearray(_CHUNK))
    for task in tasks:
        address = urlsplit(task.url)
        assert address.hostname is not None
        with socket.create_connection((address.hostname, address.port or 80)) as connection:
            connection.sendall(
                f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            while connection.recv_into(buffer):
                pass
    return time.process_time() - before


def hash_all(tasks: list[Task]) -> float:
    """Seconds of processor time for SHA-256 alone, of bytes in memory."""
    used = 0.0
    for task in tasks:
        content = task.path.read_bytes()
        before = time.process_time()
        hashlib.sha256(content)
        used += time.process_time() - before
    return used


def write_archive(content: bytes, path: Path) -> float:
    """Seconds of processor time for writing the archive itself."""
    before = time.process_time()
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    for start in range(0, len(content), _CHUNK):
        os.write(file, memoryview(content)[start : start + _CHUNK])
    os.close(file)
    return time.process_time() - before


def write_members(content: memoryview, folder: str, parts: dict[str, float]) -> None:
    """Inflate and write the members of a zip, one after another, as new memory costs time too; adds up both parts."""
    known = set[str]()
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        listed = [info for info in opened.infolist() if not info.is_dir()]
    for info in listed:
        start = info.header_offset + 30 + sum(struct.unpack_from("<2H", content, info.header_offset + 26))
        data = content[start : start + info.compress_size]
        pieces, crc = inflated([data[at : at + _CHUNK] for at in range(0, max(1, len(data)), _CHUNK)], info), 0
        before = time.process_time()
        target = f"{folder}/{info.filename}"
        parent = target.rpartition("/")[0]
        if parent not in known:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - as fast as Python can
            known.add(parent)
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        written = time.process_time()
        parts["write"] += written - before
        for piece in pieces:
            crc = isal_zlib.crc32(piece, crc)
            there = time.process_time()
            os.write(file, piece)
            before, written = written, time.process_time()
            parts["inflate"] += there - before
            parts["write"] += written - there
        os.close(file)
        parts["write"] += time.process_time() - written
        assert crc == info.CRC, info.filename


def bound(tasks: list[Task], folder: Path) -> dict[str, float]:
    """Each part's seconds of processor time."""
    parts = {"receive": receive(tasks), "hash": hash_all(tasks), "write": 0.0, "inflate": 0.0}
    for task in tasks:
        content = task.path.read_bytes()
        parts["write"] += write_archive(content, folder / task.path.name)
        write_members(memoryview(content), f"{folder}/{task.path.name}.out", parts)
    return parts


def main() -> None:
    """Do the stage: STAGE FOLDER JOBS, with digest, URL and path of each archive by line of standard input."""
    stage, folder, jobs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    tasks = []
    for line in sys.stdin:
        sha256, url, path = line.rstrip("\n").split("\t")
        tasks.append(Task(sha256, url, Path(path)))
    if stage == "bound":
        parts = bound(tasks, folder)
        print(json.dumps({"wall": sum(parts.values()) / 2, "cpu": sum(parts.values()), "more": parts}))
        return
    wall = asyncio.run(download(tasks, folder, jobs)) if stage == "download" else unpack_all(tasks, folder)
    print(json.dumps({"wall": wall}))


if __name__ == "__main__":
    main()
