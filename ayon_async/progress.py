"""The ledger: what is happening to every item, as one immutable snapshot that any watcher can read at its own pace.

The loop that runs the sync owns the `Ledger`. A watcher is any callable that takes a `Snapshot`; it is called at most
ten times a second, and always at the end of the run.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ayon_async.errors import AyonAsyncError
from ayon_async.item import Item
from ayon_async.report import ItemReport, SyncReport, Variant

INTERVAL = 0.1

log = logging.getLogger(__name__)


class Phase(enum.StrEnum):
    """Where an item is on its way; every item is always in exactly one of these."""

    QUEUED = "queued"
    WAITING = "waiting"  # another process is working on it
    CONNECTING = "connecting"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    UNPACKING = "unpacking"
    COMMITTING = "committing"
    DONE = "done"
    FAILED = "failed"


ENDED = frozenset({Phase.DONE, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """One item's progress.

    Attributes:
        item: The item.
        phase: Where it is.
        bytes_done: Bytes of the archive that are here so far (never more than `size`).
        received: Bytes that came over the line, those of failed tries included.
        size: Bytes of the archive, or None while unknown.
        unpacked: Share of the archive that is unpacked, from 0 to 1.
        speed: Bytes per second, smoothed; 0.0 when nothing arrives.
        attempt: 1 for the first try.
        source: URL or path that the bytes come from, or None.
        reason: Why it was last retried or failed, in words, or an empty string.
        report: The outcome, once there is one.
    """

    item: Item
    phase: Phase = Phase.QUEUED
    bytes_done: int = 0
    received: int = 0
    size: int | None = None
    unpacked: float = 0.0
    speed: float = 0.0
    attempt: int = 1
    source: str | None = None
    reason: str = ""
    report: ItemReport | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the archive is here, or None where size or speed is unknown."""
        if self.size is None or self.speed <= 0:
            return None
        return (self.size - self.bytes_done) / self.speed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment.

    Attributes:
        server: The server's URL.
        bundle: The bundle's name once it is known.
        variant: How the bundle was chosen, once it is known.
        items: Every item of the bundle, in the report's order.
        speed: Bytes per second, all items together, smoothed.
        finished: True in the last snapshot of a run.
    """

    server: str | None = None
    bundle: str | None = None
    variant: Variant | None = None
    items: tuple[ItemProgress, ...] = ()
    speed: float = 0.0
    finished: bool = False

    @property
    def work(self) -> tuple[ItemProgress, ...]:
        """The items that this run fetches: neither up to date, skipped nor merely planned."""
        return tuple(i for i in self.items if i.report is None or i.report.state in ("installed", "failed"))

    @property
    def bytes_done(self) -> int:
        """Bytes that arrived so far."""
        return sum(item.bytes_done for item in self.items)

    @property
    def size(self) -> int | None:
        """Bytes to fetch in all, or None while any archive's size is unknown."""
        sizes = [item.size for item in self.work if item.phase is not Phase.FAILED]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until every archive is here, or None where a size or the speed is unknown."""
        size = self.size
        if size is None or self.speed <= 0:
            return None
        return max(0, size - sum(i.bytes_done for i in self.work if i.phase is not Phase.FAILED)) / self.speed


Watcher = Callable[[Snapshot], None]


class Speedometer:
    """Bytes per second over the last few seconds, in memory that does not grow."""

    WINDOW = 3.0

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._total = 0

    def add(self, count: int) -> None:
        """So many bytes just came."""
        self._total += count
        now = time.monotonic()
        if now - self._marks[-1][0] >= INTERVAL:
            self._marks.append((now, self._total))
            while now - self._marks[0][0] > self.WINDOW:
                self._marks.popleft()

    @property
    def speed(self) -> float:
        """Bytes per second; sinks to 0.0 while nothing comes."""
        now = time.monotonic()
        start, before = next((mark for mark in self._marks if now - mark[0] <= self.WINDOW), (now, self._total))
        return (self._total - before) / max(now - start, INTERVAL)


class Entry:
    """One item's line in the ledger; only the loop's own thread writes in it.

    Attributes:
        phase: Where the item is.
        received: Bytes that came over the line for it.
        started: When the work on it began, by the monotonic clock; 0.0 before.
    """

    def __init__(self, ledger: Ledger, item: Item) -> None:
        self._ledger = ledger
        self._meter = Speedometer()
        self._item = item
        # Fields of `ItemProgress`, of which one is made only when somebody looks.
        self.phase = Phase.QUEUED
        self.received = 0
        self._bytes_done = 0
        self._size: int | None = None
        self._unpacked = 0.0
        self._attempt = 1
        self._source: str | None = None
        self._reason = ""
        self._report: ItemReport | None = None
        self.started = 0.0

    def set(
        self,
        *,
        phase: Phase | None = None,
        size: int | None = None,
        unpacked: float | None = None,
        attempt: int | None = None,
        source: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Note what is known now; None leaves a field as it was."""
        if phase is not None:
            self.phase = phase
            self.started = self.started or time.monotonic()
        self._size = self._size if size is None else size
        self._unpacked = self._unpacked if unpacked is None else unpacked
        self._attempt = self._attempt if attempt is None else attempt
        self._source = self._source if source is None else source
        if reason is not None:
            self._reason = reason
        if reason:
            log.info("%s: %s", self._item.label, reason)
        self._ledger.changed()

    def add(self, count: int, new: int | None = None) -> None:
        """So many bytes of the archive came over the line.

        Args:
            new: How many of them were not here yet; all where None.
        """
        self._meter.add(count)
        self._ledger.meter.add(count)
        self.received += count
        self.have(self._bytes_done + (count if new is None else new))

    def have(self, count: int) -> None:
        """So many bytes of the archive are here in all: after a restart fewer, after a resumption more."""
        self._bytes_done = count if self._size is None else min(count, self._size)
        self._ledger.changed()

    def end(self, report: ItemReport) -> None:
        """The item's outcome."""
        phase = Phase.FAILED if report.state == "failed" else Phase.DONE
        reason = report.error.message if report.error else report.reason
        self.phase, self._report, self._reason = phase, report, reason
        outcome = report.state.replace("_", " ") + (f": {reason}" if reason else "")
        log.log(logging.WARNING if phase is Phase.FAILED else logging.INFO, "%s: %s", report.label, outcome)
        self._ledger.changed()

    @property
    def seconds(self) -> float:
        """Since the work on the item began."""
        return time.monotonic() - self.started if self.started else 0.0

    def snapshot(self) -> ItemProgress:
        """The line at this moment."""
        speed = self._meter.speed if self.phase is Phase.DOWNLOADING else 0.0
        return ItemProgress(
            self._item,
            self.phase,
            self._bytes_done,
            self.received,
            self._size,
            self._unpacked,
            speed,
            self._attempt,
            self._source,
            self._reason,
            self._report,
        )


class Ledger:
    """Where every item of a run is; made and written in the loop's own thread.

    Args:
        watcher: Told of changes, at most ten times a second.
        server: The server's URL.
    """

    def __init__(self, watcher: Watcher | None = None, server: str | None = None) -> None:
        self._watcher = watcher
        self._timer: asyncio.TimerHandle | None = None
        self._entries: dict[Item, Entry] = {}
        self.meter = Speedometer()
        self.server = server
        self.bundle: str | None = None
        self.variant: Variant | None = None
        self._finished = False

    def begin(self, bundle: str | None, variant: Variant | None, items: Iterable[Item]) -> None:
        """The items are known, and the bundle where it is one."""
        self.bundle, self.variant = bundle, variant
        self._entries = {item: Entry(self, item) for item in items}
        self.changed()

    def __getitem__(self, item: Item) -> Entry:
        return self._entries[item]

    def changed(self) -> None:
        """Tell the watcher soon."""
        if self._watcher is not None and self._timer is None and not self._finished:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tell)

    def finish(self) -> Snapshot:
        """The run is over; the watcher gets the last snapshot."""
        self._finished = True
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        return self.snapshot()

    def _tell(self) -> None:
        self._timer = None
        if self._watcher is not None:
            snapshot = self.snapshot()
            self._watcher(snapshot)
            if snapshot.speed > 0:  # it sinks while nothing comes, and that is worth being told too
                self.changed()

    def snapshot(self) -> Snapshot:
        """The run at this moment."""
        items = tuple(entry.snapshot() for entry in self._entries.values())
        return Snapshot(self.server, self.bundle, self.variant, items, self.meter.speed, self._finished)


def report_of(snapshot: Snapshot, seconds: float, error: AyonAsyncError | None) -> SyncReport:
    """The report of a run that ended, or was ended, like this; what has no outcome yet is planned."""
    reports = (
        entry.report
        or ItemReport(
            entry.item.kind,
            entry.item.name,
            entry.item.version,
            "planned",
            size=entry.size,
            bytes_downloaded=entry.received,
            source=entry.source,
        )
        for entry in snapshot.items
    )
    return SyncReport(
        snapshot.server, snapshot.bundle, snapshot.variant, items=tuple(reports), seconds=seconds, error=error
    )
