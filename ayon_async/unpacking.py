"""From an archive that is here and verified to a sealed staged folder, in a thread, a process or ahead of its end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from ayon_async.ahead import Ahead
from ayon_async.effort import Effort
from ayon_async.flushing import run
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.progress import INTERVAL, Entry, Phase
from ayon_async.sealing import sealing
from ayon_async.store import Store
from ayon_async.threads import in_thread
from ayon_async.transfer import Arrival, Fetched
from ayon_async.unpack import Unpacked, unpack
from ayon_async.unpack.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")
_WORTH_A_PROCESS = 256 << 10
"""Bytes of an archive that goes to one: a smaller one is unpacked before it is told of."""


@dataclass(frozen=True, slots=True)
class Unpacker:
    """Fills staged folders.

    Attributes:
        server: URL of the AYON server that names the items.
        store: Where they go.
        workers: Processes for what is large; None where it is not worth starting them.
        threads: Apart from those that write: neither waits for the other.
        early: The thread for what is unpacked while it arrives, which waits most of the time.
        effort: How much of the machine it takes.
    """

    server: str
    store: Store
    workers: Workers | None
    threads: Executor
    early: Executor
    effort: Effort

    async def stage(self, job: Job, fetched: Fetched, staged: Path, begun: str, entry: Entry, ahead: Ahead) -> None:
        """Fill a staged folder and seal it, with the effort's leave; where that fails it is gone.

        Args:
            begun: When the work on the item began, as the launcher writes it.
            ahead: What may have unpacked it already.

        Raises:
            ItemError: The archive is refused, or the folder can't be written.
        """
        entry.set(phase=Phase.UNPACKING)
        told, stop, sealed = teller(entry), threading.Event(), False

        def seal(unpacked: Unpacked) -> None:
            nonlocal sealed
            run(sealing(self.store, self.server, job, fetched, unpacked, staged, begun, flushed=True))
            sealed = True

        def work() -> None:
            seal(self._unpack(job.item, fetched, staged, told, stop))

        try:
            unpacked = await ahead.take()
            if unpacked is not None:
                await in_thread(seal, unpacked, stop=stop)
                return
            entry.set(phase=Phase.QUEUED)
            async with self.effort.unpacking_turn():
                entry.set(phase=Phase.UNPACKING)
                await in_thread(work, executor=self.threads, stop=stop)
        except BaseException:
            if not sealed:  # also where it was ended between the two: without its records it is worth nothing
                await self.store.discard(staged)
            raise

    def unpack_file(
        self,
        item: Item,
        archive: BinaryIO,
        staged: Path,
        told: Callable[[float], None],
        stop: threading.Event,
        arrival: Arrival | None = None,
    ) -> Unpacked:
        """Fill a staged folder in this thread, and one more where no other archive wants it; see `unpack`.

        Args:
            told: Called with the share that is done.
        """
        return unpack(
            archive,
            staged,
            name=item.label,
            limits=self.store.limits,
            on_progress=told,
            stop=stop,
            group_writable=self.store.group_writable,
            helpers=self._helpers,
            arrival=arrival,
        )

    @property
    def _helpers(self) -> _Spare | None:
        return _Spare(self.threads, self.effort) if self.effort.is_full else None

    def _unpack(
        self, item: Item, fetched: Fetched, staged: Path, told: Callable[[float], None], stop: threading.Event
    ) -> Unpacked:
        if self.workers is None or fetched.size < _WORTH_A_PROCESS:
            return self.unpack_file(item, fetched.part.file, staged, told, stop)
        return self.workers.unpack(
            fetched.part.file,
            fetched.part.path,
            staged,
            name=item.label,
            limits=self.store.limits,
            on_progress=told,
            stop=stop,
            group_writable=self.store.group_writable,
            helpers=self._helpers,
        )


@dataclass(frozen=True, slots=True)
class _Spare:
    """Threads that begin to help only where no other archive wants them: a process reads the whole directory for it."""

    threads: Executor
    effort: Effort

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
        if not self.effort.has_spare:
            return None
        try:
            return self.threads.submit(fn, *args, **kwargs)
        except RuntimeError:  # the system has no more threads: what is begun goes on without help
            return None


def teller(entry: Entry) -> Callable[[float], None]:
    """What a thread calls to tell which share is unpacked; of no interest while the archive still arrives."""
    tell, last = asyncio.get_running_loop().call_soon_threadsafe, 0.0

    def note(share: float) -> None:
        if entry.phase is Phase.UNPACKING:
            entry.set(unpacked=share)

    def told(share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if share == 1 or now - last >= INTERVAL:  # to wake the loop costs more than to unpack a small member
            last = now
            tell(note, share)

    return told
