"""Small archives: unpacked, sealed and put in place several at a time, so that they share what a flush costs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ayon_async import fs
from ayon_async.batches import Batches
from ayon_async.errors import StoreError
from ayon_async.flushing import Steps, run_together
from ayon_async.locate import Job
from ayon_async.progress import Entry, Phase
from ayon_async.sealing import sealing
from ayon_async.store import Store
from ayon_async.transfer import Fetched
from ayon_async.unpack import Stopped, unpack

T = TypeVar("T")
MOST = 16
"""Archives in one go: more would save little, and who waits for the first one waits for the last."""
_AT_ONCE = threading.Event()
_AT_ONCE.set()


@dataclass(frozen=True, slots=True, eq=False)
class Small(Generic[T]):
    """A small archive that is here and verified.

    Attributes:
        job: What it is of.
        entry: Its line in the ledger.
        fetched: The archive.
        staged: The folder to fill.
        begun: When the work on the item began, as the launcher writes it.
        finish: What is to be done with the sealed folder, where that can be done at once; None where it may have to
            wait.
        stop: Ends it.
    """

    job: Job
    entry: Entry
    fetched: Fetched
    staged: Path
    begun: str
    finish: Callable[[Path, threading.Event], Steps[T]] | None
    stop: threading.Event = field(default_factory=threading.Event)


class SmallUnpacker:
    """Fills staged folders from small archives.

    Args:
        server: URL of the AYON server that names the items.
        store: Where they go.
        lane: Threads for it. They take no turns of the effort's, as all of them together compute no more than one does.
    """

    def __init__(self, server: str, store: Store, lane: Executor) -> None:
        self._server = server
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._batches: Batches[Small[Any], tuple[Any, ...]] = Batches(self._work, lane, MOST)

    async def stage(self, small: Small[T]) -> tuple[T, ...]:
        """Fill a staged folder, seal it and finish it; where that fails before it is sealed, it is gone.

        Returns:
            What `finish` returned; nothing where that is still to be done, as it could not be done at once.

        Raises:
            ItemError: The archive is refused, or the folder can't be written.
        """
        small.entry.set(phase=Phase.QUEUED)
        return await self._batches.do(small, small.stop)

    def _work(self, batch: Sequence[Small[Any]]) -> list[tuple[Any, ...] | BaseException]:
        self._loop.call_soon_threadsafe(_begin, batch)
        folders = {self._store.root(small.job.item.kind).path for small in batch}
        return run_together([self._steps(small) for small in batch], folders)

    def _steps(self, small: Small[T]) -> Steps[tuple[T, ...]]:
        job, staged, shares = small.job, small.staged, fs.can_flush_file_systems()
        try:
            if small.stop.is_set():
                raise Stopped
            unpacked = unpack(
                small.fetched.part.file,
                staged,
                name=job.item.label,
                limits=self._store.limits,
                stop=small.stop,
                group_writable=self._store.group_writable,
                flush=not shares,
            )
            yield from sealing(
                self._store, self._server, job, small.fetched, unpacked, staged, small.begun, flushed=not shares
            )
        except BaseException:
            with contextlib.suppress(OSError):  # without its records it is worth nothing; a later run sweeps it
                fs.remove_tree(staged)
            raise
        if small.finish is None:
            return ()
        try:
            return ((yield from small.finish(staged, _AT_ONCE)),)
        except StoreError:  # alone it may wait for who has it open, or say what is wrong
            return ()


def _begin(batch: Sequence[Small[Any]]) -> None:
    for small in batch:
        if small.entry.phase is Phase.QUEUED:
            small.entry.set(phase=Phase.UNPACKING)
