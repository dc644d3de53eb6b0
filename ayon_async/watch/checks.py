"""The checks of a watch: ordinary syncs, one after the other, and what came of them."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.effort import Effort
from ayon_async.errors import AyonAsyncError, NotSignedIn, ServerError
from ayon_async.item import Item
from ayon_async.progress import Snapshot
from ayon_async.report import SyncReport
from ayon_async.server import AyonServer
from ayon_async.store.history import Key, State
from ayon_async.syncing import sync
from ayon_async.watch.ahead import bundles_ahead
from ayon_async.watch.board import Board
from ayon_async.watch.line import Pace
from ayon_async.watch.setup import Setup
from ayon_async.watch.state import Update
from ayon_async.watch.updates import in_place, last_update, update_of

_ITEMS_ARE_PATIENT = 15.0  # what an archive's failure has more patience than a connection's

log = logging.getLogger(__name__)


class Checks:
    """Makes the store equal to the bundle, again and again; on the board stands what came of it.

    Args:
        board: Where that is noted.
        pace: How long to wait after failures.
        on_update: Told when an update is complete.
        on_failure: Told when a run failed, once for each failure.

    Attributes:
        effort: How much of the machine and the line it takes.
    """

    def __init__(
        self,
        board: Board,
        pace: Pace,
        on_update: Callable[[Update], None] | None,
        on_failure: Callable[[SyncReport], None] | None,
    ) -> None:
        self.effort = Effort(None, 1, background=True)
        self._board = board
        self._pace = pace
        self._on_update = on_update
        self._on_failure = on_failure
        self._failures = 0  # one after the other
        self._told: object = None  # the failure that was told last
        self._before: frozenset[Item] | None = None  # what the bundle had in place, once that is known
        self._bundles: model.Bundles | None = None  # what the server has, as the last check saw it
        self._fetched: set[str] = set()  # contents of bundles that were fetched ahead

    async def begin(self, setup: Setup) -> None:
        """Another bundle or store is followed from now on: what the store's history knows of it is shown."""
        settings, states = setup.settings, tuple[State, ...]()
        self._failures, self._told, self._before = 0, None, None
        self._fetched.clear()
        if settings.server is not None:
            key = Key.of(settings.server, settings.choice, settings.platform)
            with contextlib.suppress(AyonAsyncError):  # the check will say so
                histories = await setup.store.memory.histories()
                states = next((history.states for history in histories if history.key == key), ())
        if states:
            self._before = states[0].on_disk
        shown = {"update": last_update(states), "bundle": None, "checked": None}
        self._board.know(shown, report=None, snapshot=None)

    async def check(self, setup: Setup, token: str | None) -> SyncReport:
        """Make the store equal to the bundle."""
        self._board.know(pending=False, asked=False, is_running=True)
        try:
            async with setup.server(token) as server:
                report = await self._sync(setup, server, setup.settings.choice, self._see)
                self._bundles = server.last_bundles
        except AyonAsyncError as error:  # before there was a run: a certificate's file that can't be read, say
            report = SyncReport(setup.settings.server, error=error)
        except BaseException:
            self._board.know(is_running=False, report=None)  # nobody knows now what is there
            raise
        self._note(report)
        return report

    async def compare_offline(self, setup: Setup) -> None:
        """Say what is there of the last good bundle, while the server is away."""
        with contextlib.suppress(AyonAsyncError):
            report = await self._sync(setup, setup.server(), setup.settings.choice, self._see, offline=True)
            self._board.show(bundle=report.bundle)

    async def fetch_ahead(self, setup: Setup, token: str | None) -> None:
        """Fetch what may be active next; failures are nobody's concern who uses the active bundle."""
        board, settings = self._board, setup.settings
        if self._bundles is None:
            return
        wanted = bundles_ahead(self._bundles, settings.choice, board.state.user, settings.prefetch)
        try:
            for ahead in wanted:
                if ahead.content in self._fetched:
                    continue
                board.show(prefetching=ahead.name)
                async with setup.server(token) as server:
                    report = await self._sync(
                        setup, server, ahead.choice, lambda now: board.know(ahead=now), active=False
                    )
                reasons = filter(None, (report.error, *(item.error for item in report.items)))
                for reason in reasons:
                    log.warning("The bundle %s can't be fetched ahead: %s", ahead.name, reason)
                if report.ok:
                    self._fetched.add(ahead.content)
                    log.info("The bundle %s is fetched ahead.", ahead.name)
        finally:
            board.know({"prefetching": None}, ahead=None)

    def pause(self, report: SyncReport, every: float) -> float:
        """Seconds until the next check after this one.

        Args:
            every: Seconds between two checks where nothing fails.
        """
        pause = every * random.uniform(0.9, 1.1)
        if report.ok:
            return pause
        patience = 1.0 if report.error is not None else _ITEMS_ARE_PATIENT
        return min(pause, patience * self._pace.pause(self._failures))

    async def _sync(
        self, setup: Setup, server: AyonServer, choice: BundleChoice, watcher: Callable[[Snapshot], None], **how: Any
    ) -> SyncReport:
        settings = setup.settings
        return await sync(
            server,
            setup.store,
            choice,
            platform=settings.platform,
            jobs=settings.jobs,
            effort=self.effort,
            progress=watcher,
            **how,
        )

    def _see(self, snapshot: Snapshot) -> None:
        if snapshot.items:  # until they are known, the last run's are shown
            self._board.know(snapshot=snapshot)

    def _note(self, report: SyncReport) -> None:
        """Show what came of a check, and tell what a person should be told."""
        now, shown = datetime.now().astimezone(), dict[str, Any]()
        if self._bundles is not None:
            mine = [bundle for bundle in self._bundles.bundles if bundle.active_user == self._board.state.user]
            shown["has_dev_bundle"] = any(bundle.is_dev and not bundle.is_archived for bundle in mine)
        if report.error is None:
            shown |= {"checked": now, "bundle": report.bundle}
        update = self._updated(report, now)
        if update is not None:
            shown["update"] = update
        self._failures = 0 if report.ok else self._failures + 1
        self._board.know(shown, report=report, is_running=False)
        if update is not None and self._on_update is not None:
            self._on_update(update)
        self._tell_failure(report)

    def _updated(self, report: SyncReport, now: datetime) -> Update | None:
        """What is updated now; an update is told when it is complete."""
        if report.bundle is None or report.offline:
            return None
        if self._before is None:
            self._before = in_place(report, "up_to_date")
        if not report.ok:
            return None
        update = update_of(report, self._before, now)
        self._before = in_place(report)
        return update

    def _tell_failure(self, report: SyncReport) -> None:
        if isinstance(report.error, (ServerError, NotSignedIn)):
            return  # the mood says so
        if self._board.facts.pending:
            return  # something changed meanwhile; the next check, which comes at once, knows better
        failed = frozenset((item.label, item.error.type) for item in report.items if item.error is not None)
        what = None if report.ok else (report.error and report.error.message, failed)
        if what is not None and what != self._told and self._on_failure is not None:
            self._on_failure(report)
        self._told = what
