"""How much of the machine and the line a run takes, which may change while it runs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

UNPACKING = 2
"""Archives that are unpacked at once, at the most."""
CONNECTIONS = 8
"""Connections that are used at once, at the most, ..."""
MOST_CONNECTIONS = 16
"""... and what a person may ask for instead."""


class Effort:
    """How much of the machine and the line a run takes; who made it may change it meanwhile, in the loop's own thread.

    Args:
        rate: Bytes to receive a second at the most, all connections together; None for no limit.
        unpacking: Archives that are unpacked at once, from 1 to `UNPACKING`; small ones take no turns, see `small`.
        background: Whether the threads and processes that unpack, hash and write yield to everything else.

    Attributes:
        background: As given.
    """

    def __init__(
        self,
        rate: float | None = None,
        unpacking: int = UNPACKING,
        *,
        background: bool = False,
    ) -> None:
        self.background = background
        self._rate = rate
        self._unpacking = unpacking
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._throttles: list[Callable[[float | None], None]] = []

    @property
    def rate(self) -> float | None:
        """Bytes to receive a second at the most."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate
        for throttle in self._throttles:
            throttle(rate)

    @property
    def unpacking(self) -> int:
        """Archives that are unpacked at once; one that is begun is ended."""
        return self._unpacking

    @unpacking.setter
    def unpacking(self, count: int) -> None:
        self._unpacking = count
        self._hand_out()

    @property
    def is_full(self) -> bool:
        """Whether as many threads may unpack as there are, also one archive with several, or before it is whole."""
        return self._unpacking >= UNPACKING

    @property
    def has_spare(self) -> bool:
        """Whether one more archive might have a turn now, and none wants it; may be asked by any thread."""
        return self._busy < self._unpacking

    @contextmanager
    def throttling(self, throttle: Callable[[float | None], None]) -> Iterator[None]:
        """Tell of every new rate while in the block."""
        self._throttles.append(throttle)
        try:
            yield
        finally:
            self._throttles.remove(throttle)

    @asynccontextmanager
    async def unpacking_turn(self) -> AsyncIterator[None]:
        """Wait until one more archive may be unpacked."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._hand_out()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():  # also where it was our turn just when we were cancelled
                self._busy -= 1
                self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._busy < self._unpacking:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled wants no turn
                self._busy += 1
                turn.set_result(None)
