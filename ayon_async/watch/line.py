"""The line to the server: whether it is there, whether it knows us, and its news, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ayon_async.errors import AccessDenied, AyonAsyncError, ServerError
from ayon_async.server import AyonServer, NewsClosed
from ayon_async.watch.clock import Clock

log = logging.getLogger(__name__)

TOPICS = ("bundle", "server")
_WAKING = ("bundle.", "server.started", "server.restart_requested")
_RESTARTING = 1012


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how patiently a watch does what nobody sets; seconds.

    Attributes:
        tick: Between two looks at the clock and the settings files.
        silence: Without news or heart-beat, which comes every 6 s, after which a connection is dead.
        first: The longest wait before the first new try of what failed; it doubles each time.
        longest: The longest of these waits.
        restart: The longest wait after the server said that it restarts.
        slept: Unexplained time that counts as a sleep.
        clock: What tells the time.
    """

    tick: float = 5.0
    silence: float = 20.0
    first: float = 2.0
    longest: float = 120.0
    restart: float = 5.0
    slept: float = 30.0
    clock: Clock = field(default_factory=Clock)

    def pause(self, attempt: int) -> float:
        """The wait before a new try after so many failed ones: half of it random, so that a studio's machines part."""
        whole = min(self.longest, self.first * 2.0 ** min(attempt - 1, 20))
        return whole * random.uniform(0.5, 1.0)


class Ears(Protocol):
    """Who is told of the line; in the loop's thread."""

    def up(self, user: str, *, anew: bool) -> None:
        """The server is there and knows us as this user.

        Args:
            anew: News is heard from now on, and some may have been missed before.
        """

    def heard(self, listening: bool) -> None:
        """Whether news arrives."""

    def news(self, topic: str) -> None:
        """The bundles may have changed."""

    def down(self, error: AyonAsyncError) -> None:
        """The server is away, or can't be asked; it is tried again."""

    def refused(self, error: AccessDenied) -> None:
        """The server does not know us; the line has ended."""


async def keep_line(open_server: Callable[[], AyonServer], ears: Ears, pace: Pace, hurry: asyncio.Event) -> None:
    """Stay on the line until cancelled or refused.

    Args:
        open_server: A new client for each connection.
        hurry: Set by who can't wait for the next try.
    """
    attempt = 0
    while True:
        hurry.clear()
        attempt += 1
        restarting = False
        try:
            async with open_server() as server:
                user = await server.me()  # a request of its own: only now news is told to who has a key
                heard, restarting = await _listen(server, user.name, ears, pace)
            attempt = 0 if heard else attempt
        except AccessDenied as error:
            ears.refused(error)
            return
        except AyonAsyncError as error:
            ears.down(error)
        wait = random.uniform(0.2, 1.0) * pace.restart if restarting else pace.pause(attempt + 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await hurry.wait()


async def _listen(server: AyonServer, user: str, ears: Ears, pace: Pace) -> tuple[bool, bool]:
    """Hear the news as long as they come; returns whether any came, and whether the server said that it restarts.

    That news can't be had says nothing of the server: a proxy before it may know no WebSockets.
    """
    told = heard = False
    try:
        async with server.news(TOPICS, pace.silence) as topics:
            told = True
            ears.up(user, anew=True)
            async for topic in topics:
                if not heard:
                    heard = True
                    ears.heard(True)
                if topic.startswith(_WAKING):
                    ears.news(topic)
    except ServerError as error:
        log.info("%s", error.message)
        if not told:
            ears.up(user, anew=False)
        return heard, isinstance(error, NewsClosed) and error.code == _RESTARTING
    finally:
        ears.heard(False)
    return heard, False
