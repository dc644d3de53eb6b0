"""The bare program for small archives, and what a store is promised besides, in one straight line.

Before anything is begun the sizes are known; of each item the lease is held while it is worked on; it is unpacked
aside, with both records in it, its digest is remembered, and one rename puts it in its place. That is all: no name and
no header is checked, nothing is resumed, tried again, put on the device or told of, nobody else's work is waited for,
and whatever ends it leaves everything as it is. Prints what it cost as JSON.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp

from benchmarking.bare import Task, fetch, members, read_tasks, unpack


def write_new(path: str, content: object) -> None:
    """Write a small file of JSON that is not there yet."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(file, json.dumps(content).encode())
    os.close(file)


class Kept:
    """Where the rules of a store are kept.

    Args:
        root: A folder on the same file system as the items' own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("locks", "staging", "seen"):
            (root / name).mkdir(parents=True)

    def take(self, task: Task) -> int:
        """Take the item's lease, and see that neither it nor anything staged for it is there; a descriptor."""
        path = f"{self._root}/locks/{task.folder.name}"
        lease = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(lease, bytes(32))
        os.utime(lease, (0, 0))
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.path.samestat(os.fstat(lease), os.stat(path))  # noqa: PTH116 - as fast as Python can
        assert not os.path.lexists(task.folder)
        with os.scandir(f"{self._root}/staging") as staged:
            assert not any(entry.name.startswith(f"{task.folder.name}.") for entry in staged)
        return lease

    def place(self, task: Task) -> None:
        """Unpack the archive aside, write its records, remember its digest, and rename the folder."""
        name = task.folder.name
        staged = f"{self._root}/staging/{name}.{uuid.uuid4().hex}"
        unpack(task.path, Path(staged), 0, sys.maxsize)
        files = [(info.filename, info.file_size, info.CRC) for info in members(task.path)]
        write_new(f"{staged}/.ayon-async.json", {"sha256": task.sha256, "source": task.url, "files": files})
        write_new(f"{staged}/dist_progress.json", {"state": "done", "progress_id": uuid.uuid4().hex})
        seen = f"{self._root}/seen/{name}.json"
        if not os.path.lexists(seen):
            write_new(f"{seen}.tmp", {"sha256": task.sha256})
            os.rename(f"{seen}.tmp", seen)  # noqa: PTH104
        os.rename(staged, task.folder)  # noqa: PTH104

    def give_back(self, task: Task, lease: int) -> None:
        """Give the lease back, if it is still ours."""
        path = f"{self._root}/locks/{task.folder.name}"
        if os.path.samestat(os.fstat(lease), os.stat(path)):  # noqa: PTH116
            os.unlink(path)  # noqa: PTH108
        os.close(lease)


async def each(tasks: list[Task], jobs: int, do: Callable[[Task], Awaitable[None]]) -> None:
    """Do something with all of them, so many at a time."""
    left = tasks[::-1]

    async def some() -> None:
        while left:
            await do(left.pop())

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(some())


async def work(tasks: list[Task], jobs: int, kept: Kept) -> None:
    """All archives, in the order in which they are given."""
    with ThreadPoolExecutor(1) as threads:
        async with aiohttp.ClientSession() as session:

            async def ask(task: Task) -> None:
                async with session.get(task.url, headers={"Range": "bytes=0-0"}) as answer:
                    assert int(answer.headers["Content-Range"].rpartition("/")[2])
                    await answer.read()

            async def get(task: Task) -> None:
                lease = kept.take(task)
                await fetch(session, task, threads)
                kept.place(task)
                task.path.unlink()
                kept.give_back(task, lease)

            await each(tasks, jobs, ask)
            await each(tasks, jobs, get)


def main() -> None:
    """Do it over JOBS connections: digest, URL, archive and folder by line of standard input."""
    tasks = read_tasks()
    begun = time.perf_counter()
    tasks[0].folder.parent.mkdir(exist_ok=True)
    asyncio.run(work(tasks, int(sys.argv[1]), Kept(tasks[0].folder.parent.parent / "store")))
    print(json.dumps({"wall": time.perf_counter() - begun}))


if __name__ == "__main__":
    main()
