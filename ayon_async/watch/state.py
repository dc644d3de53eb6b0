"""What a watch is doing, as one small immutable value: the tray's icon, tooltip, menu and window, and the headless
watch's log lines, are functions of it and of nothing else.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ayon_async.errors import AyonAsyncError
from ayon_async.progress import Snapshot
from ayon_async.report import SyncReport

Followed = Literal["production", "staging", "dev"]


class Mood(enum.StrEnum):
    """What a person should know at a glance; a watch is always in exactly one of these."""

    STARTING = "starting"  # nothing was compared yet
    CHECKING = "checking"  # the server is being asked, or the store compared
    WORKING = "working"  # archives arrive or are unpacked
    IDLE = "idle"  # the store was compared with what the server says now, and has everything
    PAUSED = "paused"
    ATTENTION = "attention"  # some items failed, the others are right
    ERROR = "error"  # the run itself failed: no bundle, no room, a store that can't be used
    OFFLINE = "offline"  # the server is away
    SIGNED_OUT = "signed_out"  # no key or token, or one that the server does not take


@dataclass(frozen=True, slots=True)
class Update:
    """What the last run that changed something installed.

    Attributes:
        at: When it ended, with its time zone.
        labels: The items that were installed, as people call them.
        bundle: Of this bundle.
    """

    at: datetime
    labels: tuple[str, ...]
    bundle: str


@dataclass(frozen=True, slots=True)
class WatchState:
    """A watch at one moment.

    Attributes:
        mood: What a person should know at a glance.
        follows: Which bundle is followed.
        server: The server's URL, or None while none is chosen.
        user: Who is signed in there, once that is known.
        was_user: Who was until their token expired; None while somebody is signed in, and after signing out.
        bundle: The bundle's name, once it is known.
        snapshot: The run that is under way, or the last one; None before the first.
        report: What the last finished run did.
        error: Why the mood is error, offline or signed out; None otherwise.
        paused: Whether a person has paused the work.
        limit: Bytes per second at the most, or None for no limit.
        checked: When the store was last compared with what the server said, with its time zone.
        update: What was last updated and when, earlier starts included.
        listening: Whether the server's news arrives.
        has_dev_bundle: Whether the user has a dev bundle to follow; False while that is not known.
        prefetching: The name of a bundle that is fetched before it is active, or None.
    """

    mood: Mood = Mood.STARTING
    follows: Followed = "production"
    server: str | None = None
    user: str | None = None
    was_user: str | None = None
    bundle: str | None = None
    snapshot: Snapshot | None = None
    report: SyncReport | None = None
    error: AyonAsyncError | None = None
    paused: bool = False
    limit: float | None = None
    checked: datetime | None = None
    update: Update | None = None
    listening: bool = False
    has_dev_bundle: bool = False
    prefetching: str | None = None
