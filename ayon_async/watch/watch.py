"""`Watch`: keeps the store equal to what the server says, for as long as it runs.

The line tells whether the server is there and what is new; a tick looks at the clock and the settings files. All that
they do is to move the next check nearer. There is one check at a time, and it is an ordinary sync.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ayon_async import priority, signin
from ayon_async.effort import UNPACKING
from ayon_async.errors import AccessDenied, AyonAsyncError, NotSignedIn, UsageError
from ayon_async.report import SyncReport
from ayon_async.watch.board import Board
from ayon_async.watch.checks import Checks
from ayon_async.watch.choices import Choices
from ayon_async.watch.clock import Alarm
from ayon_async.watch.line import Pace, keep_line
from ayon_async.watch.memory import give_back
from ayon_async.watch.setup import Setup, find_token, shown_of, stamp_of, what_counts
from ayon_async.watch.state import Followed, Update, WatchState

_THREADS = 4
_SETTLED = 5.0  # seconds after a run, when its connections and threads are gone

log = logging.getLogger(__name__)


class Watch:
    """Keeps the store equal to what the server says, for as long as it runs.

    `run` is for an event loop of its own: it lowers the priority of the loop's threads. Everything else may be called
    from any thread.

    Args:
        setup: The settings; they are read anew when a file of theirs changes.
        on_change: Told of a new state in the loop's thread, at most ten times a second and at every new mood.
        on_update: Told when an update is complete.
        on_failure: Told when a run failed, once for each failure.
        pace: How often and how patiently it does what nobody sets.
    """

    def __init__(
        self,
        setup: Setup,
        *,
        on_change: Callable[[WatchState], None] | None = None,
        on_update: Callable[[Update], None] | None = None,
        on_failure: Callable[[SyncReport], None] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._choices = Choices(setup)
        self._pace = pace or Pace()
        self._board = Board(on_change)
        self._board.state = replace(self._board.state, **shown_of(setup.settings))
        self._checks = Checks(self._board, self._pace, on_update, on_failure)
        self._checks.effort.rate = setup.settings.limit_rate
        self._watched = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[Callable[[], object]] = []
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._due = math.inf  # when to check, by the loop's clock
        self._first = True  # whether there was no check yet
        self._soon = True  # whether the first check on the line does without the random wait
        self._left = False  # whether a person signed out
        self._compared = False  # whether the store was compared with the last good bundle since the server is away
        self._line: asyncio.Task[None] | None = None
        self._work: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()  # of who begins and ends work
        self._token: str | None = None

    # --- what everybody may ask and say -------------------------------------------------------------------------------

    @property
    def state(self) -> WatchState:
        """What it is doing."""
        return self._board.state

    @property
    def setup(self) -> Setup:
        """The settings as they are now."""
        return self._choices.setup

    @property
    def watched(self) -> bool:
        """Whether a person looks on; else only one large archive is unpacked at once."""
        return self._watched

    @watched.setter
    def watched(self, watched: bool) -> None:
        self._watched = watched
        self._post(lambda: setattr(self._checks.effort, "unpacking", UNPACKING if watched else 1))

    def check_now(self) -> None:
        """Compare at once, try again what failed, reconnect."""
        self._post(self._check_now)

    def pause(self) -> None:
        """Stop what is under way and start nothing; what has arrived is kept."""
        self._post(lambda: self._spawn(self._pause()))

    def resume(self) -> None:
        """Go on."""
        self._post(self._resume)

    def follow(self, which: Followed) -> None:
        """Follow another bundle, from now on and after the next start; does nothing where that is locked."""
        self._post(lambda: self._spawn(self._take(self._choices.follow(which))))

    def limit(self, rate: float | None) -> None:
        """Receive so many bytes a second at the most, from now on and after the next start, unless that is locked."""
        self._post(lambda: self._spawn(self._take(self._choices.limit(rate))))

    def signed_in(self, server: str) -> None:
        """Somebody signed in to this server, and what stands for them is kept: use it from now on."""

        async def take() -> None:
            self._left = False
            if self.setup.settings.server != server:
                await self._reload()  # it is the last one used now, which is enough where no place names one
            if self.setup.settings.server != server:
                await self._take(self._choices.use(server))
            async with self._turn:
                await self._stop_work()  # it may still go by what stood for them before
                self._connect()

        self._post(lambda: self._spawn(take()))

    def sign_out(self) -> None:
        """End the session on the server and forget the token."""
        self._post(lambda: self._spawn(self._sign_out()))

    def _post(self, call: Callable[[], object]) -> None:
        """Call it in the loop's thread, as soon as there is one."""
        if self._loop is None:
            self._early.append(call)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(call)

    def _spawn(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errand_done)

    def _errand_done(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s", error)

    # --- the story ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled; that takes two seconds at the most, and what has arrived is kept."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, "watch", priority.lower))
        self._loop = loop
        for call in self._early:
            call()
        alarm = Alarm(self._pace.clock, self._pace.slept)
        stamp = await asyncio.to_thread(stamp_of, self.setup)
        try:
            await self._checks.begin(self.setup)
            self._connect_unless_left()
            while True:
                waited = self._patience()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(waited):
                        await self._wake.wait()
                self._wake.clear()
                if alarm.slept(waited):
                    log.info("The computer slept; checking.")
                    self._connect_unless_left(quietly=False)
                if stamp != (stamp := await asyncio.to_thread(stamp_of, self.setup)):
                    await self._reload()
                await self._act()
        finally:
            self._loop = None
            self._board.close()
            await _end(self._line, self._work, *self._errands)

    def _patience(self) -> float:
        """Seconds to wait for something to happen: until the next check, where one can be begun."""
        facts = self._board.facts
        if facts.paused or facts.is_running or facts.line in ("asking", "down"):
            return self._pace.tick
        return min(self._pace.tick, max(0.0, self._due - asyncio.get_running_loop().time()))

    async def _act(self) -> None:
        """Begin what is due."""
        async with self._turn:
            await self._begin_due()

    async def _begin_due(self) -> None:
        facts, now = self._board.facts, asyncio.get_running_loop().time()
        for task in (self._work, self._line):
            if task is not None and task.done() and not task.cancelled():
                task.result()  # a fault of this program ends the watch too
        if self._work is not None and self._work.done():
            self._work = None
            self._spawn(_give_back())
        if facts.paused:
            return
        if facts.line == "down" and facts.report is None and self._work is None and not self._compared:
            self._compared = True
            self._begin(self._checks.compare_offline(self.setup))
        if self._due > now:
            return
        if facts.line == "refused":
            self._due = now + self.setup.settings.check_every
            self._connect_unless_left()
        elif facts.line == "up":
            if self._work is not None and not facts.is_running:
                await self._stop_work()  # it fetches ahead, which can wait
            if self._work is None:
                self._due = math.inf
                self._begin(self._check())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = asyncio.get_running_loop().create_task(work)
        self._work.add_done_callback(lambda _: self._wake.set())

    async def _stop_work(self) -> None:
        await _end(self._work)
        self._work = None

    def _ask(self, within: float) -> None:
        """Something may have changed: check within so many seconds; who asks again meanwhile changes nothing."""
        self._due = min(self._due, asyncio.get_running_loop().time() + within)
        self._board.know(pending=True)
        self._wake.set()

    def _some_time(self) -> float:
        """A studio's watches all hear the news in the same moment."""
        return random.uniform(0, self.setup.settings.news_wait)

    async def _check(self) -> None:
        """Make the store equal to the bundle, then fetch what may be active next."""
        setup, token = self.setup, self._token
        report = await self._checks.check(setup, token)
        changed = self._board.facts.pending  # meanwhile, and maybe the very bundle that this was about
        pause = 0.0 if changed else self._checks.pause(report, setup.settings.check_every)
        self._due = min(self._due, asyncio.get_running_loop().time() + pause)
        self._compared = False
        if isinstance(report.error, NotSignedIn):
            await _end(self._line)
            self.refused(report.error)
        elif report.ok and not changed:
            await self._checks.fetch_ahead(setup, token)

    # --- the line -----------------------------------------------------------------------------------------------------

    def _connect(self, *, quietly: bool = False) -> None:
        """Begin the line anew.

        Args:
            quietly: Whether the mood stays as it is until something is known.
        """
        before, self._soon = self._line, True
        if not quietly:
            self._board.know(line="asking", asked=True)
        self._line = asyncio.get_running_loop().create_task(self._keep_line(before))

    @property
    def _stays_out(self) -> bool:
        """Whether a person signed out where a key in the environment would sign in again by itself."""
        return self._left and self.setup.settings.api_key is not None

    def _connect_unless_left(self, *, quietly: bool = True) -> None:
        if not self._stays_out:
            self._connect(quietly=quietly)

    async def _keep_line(self, before: asyncio.Task[None] | None) -> None:
        await _end(before)
        setup = self.setup
        try:
            token = await asyncio.to_thread(find_token, setup)
        except NotSignedIn as error:
            self.refused(error)
            return
        self._token = token
        await keep_line(lambda: setup.server(token), self, self._pace, self._hurry)

    def up(self, user: str, *, anew: bool) -> None:
        """See `line.Ears`."""
        may_have_missed = anew or self._board.facts.line != "up"
        pending = self._board.facts.pending or may_have_missed
        self._board.know({"user": user, "was_user": None}, line="up", line_error=None, asked=False, pending=pending)
        if may_have_missed:
            start = random.uniform(0, self.setup.settings.start_jitter) if self._first else 0.0
            self._ask(start if self._soon else self._some_time())
            self._soon = self._first = False

    def heard(self, listening: bool) -> None:
        """See `line.Ears`."""
        self._board.show(listening=listening)

    def news(self, topic: str) -> None:
        """See `line.Ears`."""
        log.debug("News: %s", topic)
        self._ask(self._some_time())

    def down(self, error: AyonAsyncError) -> None:
        """See `line.Ears`."""
        self._board.know(line="down", line_error=error, asked=False)
        self._wake.set()

    def refused(self, error: AccessDenied) -> None:
        """See `line.Ears`."""
        self._due = asyncio.get_running_loop().time() + self.setup.settings.check_every
        was = self.state.user or self.state.was_user
        self._board.know({"user": None, "was_user": was}, line="refused", line_error=error, asked=False, pending=False)

    # --- what a person does -------------------------------------------------------------------------------------------

    def _check_now(self) -> None:
        facts = self._board.facts
        if facts.line == "refused":
            self._connect()
        elif facts.line == "up" and not facts.is_running:
            self._hurry.set()
            self._ask(0.0)
        elif facts.line == "down":
            self._soon = True
            self._board.know(asked=True)
            self._hurry.set()

    async def _pause(self) -> None:
        self._board.know(paused=True)
        async with self._turn:
            await self._stop_work()

    def _resume(self) -> None:
        self._board.know(paused=False, pending=True)
        self._ask(0.0)

    async def _sign_out(self) -> None:
        setup, self._left = self.setup, True
        async with self._turn:
            await self._stop_work()
            await _end(self._line)
            self.refused(NotSignedIn(f"You signed out of {setup.settings.server}.", "Sign in to go on."))
            self._board.show(was_user=None)
        async with setup.server() as server:
            out = await signin.sign_out(server, setup.credentials)
        if out.error is not None:
            log.warning("%s", out.error.message)

    # --- the settings -------------------------------------------------------------------------------------------------

    async def _take(self, choice: Coroutine[Any, Any, None]) -> None:
        """Make a choice, and go by it."""
        await choice
        await self._reload()

    async def _reload(self) -> None:
        """Read the settings anew, and do what that changes."""
        try:
            before = await self._choices.read_anew()
        except UsageError as error:
            log.warning("%s %s", error.message, error.hint)
            self._board.know(settings_error=error)
            return
        setup, settings = self.setup, self.setup.settings
        self._checks.effort.rate = settings.limit_rate
        if what_counts(before.settings) != what_counts(settings):
            # In one moment: what was found is not true of what is followed now.
            shown = shown_of(settings)
            if before.settings.server != settings.server:
                shown |= {"user": None, "was_user": None}
                self._left = False
            line: dict[str, Any] = {} if self._stays_out else {"line": "asking", "asked": True}
            self._board.know(shown, settings_error=None, report=None, **line)
            async with self._turn:
                await self._stop_work()
                await self._checks.begin(setup)
                self._due = math.inf
                self._connect_unless_left(quietly=False)
            return
        self._board.know(shown_of(settings), settings_error=None)
        if self._board.facts.line == "refused":
            self._connect_unless_left()  # somebody may have signed in elsewhere
        elif (before.settings.prefetch, before.settings.check_every) != (settings.prefetch, settings.check_every):
            self._ask(0.0)


async def _give_back() -> None:
    await asyncio.sleep(_SETTLED)
    await asyncio.to_thread(give_back)


async def _end(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel tasks and wait until they have ended."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
