"""States of a watch for the tests of what the tray makes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ayon_async.errors import AyonAsyncError, ServerUnreachable
from ayon_async.item import Item
from ayon_async.progress import ItemProgress, Phase, Snapshot
from ayon_async.report import ItemReport, State, SyncReport
from ayon_async.watch import Mood, Update, WatchState

SERVER = "https://ayon.example.com"
NOON = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
BROKEN = AyonAsyncError("The archive is no zip.", "Upload it again.")


def item(
    label: str, phase: Phase = Phase.QUEUED, state: State | None = None, error: AyonAsyncError | None = None, **how: Any
) -> ItemProgress:
    """An item such as ``maya 1.0.0``, or a package such as ``pack.zip``."""
    name, _, version = label.partition(" ")
    what = Item("addon" if version else "dependency_package", name, version or None)
    report = None
    if state is not None:
        report = ItemReport(what.kind, what.name, what.version, state, error=error, size=how.get("size"))
    return ItemProgress(what, phase, report=report, **how)


def run(*items: ItemProgress, speed: float = 0.0) -> Snapshot:
    """A run with these items."""
    return Snapshot(SERVER, "prod-1", "production", items, speed, all(one.report is not None for one in items))


INSTALLED = item("core 1.0.0", Phase.DONE, "installed", size=1_000_000, bytes_done=1_000_000)
PRESENT = item("nuke 2.0.0", Phase.DONE, "up_to_date")
FAILED = item("maya 3.0.0", Phase.FAILED, "failed", BROKEN, reason=BROKEN.message)
ARRIVING = item("maya 3.0.0", Phase.DOWNLOADING, size=9_000_000, bytes_done=4_500_000, speed=1_500_000.0)
QUEUED = item("blender 4.0.0", size=10_000_000)

IDLE = WatchState(
    Mood.IDLE,
    server=SERVER,
    user="artist",
    bundle="prod-1",
    snapshot=run(INSTALLED, PRESENT),
    report=SyncReport(SERVER, "prod-1", items=tuple(one.report for one in (INSTALLED, PRESENT) if one.report)),
    checked=NOON,
    update=Update(NOON, ("core 1.0.0",), "prod-1"),
    listening=True,
)
WORKING = replace(IDLE, mood=Mood.WORKING, snapshot=run(ARRIVING, INSTALLED, QUEUED, PRESENT, speed=1_500_000.0))
CHECKING = replace(IDLE, mood=Mood.CHECKING)
FAILING = replace(
    IDLE,
    mood=Mood.ATTENTION,
    snapshot=run(INSTALLED, FAILED, PRESENT),
    report=SyncReport(SERVER, "prod-1", items=tuple(one.report for one in (INSTALLED, FAILED) if one.report)),
)
PAUSED = replace(WORKING, mood=Mood.PAUSED, paused=True)
OFFLINE = replace(IDLE, mood=Mood.OFFLINE, error=ServerUnreachable("No connection.", "Check the network."))
SIGNED_OUT = WatchState(Mood.SIGNED_OUT, server=SERVER)
STARTING = WatchState(Mood.STARTING, server=SERVER)
ERROR = replace(IDLE, mood=Mood.ERROR, error=AyonAsyncError("There is no room.", "Free some."))
EVERY = {
    "idle": IDLE,
    "working": WORKING,
    "checking": CHECKING,
    "attention": FAILING,
    "paused": PAUSED,
    "offline": OFFLINE,
    "signed_out": SIGNED_OUT,
    "starting": STARTING,
    "error": ERROR,
}
