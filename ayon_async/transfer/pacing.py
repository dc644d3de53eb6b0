"""The one place that decides how many connections there are, and how fast they may be."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ayon_async.effort import MOST_CONNECTIONS

FIRST = 4
WINDOW = 0.5
"""Seconds over which a sum is measured before the number of connections is changed."""
_PATIENCE = 8
"""Windows to wait at the most after connections that brought nothing, before trying one more again: 1 at first, and
twice as many each time; servers that cap a connection may do so in bursts, of which a window tells little."""
_AFTER_TROUBLE = 4
"""Windows to wait after a connection broke, or the server asked for less."""
_SUNK = 0.9
"""Share of the best sum so far below which more are tried at once, and kept until it is back: on a line that loses
packets a few connections are fast in the beginning and slow afterwards, and one more proves nothing within a window."""
_BURST = 0.1
"""Seconds of a limited rate that may be made up for after a pause."""
_IN_KERNEL = 0.1
"""Seconds of a limited rate that may wait in the operating system's buffers, all connections together."""
_SMALLEST_BUFFER = 49152
"""Bytes; with fewer a sender whose segments are large, as over loopback, waits for room that never comes."""
_LINE_UP = 0.03
"""Seconds that the first ones wait for the largest to be among them, at the most."""
_SMALL = 64 << 10
"""Bytes of an archive that is here in a round trip or two: where all are, it is these that take long, and as many are
asked for at once as may be."""


class Climb:
    """How many connections pay: more as long as each one added brings at least half of an average one's share.

    A third of what may be added at first, then twice as many as the last time: where each connection is slow by itself,
    as behind a server that caps them, one at a time would take longer than many a download. Where several bring
    nothing, half as many are tried. Pure: it is told what was measured and answers with a number, never below 1 nor
    above `most`.

    >>> climb = Climb(8)
    >>> climb.allowed
    4
    >>> climb.measured(4_000_000), climb.measured(5_000_000), climb.measured(5_100_000), climb.measured(5_000_000)
    (5, 7, 7, 6)
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.allowed = min(FIRST, self.most)
        self._step = self._first_step
        self._before: float | None = None
        self._doubted = False
        self._added = 0
        self._rest = 0
        self._flat = 0
        self._best = 0.0

    @property
    def _first_step(self) -> int:
        return max(1, (self.most - FIRST) // 3)

    def measured(self, speed: float) -> int:
        """The sum of all connections in the last window, in bytes per second, all that are allowed being in use."""
        self._best = max(self._best, speed)
        if self.has_sunk(speed):
            self._compare_with(None)
            self.allowed = min(self.most, self.allowed + max(1, self.allowed // 2))
        elif self._rest > 0:
            self._rest -= 1
        elif self._before is None:
            self._add(min(self._step, self.allowed), speed)
        elif speed >= self._before * (1 + 0.5 * self._added / (self.allowed - self._added)):
            self._flat = 0
            self._add(2 * self._added, speed)
        elif not self._doubted:
            self._doubted = True
        else:
            self._take_back()
        return self.allowed

    def has_sunk(self, speed: float) -> bool:
        """Whether this sum is far below the best one."""
        return speed < _SUNK * self._best

    def _take_back(self) -> None:
        """Flat twice: the last ones added do not pay. Of several perhaps the first ones do."""
        kept = self._added // 2
        self.allowed -= self._added - kept
        self._added, self._doubted = kept, False
        if not kept:
            self._step, self._rest = 1, min(_PATIENCE, 1 << self._flat)
            self._flat += 1
            self._compare_with(None)

    def _add(self, count: int, speed: float) -> None:
        self._added = min(self.most - self.allowed, count)
        self.allowed += self._added
        self._compare_with(speed if self._added else None)

    def _compare_with(self, speed: float | None) -> None:
        self._before, self._doubted = speed, False

    def forget(self, rest: int = 0) -> None:
        """What was measured so far tells nothing any more; add none for so many windows."""
        self._compare_with(None)
        self._rest, self._best, self._step = rest, 0.0, self._first_step

    def failed(self) -> int:
        """A connection broke or timed out."""
        self.forget(_AFTER_TROUBLE)
        self.allowed = max(1, self.allowed - 1)
        return self.allowed

    def busy(self) -> int:
        """The server asked for less (429, 503)."""
        self.forget(_AFTER_TROUBLE)
        self.allowed = max(1, self.allowed // 2)
        return self.allowed


class Throttle:
    """A limit on the sum of what comes in, in bytes per second."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._due = time.monotonic()

    def took(self, count: int) -> float:
        """So many bytes came; returns the seconds to wait before taking more."""
        if self.rate is None:
            return 0.0
        now = time.monotonic()
        self._due = max(self._due, now - _BURST) + count / self.rate
        return max(0.0, self._due - now)

    def limit(self, rate: float | None) -> None:
        """Another limit from now on; nobody waits for what was taken under the old one."""
        self.rate, self._due = rate, time.monotonic()

    @property
    def is_used_up(self) -> bool:
        """Whether somebody has to wait for it just now."""
        return self.rate is not None and self._due > time.monotonic()


class Pacer:
    """Hands out connections.

    Args:
        most: Connections at once at the most; never more than 16.
        rate: Bytes per second, all together; None for no limit.
        idle: Called when a connection could be used and nobody waits for one.
        sizes: Of the archives to come, 0 where it is not known: once the largest are here, nobody waits for them.
    """

    def __init__(self, most: int, rate: float | None, idle: Callable[[], None], sizes: Sequence[int] = ()) -> None:
        self.climb = Climb(min(most, MOST_CONNECTIONS))
        if sizes and min(sizes) > 0 and max(sizes) <= _SMALL:
            self.climb.allowed = self.climb.most
        self._largest = heapq.nlargest(self.climb.allowed, sizes)
        self._throttle = Throttle(rate)
        self._idle = idle
        self._active = 0
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap, the largest first
        self._asked = 0
        self._lined_up = False
        self._hold_until = 0.0
        self._window: tuple[float, int] | None = None
        self._total = 0

    @property
    def spare(self) -> int:
        """How many connections could be used that nobody waits for; none where they would only share a limited rate."""
        if self._queue or self._held or self._throttle.is_used_up:
            return 0
        return max(0, self.climb.allowed - self._active)

    @property
    def buffer(self) -> int | None:
        """Bytes that the operating system may collect for each connection; None where the rate is not limited."""
        if self._throttle.rate is None:
            return None
        return max(_SMALLEST_BUFFER, int(self._throttle.rate * _IN_KERNEL / self.climb.allowed))

    @property
    def _held(self) -> bool:
        return time.monotonic() < self._hold_until

    @asynccontextmanager
    async def connection(self, size: int | None) -> AsyncIterator[None]:
        """Wait for one's turn and hold a connection.

        Args:
            size: Of the archive in bytes; the largest come first, those of which it is not known last.
        """
        await self._turn(size or 0)
        try:
            while (wait := self._hold_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be moved meanwhile
                await asyncio.sleep(wait)
            yield
        finally:
            self.release()

    async def _turn(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._asked += 1
        if self._asked == 1:
            loop.call_later(_LINE_UP, self._open)
        heapq.heappush(self._queue, (-size, self._asked, turn))
        self._lined_up = self._lined_up or self._has_largest
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()  # it was our turn already
            raise

    @property
    def _has_largest(self) -> bool:
        """Whether those that should have the first turns wait for them."""
        here = [-size for size, _, _ in heapq.nsmallest(len(self._largest), self._queue)]
        return bool(here) and here == self._largest

    def _open(self) -> None:
        self._lined_up = True
        self._hand_out()

    def take_spare(self) -> None:
        """Hold a connection that is spare; to be given back by `release`."""
        self._active += 1

    def release(self) -> None:
        """Give a connection back."""
        self._active -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and self._lined_up and self._active < self.climb.allowed:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():  # who was cancelled wants no turn
                self._active += 1
                turn.set_result(None)
        if self.spare:
            self._idle()
        if self._window is None and self._active >= self.climb.allowed and not self._held:
            self._window = time.monotonic(), self._total

    def took(self, count: int) -> float:
        """So many bytes came over one of the connections; returns the seconds that it should wait."""
        self._total += count
        return self._throttle.took(count)

    def limit(self, rate: float | None) -> None:
        """Another limit on the sum from now on."""
        self._window = None  # what was measured under the old one tells nothing
        self.climb.forget()
        self._throttle.limit(rate)

    def tick(self) -> None:
        """Called several times a second: look at the sum and change the number of connections."""
        now = time.monotonic()
        if self._active < self.climb.allowed or self._held:
            self._window = None  # a sum of fewer than allowed tells nothing
        elif self._window is not None and now - self._window[0] >= WINDOW:
            speed = (self._total - self._window[1]) / (now - self._window[0])
            # More than are allowed, until some have ended, tell only where they are too few.
            if self._active == self.climb.allowed or self.climb.has_sunk(speed):
                self.climb.measured(speed)
            self._window = None
        self._hand_out()

    def failed(self) -> None:
        """A connection broke."""
        self._window = None
        self.climb.failed()

    def busy(self, seconds: float) -> None:
        """The server asked everybody to come back later."""
        self._window = None
        self.climb.busy()
        self._hold_until = max(self._hold_until, time.monotonic() + seconds)
