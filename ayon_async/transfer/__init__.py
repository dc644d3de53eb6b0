"""Verified bytes: archives from their sources into part files, many at once, on bad networks and on good ones.

`Transfers` is what a run has one of. It reads from the top down: `download` brings one archive, `stream` one piece of
it over one connection, `writer` and `part` are where the bytes go and are hashed, `pacing` decides how many connections
there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from ayon_async.locate import Archive
from ayon_async.progress import Entry, Phase
from ayon_async.server import AyonServer
from ayon_async.transfer.arrival import Arrival
from ayon_async.transfer.download import Download, Fetched, Means
from ayon_async.transfer.origins import Origins
from ayon_async.transfer.pacing import Pacer
from ayon_async.transfer.part import Outgrown, Part, SmallPart, Validator, detach_part, remove_part
from ayon_async.transfer.probe import Probe, probe

__all__ = [
    "Arrival",
    "Fetched",
    "Outgrown",
    "Part",
    "Probe",
    "SmallPart",
    "Transfers",
    "Validator",
    "detach_part",
    "probe",
    "remove_part",
]

_WRITERS = 2
_TICK = 0.1


class Transfers:
    """All downloads of a run; an async context manager.

    Args:
        server: The AYON server; its credentials go to its own origin only.
        jobs: Connections at once at the most.
        rate: Bytes per second, all together; None for no limit.
        retries: Further attempts since the last byte of progress.
        prepare: Called first in each thread that hashes and writes.
        sizes: Of the archives that it will be asked for, see `Pacer`.

    Attributes:
        wanted: How many items of the run wait for the archive in this part file, or work with it.
    """

    def __init__(
        self,
        server: AyonServer,
        *,
        jobs: int,
        rate: float | None = None,
        retries: int = 8,
        prepare: Callable[[], None] | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        self.wanted: Counter[Path] = Counter()
        self._downloads: list[Download] = []
        self._pacer = Pacer(jobs, rate, self._use_spare, sizes)
        self._writers = ThreadPoolExecutor(_WRITERS, "write", prepare)
        self._means = Means(server, self._pacer, self._writers, Origins(), retries)
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])  # which is no end of who is cancelled itself
        self._writers.shutdown()

    def limit(self, rate: float | None) -> None:
        """Receive so many bytes a second at the most from now on, all together; None for no limit."""
        self._pacer.limit(rate)

    async def fetch(
        self,
        archive: Archive,
        part: Part,
        entry: Entry,
        *,
        whole: bool = False,
        on_arrival: Callable[[Arrival], None] | None = None,
    ) -> Fetched:
        """The archive in this part, going on with what is there.

        Args:
            part: Open, and still so when this ends; whoever opened it ends the work with it, also where this fails.
            whole: Whether it must come in one answer.
            on_arrival: Gets the means to read a large archive while it arrives; called once at the most.

        Raises:
            TransferError, AccessDenied: No source gives it; what came is kept for another time.
            StoreError: It can't be written.
        """
        entry.set(phase=None if entry.phase is Phase.QUEUED else Phase.QUEUED, size=archive.expected)
        download = Download(archive, part, entry, self._means, whole=whole, on_arrival=on_arrival)
        self._downloads.append(download)
        try:
            return await download.run()
        finally:
            self._downloads.remove(download)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._pacer.tick()
            for download in self._downloads:
                download.tick()

    def _use_spare(self) -> None:
        """No archive waits to be started: let spare connections help with the largest that can be helped.

        It takes longest to unpack. Were all rests made equal, the large ones would end together, and then be unpacked.
        """
        while self._pacer.spare:
            download = max((one for one in self._downloads if one.largest_rest()), key=Download.size, default=None)
            if download is None:
                return
            self._pacer.take_spare()
            download.start_helper()
