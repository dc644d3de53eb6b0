"""Leases: who works on an item or collects an archive. They save work; what makes the store right is the rename.

A lease is a file, and whoever made it holds it. Where the operating system locks files, its holder keeps it locked as
well, so that one left by a process that died is known at once. A holder keeps counting, and the others watch the count
on their own clocks: one that stands still, dead on another host or stopped on this one, is taken over. The count is
the file's time of modification: every file system shows it to everybody at once, and it is never compared with a
clock. Wall clocks differ between hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ayon_async import fs
from ayon_async.disk_error import explain
from ayon_async.errors import StoreError
from ayon_async.store.marker import Protocol
from ayon_async.threads import in_thread

if TYPE_CHECKING:
    import filelock

POLL = 0.2
COUNT_EVERY = 2.0
_ENDING = ".lease"
_PRIVATE = 0o600
STANDS_STILL = 20.0
"""Seconds without counting after which a holder is taken to be dead; it may be stopped and come back, harmlessly."""


@dataclass
class Lease:
    """The right to work on something, as far as others know.

    Attributes:
        taken_over: Whether it was taken from a holder that may come back.
        is_over: Whether it was given back.
    """

    _path: Path
    _fd: int
    taken_over: bool = False
    is_over: bool = False
    _using: threading.Lock = field(default_factory=threading.Lock)

    def is_lost(self) -> bool:
        """Whether somebody took this process for dead, and the lease over."""
        try:
            return not os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:  # it is gone; an NFS client says of a file that another host removed that it is stale
            return True

    def count(self, number: int) -> None:
        """Show the others that this process goes on."""
        with self._using:
            if not self.is_over:
                fs.set_time(self._path, self._fd, 10 * number)  # some file systems keep times in steps of two seconds

    def give_back(self) -> None:
        """End it; does nothing to a lease that somebody took over, and nothing a second time."""
        with self._using:
            if not self.is_over:
                self.is_over = True
                self._release()

    def _release(self) -> None:
        # Where its file can't be removed, the others will find that nobody counts in it, or locks it, any more.
        lost = self.is_lost()
        if sys.platform == "win32":
            os.close(self._fd)  # nobody removes an open file there
        with contextlib.suppress(OSError):
            if not lost:
                fs.remove(self._path)
        if sys.platform != "win32":
            os.close(self._fd)  # last: its lock tells the others that it is no dead one's


class _WindowsLease(Lease):
    """A lock of the system's alone: Windows stops no processes, and lets nobody remove a file that is open."""

    def __init__(self, lock: filelock.BaseFileLock) -> None:
        super().__init__(Path(lock.lock_file), -1)
        self._lock = lock

    def is_lost(self) -> bool:
        return False

    def count(self, number: int) -> None:
        return

    def _release(self) -> None:
        self._lock.release()


Do: TypeAlias = Callable[[Callable[[], Lease | None]], Awaitable[Lease | None]]
"""Has something done in a thread; ends only when that does, also where it is cancelled."""


def left_behind(folder: Path) -> frozenset[str]:
    """The names of the leases in a folder: those that are held, and those that were held by processes that died."""
    try:
        return frozenset(path.stem for path in folder.glob(f"*{_ENDING}"))
    except OSError:
        return frozenset()


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds leases, and whom it knows to be dead: who stood still with one lease stands still with all.

    Attributes:
        id: Of this one; no other ever has the same.
        dead: Others' ids.
    """

    id: bytes = field(default_factory=lambda: uuid.uuid4().hex.encode())
    dead: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases of one folder of a store.

    Attributes:
        folder: Where their files lie.
        protocol: The store's.
        mode: Permission bits of their files.
        holder: Who is to hold them.
    """

    folder: Path
    protocol: Protocol
    mode: int
    holder: Holder

    @asynccontextmanager
    async def hold(
        self,
        name: str,
        waiting: Callable[[], None],
        first: Callable[[Lease], None] | None = None,
        do: Do = in_thread,
    ) -> AsyncIterator[Lease]:
        """Hold the lease of this name; waits until nobody else does.

        Who ends the work with it in a thread may give it back there.

        Args:
            name: Of what is worked on.
            waiting: Called once where somebody else holds it.
            first: Work to begin with, done in the thread that took it: to go to another one costs more.
            do: Has it taken, and given back, in a thread.

        Raises:
            StoreError: There can't be a lease; also where the system does not lock files here, as it did where the
                store was made.
        """
        counting = _Counting()
        try:
            try:
                lease = await self._wait(name, waiting, first, counting, do)
            except OSError as error:
                raise explain(error, self.folder) from error
            yield lease
        finally:
            counting.end()
            if counting.lease is not None and not counting.lease.is_over:
                await do(counting.lease.give_back)

    @contextlib.contextmanager
    def hold_now(self, name: str) -> Iterator[bool]:
        """Hold the lease if nobody else does; for a moment only, since it does not count.

        Yields:
            Whether it is held.

        Raises:
            StoreError: The system does not lock files here, as it did where the store was made.
            OSError: There can't be a lease.
        """
        lease = self._take(name)
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.give_back()

    def remove_if_dead(self, name: str) -> None:
        """Remove the lease of this name if its holder is known to be dead.

        Raises:
            StoreError, OSError: As above.
        """
        path = self._path(name)
        if self.protocol == "counter":
            state = _look_at(path)
            if state[: len(self.holder.id)] in self.holder.dead:
                _take_away(path, state)
        elif sys.platform != "win32":
            _remove_if_dead(path)

    async def _wait(
        self,
        name: str,
        waiting: Callable[[], None],
        first: Callable[[Lease], None] | None,
        counting: _Counting,
        do: Do,
    ) -> Lease:
        taken_over, told = False, False
        seen, since = b"", time.monotonic()
        path = self._path(name)

        def take() -> Lease | None:
            lease = counting.lease = self._take(name)
            if lease is not None:
                lease.taken_over = taken_over
                try:
                    if first is not None:
                        first(lease)
                except BaseException:
                    lease.give_back()  # here: should that fail as well, it is explained
                    raise
            return lease

        while (lease := await do(take)) is None:
            state = await in_thread(_look_at, path)
            if state != seen:
                seen, since = state, time.monotonic()
            holder = state[: len(self.holder.id)]
            if holder in self.holder.dead or time.monotonic() - since >= STANDS_STILL:
                if await in_thread(_take_away, path, state):
                    self.holder.dead.add(holder)
                    taken_over = True
                continue
            if not told:
                waiting()
                told = True
            await asyncio.sleep(POLL)
        return lease

    def _take(self, name: str) -> Lease | None:
        path = self._path(name)
        if self.protocol == "flock":
            if sys.platform == "win32":
                return _take_on_windows(path)
            _remove_if_dead(path)
        try:
            fd = fs.open_new(path, self.mode)
        except FileExistsError:
            return None
        lease = Lease(path, fd)
        try:
            if self.mode != _PRIVATE:
                fs.set_mode(path, self.mode)  # whatever the umask
            fs.write(fd, self.holder.id)
            lease.count(0)
            if self.protocol == "flock" and not (_lock(fd, path) and not lease.is_lost()):
                os.close(fd)  # who looks for the dead was faster
                return None
        except BaseException:
            lease.give_back()
            raise
        return lease

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_ENDING}"


def _take_on_windows(path: Path) -> Lease | None:
    import filelock  # only here: it costs every start some milliseconds

    lock = filelock.FileLock(fs.long_path(path), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return None
    return _WindowsLease(lock)


def _remove_if_dead(path: Path) -> None:
    """Remove a lease whose holder is not there any more, as the lock on its file tells."""
    try:
        fd = fs.open_lease(path)
    except FileNotFoundError:
        return
    try:
        if _lock(fd, path) and not Lease(path, fd).is_lost():
            fs.remove(path)
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> bool:
    """Lock the file, unless somebody else has; held until its descriptor is closed."""
    if sys.platform == "win32":
        raise AssertionError("filelock locks there")
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"This system can't lock files in {path.parent} ({error.strerror}), as the store's marker asks for."
        hint = "Mount the file system with locks, or remove the store's store.json while no sync runs."
        raise StoreError(message, hint) from error
    return True


# --- counting -------------------------------------------------------------------------------------------------------


class _Counting:
    """Counts in a lease as long as it is held: by a timer, since most leases are given back before they count.

    Attributes:
        lease: As soon as there is one.
    """

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self._number = 0
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._wait()

    def end(self) -> None:
        """Count no more; what a thread is just about to count does not harm."""
        self._ended = True
        self._timer.cancel()

    def _wait(self, _: object = None) -> None:
        if not self._ended:
            self._timer = self._loop.call_later(COUNT_EVERY, self._begin)

    def _begin(self) -> None:
        if self.lease is None:
            self._wait()
            return
        self._number += 1
        self._loop.run_in_executor(None, self._count, self.lease, self._number).add_done_callback(self._wait)

    def _count(self, lease: Lease, number: int) -> None:
        with contextlib.suppress(OSError):  # others may take over then, and no harm comes of it
            lease.count(number)


def _look_at(path: Path) -> bytes:
    """Whose lease it is, and how far its holder has counted."""
    try:
        fd = fs.open_to_read(path)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, 64) + f" {os.fstat(fd).st_mtime_ns}".encode()
    finally:
        os.close(fd)


def _take_away(path: Path, seen: bytes) -> bool:
    """Remove a lease that stands still; False where it began to count again, or another one was faster."""
    aside = fs.temporary_name(path)
    try:
        fs.rename(path, aside)
    except FileNotFoundError:
        return False
    if _look_at(aside) == seen:
        fs.remove(aside)
        return True
    # It lives, or it is the next holder's already: give it back, unless there is a newer one.
    with contextlib.suppress(OSError):
        fs.link(aside, path)
    fs.remove(aside)
    return False
