"""Which mood a watch is in; pure. It is never idle while anything is queued, running, failed or not verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ayon_async.errors import AccessDenied, AyonAsyncError, NotSignedIn, ServerError, StoreError
from ayon_async.progress import Phase, Snapshot
from ayon_async.report import SyncReport
from ayon_async.watch.state import Mood

Line = Literal["asking", "up", "down", "refused"]
"""Whether the server is there for us: not known yet, yes, away, or it does not know us."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the mood depends on.

    Attributes:
        line: Whether the server is there for us.
        line_error: Why it is not.
        settings_error: Why the settings can't be used any more.
        paused: Whether a person has paused the work.
        asked: Whether somebody wants to know just now, and the server has not answered yet.
        pending: Whether a check is due because something may have changed.
        is_running: Whether the store is being compared with the bundle that is followed, or made equal to it.
        snapshot: How far that is or, where it is not, how far it came the last time.
        ahead: The run that fetches a bundle before it is active, or None.
        report: The last finished run of the bundle that is followed; None where there is none that still counts.
    """

    line: Line = "asking"
    line_error: AyonAsyncError | None = None
    settings_error: AyonAsyncError | None = None
    paused: bool = False
    asked: bool = False
    pending: bool = False
    is_running: bool = False
    snapshot: Snapshot | None = None
    ahead: Snapshot | None = None
    report: SyncReport | None = None


def mood_of(facts: Facts) -> Mood:
    """The mood, by the first rule that holds."""
    rules = (
        (facts.line == "refused", Mood.SIGNED_OUT),
        (facts.paused, Mood.PAUSED),
        (facts.is_running, Mood.WORKING if is_working(facts.snapshot) else Mood.CHECKING),
        (is_working(facts.ahead), Mood.WORKING),
        (facts.asked and facts.line != "up", Mood.CHECKING),
        (facts.line == "down", Mood.OFFLINE),
        (facts.settings_error is not None, Mood.ERROR),
        (facts.line == "asking" and facts.report is None, Mood.STARTING),
        (facts.pending or facts.line == "asking", Mood.CHECKING),
    )
    return next((mood for holds, mood in rules if holds), None) or _outcome(facts.report)


def error_of(facts: Facts) -> AyonAsyncError | None:
    """Why the mood is signed out, offline or error; None otherwise."""
    mood, report = mood_of(facts), facts.report
    if (mood, facts.line) in ((Mood.SIGNED_OUT, "refused"), (Mood.OFFLINE, "down")):
        return facts.line_error
    if mood is Mood.ERROR and facts.settings_error is not None:
        return facts.settings_error
    if report is None or mood not in (Mood.SIGNED_OUT, Mood.OFFLINE, Mood.ERROR):
        return None
    return report.error or next((item.error for item in report.items if item.error is not None), None)


def is_working(snapshot: Snapshot | None) -> bool:
    """Whether archives arrive or are unpacked: something was found to be missing, and has no outcome yet."""
    if snapshot is None or snapshot.finished:
        return False
    left = [item for item in snapshot.items if item.report is None]
    return any(item.phase is not Phase.QUEUED or item.size is not None for item in left)


def _outcome(report: SyncReport | None) -> Mood:
    if report is None:
        return Mood.STARTING
    if isinstance(report.error, NotSignedIn):
        return Mood.SIGNED_OUT
    if isinstance(report.error, ServerError):
        return Mood.OFFLINE
    if report.error is not None:
        return Mood.ERROR
    failed = [item for item in report.items if item.state not in ("installed", "up_to_date", "skipped")]
    if failed and all(isinstance(item.error, (StoreError, AccessDenied)) for item in failed):
        return Mood.ERROR  # no room, no right to write: nothing that one more try would better
    if failed or report.offline:
        return Mood.ATTENTION
    return Mood.IDLE
