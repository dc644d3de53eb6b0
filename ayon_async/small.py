"""Small archives: unpacked, sealed and put in place several at a time, so that they share what a flush costs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, cast

from ayon_async import fs
from ayon_async.batches import Batches, call_each
from ayon_async.flushing import Steps, run_together
from ayon_async.locate import Job
from ayon_async.sealing import check_pin, sealing
from ayon_async.store import Store
from ayon_async.store.lease import Lease
from ayon_async.transfer import Fetched
from ayon_async.unpack import Stopped, unpack

T = TypeVar("T")
_MOST = 16
"""Archives in one go: more would save little, and who waits for the first one waits for the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Small(Generic[T]):
    """A small archive that is here and verified.

    Attributes:
        job: What it is of.
        fetched: The archive.
        staged: The folder to fill.
        begun: When the work on the item began, as the launcher writes it.
        finish: What is to be done with the sealed folder.
        stop: Ends it.
    """

    job: Job
    fetched: Fetched
    staged: Path
    begun: str
    finish: Callable[[Path, threading.Event], Steps[T]]
    stop: threading.Event = field(default_factory=threading.Event)


class Together:
    """Fills staged folders from small archives.

    Args:
        server: URL of the AYON server that names the items.
        store: Where they go.
        lane: Threads for it. They take no turns of the effort's, as all of them together compute no more than one does.

    Attributes:
        leases: Takes and gives back the leases of their items.
    """

    def __init__(self, server: str, store: Store, lane: Executor) -> None:
        self._server = server
        self._store = store
        self._batches = Batches(self._work, lane, _MOST)
        self.leases: Batches[Callable[[], Lease | None], Lease | None] = Batches(call_each, lane, _MOST)

    async def stage(self, small: Small[T]) -> T:
        """Fill a staged folder, seal it and finish it; where that fails before it is sealed, it is gone.

        Returns:
            What `finish` returned.

        Raises:
            ItemError: The archive is refused, or the folder can't be written.
        """
        check_pin(small.job, small.fetched)
        return cast(T, await self._batches.do(cast(Small[object], small), small.stop))

    def _work(self, batch: Sequence[Small[object]]) -> list[object | BaseException]:
        return run_together([self._steps(small) for small in batch])

    def _steps(self, small: Small[T]) -> Steps[T]:
        item, staged = small.job.item, small.staged
        try:
            if small.stop.is_set():
                raise Stopped
            unpacked = unpack(
                small.fetched.part.file,
                staged,
                name=item.label,
                limits=self._store.limits,
                stop=small.stop,
                group_writable=self._store.group_writable,
                flush=False,
            )
            yield from sealing(
                self._store, self._server, small.job, small.fetched, unpacked, staged, small.begun, flushed=False
            )
        except BaseException:
            with contextlib.suppress(OSError):  # without its records it is worth nothing; a later run sweeps it
                fs.remove_tree(staged)
            raise
        return (yield from small.finish(staged, small.stop))
