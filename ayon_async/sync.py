"""The whole program, told once: make a machine's addons equal to what the studio's AYON server says they should be.

Ask the server which **bundle** is active, **resolve** it into the items that this machine needs, **plan** what is
missing, **acquire** many archives at once, hashing as the bytes arrive, **unpack** each beside its destination and
**commit** it by one rename, telling whoever listens how far it is. One failing item never stops the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ayon_async import model
from ayon_async.acquire import acquired
from ayon_async.choice import BundleChoice
from ayon_async.errors import AccessDenied, ArchiveError, AyonAsyncError, ItemError, StoreError
from ayon_async.item import Item
from ayon_async.locate import NO_CLIENT, Details, Job, locate
from ayon_async.plan import largest_first, make_plan, up_to_date
from ayon_async.progress import Entry, Ledger, Phase, Watcher, report_of
from ayon_async.report import ItemReport, SyncReport, Verification
from ayon_async.resolve import IN_DEVELOPMENT, Chosen, choose_bundle, merge_project, project_bundle_name, wanted_items
from ayon_async.server import AyonServer
from ayon_async.settings import this_platform
from ayon_async.store import File, Held, Record, Store, now
from ayon_async.threads import in_thread
from ayon_async.transfer import Fetched, Transfers, probe
from ayon_async.transfer.pacing import DEFAULT_MOST
from ayon_async.unpack import Unpacked, unpack
from ayon_async.urls import redact

_UNPACKING_THREADS = 2
_PROBES = 16


async def sync(
    server: AyonServer,
    store: Store,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    platform: str | None = None,
    jobs: int = DEFAULT_MOST,
    rate: float | None = None,
    dry_run: bool = False,
    progress: Watcher | None = None,
) -> SyncReport:
    """Install what is missing of the chosen bundle.

    Args:
        server: Who says what should be installed; inside its ``async with`` block.
        store: Where it should be.
        choice: Which bundle; production where nothing is chosen.
        platform: Whose dependency package: `windows`, `linux` or `darwin`; this machine's where None.
        jobs: How many connections to use at the most.
        rate: How many bytes to receive a second at the most, all connections together; None for no limit.
        dry_run: Only find out what is missing and how large it is.
        progress: Told how far it is, at most ten times a second, and at the end also when this is cancelled.

    Returns:
        What became of every item; a run that could not be finished carries its error there and raises nothing, see
        `SyncReport.raise_for_error`.
    """
    run = _Run(server, store, choice, platform or this_platform(), Ledger(progress, server.url))
    return await run.report(run.sync(jobs, rate, dry_run=dry_run))


async def status(
    server: AyonServer,
    store: Store,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    platform: str | None = None,
) -> SyncReport:
    """Compare the store with the chosen bundle and change nothing; what is missing is `planned`."""
    run = _Run(server, store, choice, platform or this_platform(), Ledger(None, server.url))
    return await run.report(run.survey())


class _Run:
    """One run: what it works with, and its steps in their order."""

    def __init__(self, server: AyonServer, store: Store, choice: BundleChoice, platform: str, ledger: Ledger) -> None:
        self._server = server
        self._store = store
        self._choice = choice
        self._platform = platform
        self._ledger = ledger
        self._started = time.monotonic()
        self._warnings: list[str] = []
        self._held: dict[Item, Held] = {}
        self._chosen: Chosen | None = None

    async def report(self, work: Coroutine[Any, Any, object]) -> SyncReport:
        """Do the work and say what came of it."""
        error: AyonAsyncError | None = None
        try:
            await work
        except AyonAsyncError as failure:
            error = failure
        except BaseExceptionGroup as group:
            error = _first(group)
        finally:
            snapshot = self._ledger.finish()
        report = report_of(snapshot, time.monotonic() - self._started, error)
        # Who is refused in mid-run is told so by the run, not only by the items that it hit.
        refused = next((item.error for item in report.items if isinstance(item.error, AccessDenied)), None)
        report = replace(report, warnings=tuple(self._warnings), error=error or refused)
        if self._chosen is None:
            return report
        return replace(report, studio_bundle=self._chosen.studio_bundle, is_dev=self._chosen.bundle.is_dev)

    # --- the story --------------------------------------------------------------------------------------------------

    async def sync(self, jobs: int, rate: float | None, *, dry_run: bool) -> None:
        """Put in place what is missing."""
        work = await self._sized(await self.survey())
        if dry_run:
            return
        with ThreadPoolExecutor(_UNPACKING_THREADS, "unpack") as unpackers:
            async with (
                Transfers(self._server, jobs=jobs, rate=rate, retries=self._server.retries) as transfers,
                asyncio.TaskGroup() as group,
            ):
                for job in largest_first(work):
                    group.create_task(self._install(job, transfers, unpackers))
        await self._update_lists()

    async def survey(self) -> list[Job]:
        """Find out what is missing, and where it may be had."""
        self._chosen = chosen = await self._choose()
        wanted = wanted_items(chosen.bundle, self._platform)
        items = [entry.item for entry in wanted]
        self._ledger.begin(chosen.bundle.name, chosen.variant, items)
        self._held = await self._store.held(entry.item for entry in wanted if entry.outcome is None)
        clientless = await self._store.clientless(self._server.url)
        plan = make_plan(wanted, self._held, clientless)
        if not plan.missing:
            self._settle(plan.outcomes.values())
            return []
        # The details are fetched anyway, so what was remembered is looked at anew.
        plan = make_plan(wanted, self._held, frozenset())
        self._settle(plan.outcomes.values())
        details = await self._details(plan.missing)
        located = [locate(item, details, self._server, self._platform) for item in plan.missing]
        self._settle(outcome for outcome in located if isinstance(outcome, ItemReport))
        await self._remember_clientless(located)
        return [job for job in located if isinstance(job, Job)]

    async def _choose(self) -> Chosen:
        choice = self._choice
        user = (await self._server.me()).name if choice.dev else None
        bundles = await self._server.bundles()
        chosen = choose_bundle(bundles, choice, user)
        own = await self._server.project_bundles(choice.project) if choice.project else model.ProjectBundles()
        project = project_bundle_name(bundles, chosen, choice, own)
        if project is None:
            return chosen
        versions = await self._server.project_addons(chosen.studio_bundle, project, chosen.variant)
        return merge_project(bundles, chosen, project, versions)

    async def _details(self, missing: tuple[Item, ...]) -> Details:
        """What the server knows of the missing kinds of items; nothing is asked for kinds that are all there."""
        kinds = {item.kind for item in missing}
        async with asyncio.TaskGroup() as group:
            addons = group.create_task(self._server.addons()) if "addon" in kinds else None
            packages = group.create_task(self._server.dependency_packages()) if "dependency_package" in kinds else None
        return Details.of(addons.result() if addons else (), packages.result() if packages else ())

    async def _sized(self, jobs: list[Job]) -> list[Job]:
        """The jobs with the sizes that the server did not give, where its archives' own answers give them."""
        gate = asyncio.Semaphore(_PROBES)

        async def learn(job: Job) -> Job:
            size = job.archive.size
            if size is None:
                async with gate:
                    size = await probe(job.archive.sources[0], self._server)
            if size is not None:
                self._ledger[job.item].set(size=size)
            return replace(job, archive=replace(job.archive, size=size))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(learn(job)) for job in jobs]
        return [task.result() for task in tasks]

    # --- one item ---------------------------------------------------------------------------------------------------

    async def _install(self, job: Job, transfers: Transfers, unpackers: ThreadPoolExecutor) -> None:
        item, entry = job.item, self._ledger[job.item]
        try:
            await self._store.prepare(item.kind)
            async with self._store.lease(item.kind, item.folder, lambda: entry.set(phase=Phase.WAITING)):
                held = (await self._store.held([item])).get(item)
                if held is None:
                    entry.end(await self._fetch_and_install(job, transfers, unpackers, entry))
                else:  # another process was faster
                    self._held[item] = held
                    entry.end(up_to_date(item, held))
        except (ItemError, AccessDenied) as error:
            entry.end(replace(item.failed(error), bytes_downloaded=entry.received, seconds=entry.seconds))

    async def _fetch_and_install(
        self, job: Job, transfers: Transfers, unpackers: ThreadPoolExecutor, entry: Entry
    ) -> ItemReport:
        begun, pieced = now(), False
        try:
            async with acquired(job, transfers, self._store, entry) as fetched:
                pieced = fetched.pieced
                return await self._put_in_place(job.item, fetched, begun, entry, unpackers)
        except ArchiveError as error:
            if not pieced:
                raise
            # No checksum told whether the pieces fit; the archive itself now says that they do not.
            entry.set(reason=error.message, unpacked=0.0)
            entry.have(0)
        async with acquired(job, transfers, self._store, entry, whole=True) as fetched:
            return await self._put_in_place(job.item, fetched, begun, entry, unpackers)

    async def _put_in_place(
        self, item: Item, fetched: Fetched, begun: str, entry: Entry, unpackers: ThreadPoolExecutor
    ) -> ItemReport:
        staged, stop = self._store.staging(item), threading.Event()
        tell = asyncio.get_running_loop().call_soon_threadsafe
        entry.set(phase=Phase.UNPACKING)

        def told(share: float) -> None:
            tell(lambda: entry.set(unpacked=share))

        def work() -> Unpacked:
            return unpack(fetched.file, staged, name=item.label, on_progress=told, stop=stop)

        unpacked = await in_thread(work, executor=unpackers, stop=stop)
        entry.set(phase=Phase.COMMITTING)
        record = _record(fetched, unpacked, self._server.url)
        files = [File(member.path, member.size, member.crc32) for member in unpacked.members]
        held = await self._store.commit(item, staged, record, files, begun)
        self._held[item] = held
        return replace(
            up_to_date(item, held), state="installed", bytes_downloaded=entry.received, seconds=entry.seconds
        )

    # --- what is noted beside it ------------------------------------------------------------------------------------

    def _settle(self, outcomes: Iterable[ItemReport]) -> None:
        for outcome in outcomes:
            item = Item(outcome.kind, outcome.name, outcome.version)
            self._ledger[item].end(outcome)
            if outcome.reason == IN_DEVELOPMENT and (outcome.path is None or not outcome.path.exists()):
                where = outcome.path or "the folder that the bundle should name"
                self._warnings.append(f"{item.label} is in development, but {where} is absent.")

    async def _remember_clientless(self, located: Iterable[Job | ItemReport]) -> None:
        items = [
            Item(outcome.kind, outcome.name, outcome.version)
            for outcome in located
            if isinstance(outcome, ItemReport) and outcome.reason == NO_CLIENT
        ]
        if items:
            with contextlib.suppress(StoreError):  # a read-only store asks again next time
                await self._store.remember_clientless(self._server.url, items)

    async def _update_lists(self) -> None:
        try:
            await self._store.update_lists(self._held)
        except StoreError as error:
            self._warnings.append(error.message)


def _first(group: BaseExceptionGroup[BaseException]) -> AyonAsyncError:
    """The first of our own errors in a group of tasks; the group itself is raised where there are others in it."""
    ours, others = group.split(AyonAsyncError)
    if ours is None or others is not None:
        raise group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, AyonAsyncError)
    return first


def _record(fetched: Fetched, unpacked: Unpacked, server: str) -> Record:
    source = fetched.source
    verified: list[Verification] = ["checksum"] if source.checksum else []
    if unpacked.content_checked:
        verified.append("archive")
    return Record(
        server=server,
        source=redact(source.location),
        source_info=dict(source.info),
        size=fetched.size,
        sha256=fetched.sha256.digest,
        checksum=source.checksum.digest if source.checksum else None,
        checksum_algorithm=source.checksum.algorithm if source.checksum else None,
        verified_by=tuple(verified),
        installed=datetime.now(UTC).isoformat(timespec="seconds"),
    )
