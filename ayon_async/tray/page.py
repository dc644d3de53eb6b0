"""The window as a value: every word and every bar in it, computed from a watch's state."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ayon_async.item import Item
from ayon_async.progress import ItemProgress, Phase, Snapshot
from ayon_async.text import counted, size_text
from ayon_async.tray.mark import Mark, item_share, mark_of, share_of
from ayon_async.version import __version__
from ayon_async.watch.describe import in_words, left_text, phase_text
from ayon_async.watch.setup import Setup
from ayon_async.watch.state import Mood, WatchState

Tone = Literal["quiet", "busy", "good", "bad"]
Remedy = Literal["retry", "sign_in"]


@dataclass(frozen=True, slots=True)
class Row:
    """One item.

    Attributes:
        item: The item.
        name: Its name.
        version: Its version, or an empty string.
        phase: Where it is, in words.
        tone: How it stands out.
        share: How much of it is done, from 0 to 1; None where there is no bar to show.
        speed: What arrives a second, or an empty string.
        reason: Why it was retried, skipped or failed, or an empty string.
        details: All that is known of a failure, for an administrator; empty where it did not fail.
    """

    item: Item
    name: str
    version: str
    phase: str
    tone: Tone
    share: float | None = None
    speed: str = ""
    reason: str = ""
    details: str = ""

    @property
    def spoken(self) -> str:
        """The row as a screen reader reads it; how much of it is done the bar tells by itself."""
        said = [f"{self.name} {self.version}".rstrip(), self.phase, self.reason]
        return ", ".join(part for part in said if part)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a person should know or do.

    Attributes:
        text: What happened.
        hint: What to do, or an empty string.
        remedy: What a button beside it does, or None.
    """

    text: str
    hint: str
    remedy: Remedy | None


@dataclass(frozen=True, slots=True)
class Page:
    """The window.

    Attributes:
        mark: Its picture.
        title: What is happening, in a few words.
        subtitle: Which bundle.
        share: How much of the work is done, from 0 to 1; None where there is none.
        progress: The same in words, or an empty string.
        trouble: What a person should know, or None.
        rows: One an item: what failed first, then what is worked on, what waits, what is done.
        updated: What was last updated and when.
        account: Which server, and who is signed in.
        paused: Whether a person has paused the work.
        can_check: Whether it makes sense to ask for a check.
        can_pause: Whether there is anything to pause, or to resume.
    """

    mark: Mark
    title: str
    subtitle: str
    share: float | None
    progress: str
    trouble: Trouble | None
    rows: tuple[Row, ...]
    updated: str
    account: str
    paused: bool
    can_check: bool
    can_pause: bool


_OUTCOMES = {"installed": "Installed", "up_to_date": "Up to date", "planned": "Missing", "skipped": "Not needed here"}
_TITLES: dict[Mood, str] = {
    Mood.STARTING: "Starting …",
    Mood.CHECKING: "Checking for updates …",
    Mood.WORKING: "Updating",
    Mood.IDLE: "Everything is up to date",
    Mood.PAUSED: "Paused",
    Mood.ERROR: "The update failed",
    Mood.OFFLINE: "The server can't be reached",
    Mood.SIGNED_OUT: "Not signed in",
}


def page_of(state: WatchState, log_file: Path | None = None) -> Page:
    """The window of a state.

    Args:
        log_file: Where an administrator finds more, for what "Copy details" copies.
    """
    snapshot = state.snapshot
    busy = state.mood is Mood.WORKING and snapshot is not None
    mark = mark_of(state)
    return Page(
        mark=mark,
        title=_title(state, mark),
        subtitle=_subtitle(state),
        share=share_of(snapshot) if busy and snapshot is not None else None,
        progress=_progress(snapshot) if busy and snapshot is not None else "",
        trouble=_trouble(state),
        rows=rows_of(snapshot, log_file) if snapshot is not None else (),
        updated=_updated(state),
        account=_account(state),
        paused=state.paused,
        can_check=state.mood not in (Mood.SIGNED_OUT, Mood.CHECKING, Mood.WORKING) and not state.paused,
        can_pause=state.paused or state.mood is not Mood.SIGNED_OUT,
    )


# --- the head -------------------------------------------------------------------------------------------------------


def _title(state: WatchState, mark: Mark) -> str:
    failed = _failed(state.snapshot)
    if state.mood is Mood.ATTENTION or (state.mood is Mood.IDLE and mark.shape == "attention"):
        return f"{counted(failed, 'item')} could not be updated" if failed else "Not everything is up to date"
    if state.mood is Mood.IDLE and mark.shape != "idle":
        return _TITLES[Mood.CHECKING]
    return _TITLES[state.mood]


def _failed(snapshot: Snapshot | None) -> int:
    return sum(item.phase is Phase.FAILED for item in snapshot.items) if snapshot is not None else 0


def _subtitle(state: WatchState) -> str:
    coming = state.snapshot.bundle if state.snapshot is not None and state.mood is Mood.WORKING else None
    parts = [state.follows.capitalize(), coming or state.bundle]
    if state.snapshot is not None and state.snapshot.items:
        parts.append(counted(len(state.snapshot.items), "item"))
    if state.prefetching:
        parts.append(f"fetching {state.prefetching} ahead")
    return " · ".join(part for part in parts if part)


def _progress(snapshot: Snapshot) -> str:
    work = snapshot.work
    ended = sum(item.report is not None for item in work)
    parts = [f"{ended} of {counted(len(work), 'item')}"]
    if snapshot.size:
        parts.append(f"{size_text(min(snapshot.bytes_done, snapshot.size))} of {size_text(snapshot.size)}")
    if snapshot.speed > 0:
        parts.append(f"{size_text(snapshot.speed)}/s")
    if snapshot.seconds_left is not None and snapshot.speed > 0:
        parts.append(f"{left_text(snapshot.seconds_left)} left")
    return " · ".join(parts)


def _trouble(state: WatchState) -> Trouble | None:
    if state.error is not None and state.mood is Mood.SIGNED_OUT:
        return Trouble(state.error.message, "", "sign_in")  # the button is what to do
    if state.error is not None:
        return Trouble(state.error.message, state.error.hint, "retry")
    if state.mood is Mood.SIGNED_OUT:
        return Trouble("Sign in to the studio's AYON server to get its addons.", "", "sign_in")
    failed = _failed(state.snapshot)
    if failed:
        rest = "" if state.mood is Mood.WORKING else "Everything else is in place."
        return Trouble(f"{counted(failed, 'item')} failed; the reason is below.", rest, "retry")
    return None


# --- the rows -------------------------------------------------------------------------------------------------------


def rows_of(snapshot: Snapshot, log_file: Path | None = None) -> tuple[Row, ...]:
    """A row an item: what failed first, then what is worked on, what waits, what is done."""
    return tuple(_row(item, snapshot, log_file) for item in sorted(snapshot.items, key=_rank))


def _rank(item: ItemProgress) -> int:
    if item.phase is Phase.FAILED:
        return 0
    if item.phase in (Phase.QUEUED, Phase.WAITING):
        return 2
    if item.report is None:
        return 1
    return 3 if item.report.state == "installed" else 4


def _row(item: ItemProgress, snapshot: Snapshot, log_file: Path | None) -> Row:
    report = item.report
    phase = phase_text(item.phase).capitalize()
    if report is not None:
        phase = _OUTCOMES.get(report.state, phase)
    running = report is None and item.phase not in (Phase.QUEUED, Phase.WAITING)
    if running and item.attempt > 1:
        phase += f", try {item.attempt}"
    failed = item.phase is Phase.FAILED
    tone: Tone = "bad" if failed else "busy" if running else "good" if item.phase is Phase.DONE else "quiet"
    return Row(
        item=item.item,
        name=item.item.name if item.item.version is not None else "Dependency package",
        version=item.item.version if item.item.version is not None else item.item.name,
        phase=phase,
        tone=tone,
        share=item_share(item) if running or (report is None and item.bytes_done) else None,
        speed=f"{size_text(item.speed)}/s" if item.speed > 0 else "",
        reason=_reason(item),
        details=_details(item, snapshot, log_file) if failed else "",
    )


def _reason(item: ItemProgress) -> str:
    error = item.report.error if item.report is not None else None
    if error is not None:
        return in_words(error)
    reason = item.reason.removeprefix(f"{item.source}: ")  # the row says already what arrives
    return reason[:1].upper() + reason[1:]


def _details(item: ItemProgress, snapshot: Snapshot, log_file: Path | None) -> str:
    error = item.report.error if item.report is not None else None
    facts = {
        "Item": item.item.label,
        "Bundle": snapshot.bundle,
        "Server": snapshot.server,
        "Error": item.reason if error is None else f"{error.type}: {error.message}",
        "What to do": error.hint if error is not None else "",
        "Source": item.source,
        "Arrived": f"{item.bytes_done} of {'?' if item.size is None else item.size} bytes, try {item.attempt}",
        "Log": None if log_file is None else str(log_file),
        "Version": f"ayon-async {__version__}",
    }
    return "\n".join(f"{name}: {fact}" for name, fact in facts.items() if fact)


# --- the foot -------------------------------------------------------------------------------------------------------

_NAMED = 3  # items by name, the others by their number


def _updated(state: WatchState) -> str:
    update = state.update
    if update is None:
        return "Nothing was updated yet."
    named = ", ".join(update.labels[:_NAMED])
    more = len(update.labels) - _NAMED
    at = update.at.astimezone()
    return f"Last update {at:%Y-%m-%d %H:%M}: {named}{f' and {more} more' if more > 0 else ''}"


def _account(state: WatchState) -> str:
    if state.server is None:
        return "No server is chosen."
    who = f"{state.user} at {state.server}" if state.user else state.server
    checked = f"checked {state.checked.astimezone():%H:%M}" if state.checked is not None else ""
    news = "listening for news" if state.listening else ""
    return " · ".join(part for part in (who, checked, news) if part)


# --- about ----------------------------------------------------------------------------------------------------------


def about_text(setup: Setup, log_file: Path) -> str:
    """Version and paths, for the one who is asked what is wrong."""
    facts = {
        "Server": setup.settings.server or "none",
        "Addons": setup.paths.addons,
        "Dependency packages": setup.paths.dependencies,
        "Settings": setup.folders.user_file,
        "Log": log_file,
    }
    lines = (f"{name}: {fact}" for name, fact in facts.items())
    return "\n".join([f"ayon-async {__version__} on Python {platform.python_version()}", "", *lines])
