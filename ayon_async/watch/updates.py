"""What was updated last; pure. The store's history knows it, so that it outlives the program."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ayon_async.item import Item
from ayon_async.report import State, SyncReport
from ayon_async.store import history
from ayon_async.watch.state import Update


def last_update(states: Sequence[history.State]) -> Update | None:
    """What the newest good state brought.

    Args:
        states: Of the followed bundle, the newest first.
    """
    if not states:
        return None
    newest, before = states[0], states[1].on_disk if len(states) > 1 else frozenset[Item]()
    labels = [entry.item.label for entry in newest.items if entry.item in newest.on_disk - before]
    return Update(newest.since.astimezone(), tuple(labels), newest.bundle) if labels else None


def update_of(report: SyncReport, before: frozenset[Item], now: datetime) -> Update | None:
    """What a run updated: what it installed, and what the bundle now has that was fetched ahead; None for nothing.

    Args:
        before: What the bundle had in place before.
    """
    anew = in_place(report) - (before - in_place(report, "installed"))
    labels = [item.label for item in report.items if Item(item.kind, item.name, item.version) in anew]
    return Update(now, tuple(labels), report.bundle) if labels and report.bundle else None


def in_place(report: SyncReport, *states: State) -> frozenset[Item]:
    """The items that ended in one of these states; where none is given, those that are on disk."""
    wanted = states or ("installed", "up_to_date")
    return frozenset(Item(item.kind, item.name, item.version) for item in report.items if item.state in wanted)
