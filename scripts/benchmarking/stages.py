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

from isal import igzip_lib, isal_zlib

from ayon_async import AyonServer
from ayon_async.checksum import Checksum
from ayon_async.item import Item
from ayon_async.limits import Limits
from ayon_async.locate import Archive, Source
from ayon_async.progress import Ledger
from ayon_async.transfer import Part, Transfers
from ayon_async.unpack.workers import Workers

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


async def download(tasks: list[Task], folder: Path, jobs: int) -> tuple[float, float]:
    """All archives into part files, verified."""
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
        wall, cpu = time.perf_counter(), time.process_time()
        async with Transfers(server, jobs=jobs) as transfers, asyncio.TaskGroup() as group:
            for item, task in zip(items, tasks, strict=True):
                group.create_task(fetch(transfers, item, task))
        return time.perf_counter() - wall, time.process_time() - cpu


def unpack_all(tasks: list[Task], folder: Path) -> tuple[float, float]:
    """All archives into folders, as a sync of so many does it: two processes, asked by two threads."""
    never, limits = threading.Event(), Limits()

    def one(task: Task) -> None:
        name = task.path.name
        with task.path.open("rb") as file:
            workers.unpack(
                file, task.path, folder / name, name=name, limits=limits, on_progress=lambda _: None, stop=never,
                group_writable=False, helpers=pool,
            )  # fmt: skip

    wall, cpu = time.perf_counter(), time.process_time()
    with Workers(2, background=False) as workers, ThreadPoolExecutor(2) as pool:
        for _ in pool.map(one, tasks):
            pass
    return time.perf_counter() - wall, time.process_time() - cpu


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


def write_file(path: str, content: bytes | memoryview) -> None:
    """A new file, in as few calls as there can be."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(file, content)
    os.close(file)


def inflate(content: memoryview, info: zipfile.ZipInfo) -> tuple[float, bytes | memoryview]:
    """Seconds of processor time for inflating a member of a zip, its CRC included; and what it is then."""
    names = sum(struct.unpack_from("<2H", content, info.header_offset + 26))
    start = info.header_offset + 30 + names
    data: bytes | memoryview = content[start : start + info.compress_size]
    before = time.process_time()
    if info.compress_type == zipfile.ZIP_DEFLATED:
        data = igzip_lib.decompress(data, flag=igzip_lib.DECOMP_DEFLATE, hist_bits=15, bufsize=max(info.file_size, 1))
    right = isal_zlib.crc32(data) == info.CRC
    used = time.process_time() - before
    assert right, info.filename
    return used, data


def write_member(path: str, content: bytes | memoryview, known: set[str]) -> float:
    """Seconds of processor time for making a member's file, and its folder where that is not known to be there."""
    before = time.process_time()
    parent = path.rpartition("/")[0]
    if parent not in known:
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - as fast as Python can
        known.add(parent)
    write_file(path, content)
    return time.process_time() - before


def bound(tasks: list[Task], folder: Path) -> dict[str, float]:
    """Each part's seconds of processor time; one member after another, as new memory costs time too."""
    parts = {"receive": receive(tasks), "hash": hash_all(tasks), "write": 0.0, "inflate": 0.0}
    for task in tasks:
        content, known = task.path.read_bytes(), set[str]()
        parts["write"] += write_archive(content, folder / task.path.name)
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            listed = [info for info in opened.infolist() if not info.is_dir()]
        for info in listed:
            used, member = inflate(memoryview(content), info)
            parts["inflate"] += used
            parts["write"] += write_member(f"{folder}/{task.path.name}.out/{info.filename}", member, known)
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
    wall, cpu = asyncio.run(download(tasks, folder, jobs)) if stage == "download" else unpack_all(tasks, folder)
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
