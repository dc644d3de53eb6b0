"""The ledger: what is happening to every item, as one immutable snapshot that any watcher can read at its own pace.

The loop that runs the sync owns the `Ledger`; unpacking threads hand it their numbers through the loop. A watcher is
any callable that takes a `Snapshot`; it is called at most ten times a second, and always for a change of phase that
ends an item and at the end of the run.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ayon_async.report import ItemReport


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
        label: What a person calls the item, ``maya 1.2.0``.
        phase: Where it is.
        bytes_done: Bytes of the archive that arrived so far (never more than `size`).
        size: Bytes of the archive, or None while unknown.
        unpacked: Share of the archive that is unpacked, from 0 to 1.
        speed: Bytes per second, smoothed; 0.0 when nothing arrives.
        attempt: 1 for the first try.
        source: URL or path that the bytes come from, or None.
        reason: Why it was last retried or failed, in words, or an empty string.
        report: The outcome, once there is one.
    """

    label: str
    phase: Phase = Phase.QUEUED
    bytes_done: int = 0
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
    variant: str | None = None
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
