"""What is known, kept as one immutable state for everybody, and told at a bearable pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ayon_async.progress import INTERVAL
from ayon_async.watch.mood import Facts, error_of, is_working, mood_of
from ayon_async.watch.state import WatchState


class Board:
    """The state and the facts behind it; written in the loop's thread alone, the state is read from any.

    Args:
        on_change: Told at most ten times a second, and of every new mood at once.

    Attributes:
        facts: What the mood depends on.
        state: What everybody sees.
    """

    def __init__(self, on_change: Callable[[WatchState], None] | None) -> None:
        self.facts = Facts()
        self.state = WatchState()
        self._on_change = on_change
        self._timer: asyncio.TimerHandle | None = None

    def know(self, shown: Mapping[str, Any] = MappingProxyType({}), **facts: Any) -> None:
        """Some facts are different now, and in the same moment some attributes of the state."""
        self.facts = replace(self.facts, **facts)
        self.show(**shown)

    def show(self, **attributes: Any) -> None:
        """Some attributes of the state, besides those that follow from the facts, are different now."""
        facts = self.facts
        ahead = facts.ahead if is_working(facts.ahead) else None
        state = replace(
            self.state,
            mood=mood_of(facts),
            error=error_of(facts),
            paused=facts.paused,
            report=facts.report,
            snapshot=ahead or facts.snapshot,
            **attributes,
        )
        if state == self.state:
            return
        new_mood = state.mood is not self.state.mood
        self.state = state
        if new_mood:
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tell)

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._on_change is not None:
            self._on_change(self.state)
