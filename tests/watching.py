"""A watch for tests: a machine of its own, a real server, everything that waits made short."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from unittest import mock

from ayon_async.cli.output import Output
from ayon_async.cli.setup import set_up
from ayon_async.paths import platform_folders
from ayon_async.report import SyncReport
from ayon_async.watch import Mood, Update, Watch, WatchState
from ayon_async.watch.line import Pace
from cli_machine import Machine

T = TypeVar("T")
QUICK = Pace(tick=0.1, first=0.1, longest=0.5, restart=0.2)
PATIENCE = 20.0
"""Seconds until a test gives up; nothing waits for so long where all is well."""


@dataclass(frozen=True)
class Seen:
    """A watch and all that it told."""

    watch: Watch
    states: list[WatchState] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    failures: list[SyncReport] = field(default_factory=list)

    @property
    def state(self) -> WatchState:
        return self.watch.state

    @property
    def moods(self) -> list[Mood]:
        """The moods one after the other, without repetitions."""
        moods = [state.mood for state in self.states]
        return [mood for number, mood in enumerate(moods) if number == 0 or mood is not moods[number - 1]]

    async def until(self, holds: Callable[[WatchState], object]) -> WatchState:
        """Wait for a state of which that holds."""
        await until(lambda: holds(self.watch.state), lambda: self.watch.state)
        return self.watch.state

    def forget(self) -> None:
        """Forget the states so far."""
        self.states.clear()

    async def passed(self, mood: Mood) -> None:
        """Wait until it was in a mood, however short, since the states were last forgotten."""
        await until(lambda: mood in self.moods, lambda: self.moods)

    async def mood(self, mood: Mood) -> WatchState:
        """Wait for a mood that lasts."""
        return await self.until(lambda state: state.mood is mood)

    async def idle(self, bundle: str = "prod") -> WatchState:
        """Wait until all is in place."""
        return await self.until(lambda state: state.mood is Mood.IDLE and state.bundle == bundle)


async def until(holds: Callable[[], T], told: Callable[[], object] = lambda: "") -> T:
    """Wait until the function's result is true, and return it."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not (found := holds()):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
            return found
    except TimeoutError:
        raise AssertionError(f"it never came: {told()}") from None


def settings_file(machine: Machine) -> Path:
    """Where the machine's user keeps settings."""
    with mock.patch.dict(os.environ, machine.env, clear=True):
        return platform_folders().user_file


def configure(machine: Machine, **settings: object) -> None:
    """Write the user's settings."""
    path = settings_file(machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n" for key, value in settings.items()
    ]
    path.write_text("".join(lines))


@asynccontextmanager
async def watching(machine: Machine, pace: Pace = QUICK, **settings: object) -> AsyncIterator[Seen]:
    """A watch that runs; its random wait after news is 0 unless the settings say otherwise."""
    configure(machine, **{"news_wait": 0, **settings})
    with mock.patch.dict(os.environ, machine.env, clear=True):
        seen = Seen(
            Watch(
                set_up({}, Output(quiet=True)),
                on_change=lambda state: seen.states.append(state),
                on_update=lambda update: seen.updates.append(update),
                on_failure=lambda report: seen.failures.append(report),
                pace=pace,
            )
        )
        run = asyncio.create_task(seen.watch.run())
        try:
            yield seen
        finally:
            if not run.done():
                run.cancel()
            await asyncio.wait([run])
            if not run.cancelled() and (error := run.exception()) is not None:
                raise error
