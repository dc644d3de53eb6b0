"""Leases: who works on an item or collects an archive. They save work; what makes the store right is the rename.

Where the operating system locks files, a lease ends in the moment its holder dies. Where it does not, the holder keeps
counting in a file, and the others watch the count on their own clocks: one that stands still is taken over. Wall
clocks, which differ between hosts, are never compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import filelock

from ayon_async import fs
from ayon_async.store.marker import Protocol
from ayon_async.threads import in_thread

POLL = 0.2
COUNT_EVERY = 2.0
STANDS_STILL = 20.0
"""Seconds without counting after which a holder is taken to be dead; it may be stopped and come back, harmlessly."""


@asynccontextmanager
async def hold(folder: Path, name: str, protocol: Protocol, waiting: Callable[[], None]) -> AsyncIterator[bool]:
    """Hold the lease of this name; waits until nobody else does.

    Args:
        folder: Where the leases' files lie.
        protocol: The store's.
        waiting: Called once where somebody else holds it.

    Yields:
        Whether it was taken from a holder that may come back.

    Raises:
        OSError: There can't be a lease.
    """
    if protocol == "flock":
        async with _flock(folder / f"{name}.lock", waiting):
            yield False
    else:
        async with _counter(folder / f"{name}.lease", waiting) as taken_over:
            yield taken_over


@contextlib.contextmanager
def hold_now(folder: Path, name: str, protocol: Protocol) -> Iterator[bool]:
    """Hold the lease if nobody else does; for a moment only, since it does not count.

    Yields:
        Whether it is held.
    """
    if protocol == "flock":
        lock = filelock.FileLock(folder / f"{name}.lock", thread_local=False)
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
        return
    path = folder / f"{name}.lease"
    fd = _try_counter(path, uuid.uuid4().hex)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            _give_back(path, fd)


@asynccontextmanager
async def _flock(path: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    lock = filelock.FileLock(path, thread_local=False)
    told = False
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except filelock.Timeout:
            if not told:
                waiting()
                told = True
            await asyncio.sleep(POLL)
    try:
        yield
    finally:
        lock.release()


# --- counting -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _counter(path: Path, waiting: Callable[[], None]) -> AsyncIterator[bool]:
    me = uuid.uuid4().hex
    taken_over, told = False, False
    seen, since = b"", time.monotonic()
    while (fd := await in_thread(_try_counter, path, me)) is None:
        count = await in_thread(_read, path)
        if count != seen:
            seen, since = count, time.monotonic()
        elif time.monotonic() - since >= STANDS_STILL:
            taken_over = await in_thread(_take_away, path, seen) or taken_over
        if not told:
            waiting()
            told = True
        await asyncio.sleep(POLL)
    counting = asyncio.create_task(_count(fd, me))
    try:
        yield taken_over
    finally:
        counting.cancel()
        await asyncio.wait([counting])
        await in_thread(_give_back, path, fd)


def _try_counter(path: Path, me: str) -> int | None:
    try:
        fd = fs.open_new(path)
    except FileExistsError:
        return None
    os.write(fd, f"{me} {0:>12}".encode())
    os.fsync(fd)
    return fd


async def _count(fd: int, me: str) -> None:
    number = 0
    while True:
        await asyncio.sleep(COUNT_EVERY)
        number += 1
        text = f"{me} {number:>12}".encode()
        # Into the file that was made, not to its name: when somebody took over, the name is theirs.
        await in_thread(_write_count, fd, text)


def _write_count(fd: int, text: bytes) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, text)
    os.fsync(fd)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _take_away(path: Path, seen: bytes) -> bool:
    """Remove a lease that stands still; False where it began to count again, or another one was faster."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        fs.rename(path, aside)
    except FileNotFoundError:
        return False
    if _read(aside) == seen:
        fs.remove(aside)
        return True
    # It lives, or it is the next holder's already: give it back, unless there is a newer one.
    with contextlib.suppress(OSError):
        os.link(aside, path)
    fs.remove(aside)
    return False


def _give_back(path: Path, fd: int) -> None:
    try:
        mine = os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        mine = False
    finally:
        os.close(fd)
    if mine:
        fs.remove(path)
