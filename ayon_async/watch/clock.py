"""Noticing that the computer slept: time passed that nobody waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks, in seconds: a suspended computer's monotonic one may stand still, its wall clock goes on."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Alarm:
    """Told whenever somebody has waited, it says whether the computer slept meanwhile.

    Args:
        clock: What to look at.
        tolerance: Seconds that may go by unexplained: a busy computer is late too.
    """

    def __init__(self, clock: Clock, tolerance: float) -> None:
        self._clock = clock
        self._tolerance = tolerance
        self._before = clock.wall(), clock.monotonic()

    def slept(self, waited: float) -> bool:
        """Whether much more time has passed since the last call than at most was waited for.

        Args:
            waited: Seconds that the caller meant to wait at the most.
        """
        now = self._clock.wall(), self._clock.monotonic()
        wall, monotonic = (after - before for after, before in zip(now, self._before, strict=True))
        self._before = now
        # Where the monotonic clock goes on in a sleep (Windows), it is the one that says so; a wall clock that
        # somebody set looks like a sleep and costs one check.
        return wall - min(monotonic, waited) > self._tolerance or monotonic - waited > self._tolerance
