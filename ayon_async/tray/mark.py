"""What the icon shows, as a value: a shape for the mood, a colour for the bundle that is followed, a ring's share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ayon_async.progress import ENDED, ItemProgress, Phase, Snapshot
from ayon_async.watch.state import Followed, Mood, WatchState

Shape = Literal["idle", "checking", "working", "paused", "attention", "error", "offline", "signed_out"]

RING_STEPS = 24
"""So many different rings there are; more of them nobody could tell apart at 24 pixels."""

_ARRIVING = 0.9  # of an archive's work

_SHAPES: dict[Mood, Shape] = {
    Mood.STARTING: "checking",
    Mood.CHECKING: "checking",
    Mood.WORKING: "working",
    Mood.IDLE: "idle",
    Mood.PAUSED: "paused",
    Mood.ATTENTION: "attention",
    Mood.ERROR: "error",
    Mood.OFFLINE: "offline",
    Mood.SIGNED_OUT: "signed_out",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """An icon.

    Attributes:
        shape: Tells the mood without any colour.
        colour: Which bundle is followed.
        ring: How much of the ring is full, from 0 to `RING_STEPS`; 0 for shapes without one.
    """

    shape: Shape = "idle"
    colour: Followed = "production"
    ring: int = 0


def mark_of(state: WatchState) -> Mark:
    """The icon of a state; it is never `idle` while anything is queued, running, failed or was never compared."""
    shape = _SHAPES[state.mood]
    if shape == "idle":
        shape = _doubted(state)
    ring = 0
    if shape == "working" and state.snapshot is not None:
        ring = int(share_of(state.snapshot) * RING_STEPS)
    return Mark(shape, state.follows, ring)


def _doubted(state: WatchState) -> Shape:
    """What an idle watch's icon is, by what the run itself says."""
    items = state.snapshot.items if state.snapshot is not None else ()
    failed = any(item.phase is Phase.FAILED for item in items) or (state.report is not None and not state.report.ok)
    if failed:
        return "attention"
    if state.checked is None or any(item.phase is not Phase.DONE for item in items):
        return "checking"
    return "idle"


def share_of(snapshot: Snapshot) -> float:
    """How much of a run's work is done, from 0 to 1: an archive counts by its size, one of unknown size as a mean one.

    What failed counts as done with. Unpacking is a tenth of the work, so that nothing looks complete before it is.
    """
    work = snapshot.work
    if not work:
        return 0.0
    known = [item.size for item in work if item.size]
    mean = sum(known) / len(known) if known else 1.0
    whole = sum(item.size or mean for item in work)
    return sum((item.size or mean) * item_share(item) for item in work) / whole


def item_share(item: ItemProgress) -> float:
    """How much of one item's work is done, from 0 to 1."""
    if item.phase in ENDED:
        return 1.0
    arrived = item.bytes_done / item.size if item.size else 0.0
    return _ARRIVING * arrived + (1 - _ARRIVING) * item.unpacked
