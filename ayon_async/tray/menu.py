"""The menu as a value: which entries there are, what they say, which can be chosen and which are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ayon_async.watch.describe import status_line
from ayon_async.watch.state import Followed, Mood, WatchState

Command = Literal[
    "show", "check", "pause", "resume", "follow", "limit", "folder", "log", "sign_in", "sign_out", "autostart", "about",
    "quit",
]  # fmt: skip

LIMITS: tuple[tuple[str, float | None], ...] = (("Off", None), ("1 MB/s", 1e6), ("5 MB/s", 5e6), ("20 MB/s", 20e6))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu.

    Attributes:
        text: What it says; empty for a line between groups.
        command: What it does, or None.
        value: Of the command: which bundle, which limit.
        enabled: Whether it can be chosen.
        checked: Whether it is chosen; None where that can't be.
        entries: Those of its own menu.
    """

    text: str = ""
    command: Command | None = None
    value: str | float | None = None
    enabled: bool = True
    checked: bool | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def value_is_one_of_many(self) -> bool:
        """Whether choosing it ends the choice of another one with the same command."""
        return self.command in ("follow", "limit")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the menu depends on besides the watch.

    Attributes:
        locked: Keys of settings that can't be changed here.
        autostart: Whether the tray starts at login; None where that can't be arranged.
    """

    locked: frozenset[str] = frozenset()
    autostart: bool | None = None


_LINE = Entry()


def menu_of(state: WatchState, around: Circumstances) -> tuple[Entry, ...]:
    """The menu of a state."""
    signed_out = state.mood is Mood.SIGNED_OUT
    return (
        Entry(status_line(state), enabled=False),
        _LINE,
        Entry("Show window", "show"),
        Entry("Check now", "check", enabled=not signed_out and not state.paused),
        Entry("Resume", "resume") if state.paused else Entry("Pause", "pause", enabled=not signed_out),
        _LINE,
        *_bundles(state, around),
        Entry("Limit speed", entries=_limits(state), enabled="limit_rate" not in around.locked),
        _LINE,
        Entry("Open addons folder", "folder"),
        Entry("Show log", "log"),
        _LINE,
        Entry("Sign in…", "sign_in") if signed_out or state.server is None else Entry("Sign out", "sign_out"),
        *([] if around.autostart is None else [Entry("Start at login", "autostart", checked=around.autostart)]),
        Entry("About", "about"),
        _LINE,
        Entry("Quit", "quit"),
    )


def _bundles(state: WatchState, around: Circumstances) -> list[Entry]:
    free = around.locked.isdisjoint(("bundle", "use_staging", "use_dev"))
    names: list[Followed] = ["production", "staging"]
    if state.has_dev_bundle or state.follows == "dev":
        names.append("dev")
    return [Entry(name.capitalize(), "follow", name, enabled=free, checked=state.follows == name) for name in names]


def _limits(state: WatchState) -> tuple[Entry, ...]:
    limits = list(LIMITS)
    if state.limit not in [rate for _, rate in limits]:  # from the settings file
        limits.append((f"{(state.limit or 0) / 1e6:.3g} MB/s", state.limit))
    return tuple(Entry(text, "limit", rate, checked=state.limit == rate) for text, rate in limits)
