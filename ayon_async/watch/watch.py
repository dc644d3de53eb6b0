"""`Watch`: keeps the store equal to what the server says, for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ayon_async.report import SyncReport
from ayon_async.watch.setup import Setup
from ayon_async.watch.state import Followed, Update, WatchState


class Watch:
    """Keeps the store equal to what the server says, for as long as it runs.

    Args:
        setup: The settings; they are read anew when a file of theirs changes.
        on_change: Told of a new state on the watch's own thread, at most ten times a second and at every new mood.
        on_update: Told when an update is complete.
        on_failure: Told when a run failed, once for each failure.

    Attributes:
        watched: Whether a person looks on; else only one archive is unpacked at once.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        on_change: Callable[[WatchState], None] | None = None,
        on_update: Callable[[Update], None] | None = None,
        on_failure: Callable[[SyncReport], None] | None = None,
    ) -> None:
        self.setup = setup
        self.watched = False
        self._state = WatchState()

    @property
    def state(self) -> WatchState:
        """What it is doing; may be read from any thread."""
        return self._state

    async def run(self) -> None:
        """Watch until cancelled; that takes two seconds at the most, and what has arrived is kept."""
        await asyncio.Event().wait()

    def check_now(self) -> None:
        """Compare at once, try again what failed, reconnect."""

    def pause(self) -> None:
        """Stop what is under way and start nothing; what has arrived is kept."""

    def resume(self) -> None:
        """Go on."""

    def follow(self, which: Followed) -> None:
        """Follow another bundle, from now on and after the next start, unless that is locked."""

    def limit(self, rate: float | None) -> None:
        """Receive so many bytes a second at the most, from now on and after the next start, unless that is locked."""

    def signed_in(self, server: str) -> None:
        """Somebody signed in to this server: take what is kept for it."""

    def sign_out(self) -> None:
        """End the session on the server and forget the token."""
