"""What a watch is doing, in words: the tray's tooltip and notifications and the headless watch's log say the same."""

from __future__ import annotations

from collections.abc import Callable

from ayon_async.errors import AyonAsyncError
from ayon_async.progress import ItemProgress, Phase, Snapshot
from ayon_async.report import ItemReport, SyncReport
from ayon_async.text import counted, size_text
from ayon_async.watch.state import Mood, Update, WatchState

_NAMED = 3  # items that a notification names

_DOING = {
    Phase.QUEUED: "queued",
    Phase.WAITING: "waiting for another process",
    Phase.CONNECTING: "connecting",
    Phase.DOWNLOADING: "downloading",
    Phase.VERIFYING: "verifying",
    Phase.UNPACKING: "unpacking",
    Phase.COMMITTING: "putting in place",
    Phase.DONE: "done",
    Phase.FAILED: "failed",
}
_MOODS = {
    Mood.STARTING: "starting",
    Mood.CHECKING: "checking",
    Mood.WORKING: "updating",
    Mood.IDLE: "up to date",
    Mood.PAUSED: "paused",
    Mood.ATTENTION: "not everything could be updated",
    Mood.ERROR: "the update failed",
    Mood.OFFLINE: "the server can't be reached",
    Mood.SIGNED_OUT: "signed out",
}


# --- now ------------------------------------------------------------------------------------------------------------


def status_line(state: WatchState) -> str:
    """One line for a tooltip: ``AYON production · 7 of 21 · 12.4 MB/s · 1 min 20 s left``."""
    parts = [f"AYON {state.follows}"]
    if state.mood is Mood.WORKING and state.snapshot is not None:
        if state.prefetching:
            parts.append(f"fetching {state.prefetching} ahead")
        parts += progress_parts(state.snapshot)
    elif state.mood is Mood.ATTENTION and state.report is not None and _failed(state.report):
        parts.append(f"{counted(len(_failed(state.report)), 'item')} failed")
    elif state.mood is Mood.IDLE:
        parts += [state.bundle or "", mood_text(state.mood)]
    else:
        parts.append(mood_text(state.mood))
    return " · ".join(part for part in parts if part)


def mood_text(mood: Mood) -> str:
    """A mood in a few words."""
    return _MOODS[mood]


def progress_parts(snapshot: Snapshot) -> list[str]:
    """How far a run is: items, speed and time left, as far as they are known."""
    ended = sum(item.report is not None for item in snapshot.work)
    parts = [f"{ended} of {len(snapshot.work)}"]
    if snapshot.speed > 0:
        parts.append(f"{size_text(snapshot.speed)}/s")
        if snapshot.seconds_left is not None:
            parts.append(f"{left_text(snapshot.seconds_left)} left")
    return parts


def left_text(seconds: float) -> str:
    """A time to wait, no more exact than anybody can tell it.

    >>> left_text(7.4), left_text(80), left_text(840), left_text(7260)
    ('7 s', '1 min 20 s', '14 min', '2 h 1 min')
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(whole / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def phase_text(phase: Phase) -> str:
    """Where an item is, in a few words."""
    return _DOING[phase]


def item_line(item: ItemProgress) -> str:
    """An item and where it is: ``maya 1.2.0 · downloading · 3.1 MB/s · try 2: the connection broke``."""
    parts = [item.item.label, phase_text(item.phase)]
    if item.report is not None:
        return outcome_line(item.report)
    if item.speed > 0:
        parts.append(f"{size_text(item.speed)}/s")
    if item.reason:
        parts.append(f"try {item.attempt}: {item.reason}" if item.attempt > 1 else item.reason)
    return " · ".join(parts)


def outcome_line(report: ItemReport) -> str:
    """What became of an item: ``maya 1.2.0 · installed, 12.3 MB``."""
    if report.state == "installed":
        return f"{report.label} · installed, {size_text(report.size)}"
    reason = report.error.message if report.error else report.reason
    return f"{report.label} · {report.state.replace('_', ' ')}" + (f": {reason}" if reason else "")


# --- what to tell a person -------------------------------------------------------------------------------------------


def update_text(update: Update) -> tuple[str, str]:
    """Title and body of the notification that an update is complete."""
    return f"{counted(len(update.labels), 'addon')} updated", f"{_listed(update.labels)}. Bundle {update.bundle}."


def failure_text(report: SyncReport) -> tuple[str, str]:
    """Title and body of the notification that a run failed, with what to do."""
    if report.error is not None:
        return "The AYON addons could not be updated", in_words(report.error)
    failed = _failed(report)
    error = next((item.error for item in failed if item.error is not None), None)
    body = f"{_listed([item.label for item in failed])}."
    if error is not None:
        body = f"{body} {in_words(error)}"
    return f"{counted(len(failed), 'addon')} could not be updated", body


def in_words(error: AyonAsyncError) -> str:
    """What happened and what to do, as sentences."""
    message = error.message if error.message.endswith((".", "!", "?", "…")) else f"{error.message}."
    return f"{message} {error.hint}".rstrip()


def _failed(report: SyncReport) -> list[ItemReport]:
    return [item for item in report.items if item.state in ("failed", "planned")]


def _listed(labels: tuple[str, ...] | list[str]) -> str:
    more = len(labels) - _NAMED
    return ", ".join(labels[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# --- the log --------------------------------------------------------------------------------------------------------


def log_lines(before: WatchState, now: WatchState) -> list[str]:
    """What a log should say of a change; nothing where the store was only found complete once more."""
    lines = []
    if now.listening and not before.listening:
        lines.append(f"Listening for news from {now.server}.")
    if before.listening and not now.listening:
        lines.append("Not listening for news at the moment.")
    if now.prefetching and now.prefetching != before.prefetching:
        lines.append(f"Fetching the bundle {now.prefetching} ahead.")
    if now.mood is Mood.WORKING and before.mood is not Mood.WORKING:
        lines.append(f"{status_line(now)}.")
    lines += [outcome_line(report) for report in _ended(now) if report not in _ended(before)]
    return lines


def _ended(state: WatchState) -> list[ItemReport]:
    """What the run put in place or failed to."""
    items = state.snapshot.items if state.snapshot is not None else ()
    return [item.report for item in items if item.report is not None and item.report.state in ("installed", "failed")]


def settled_line(state: WatchState) -> str | None:
    """What the log should say of a state that lasts; None for one that is about to change."""
    if state.mood in (Mood.STARTING, Mood.CHECKING, Mood.WORKING):
        return None
    line = f"{status_line(state)}."
    return line if state.error is None else f"{line} {in_words(state.error)}"


class Narrator:
    """Says of each state, and of each update, what a log should have of it, once.

    Args:
        say: Takes a line.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._before = WatchState()
        self._settled = ""

    def tell(self, state: WatchState) -> None:
        """There is a new state."""
        for line in log_lines(self._before, state):
            self._say(line)
        settled = settled_line(state)
        if settled is not None and settled != self._settled:
            self._say(settled)
            self._settled = settled
        self._before = state

    def updated(self, update: Update) -> None:
        """An update is complete."""
        self._say(": ".join(update_text(update)))
