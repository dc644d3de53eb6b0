"""Making a lock file: the bundle is put in place, and the digest of every item's archive written down."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ayon_async.choice import BundleChoice
from ayon_async.effort import CONNECTIONS, Effort
from ayon_async.errors import InvalidItem
from ayon_async.install import installing
from ayon_async.item import Item
from ayon_async.lockfile import FORMAT, Lock, LockedItem
from ayon_async.plan import largest_first
from ayon_async.progress import Ledger, Watcher
from ayon_async.report import ItemReport, SyncReport
from ayon_async.resolve import IN_DEVELOPMENT
from ayon_async.server import AyonServer
from ayon_async.settings import this_platform
from ayon_async.store import Record, Store
from ayon_async.survey import locate_installed, usable
from ayon_async.syncing import sync


@dataclass(frozen=True, slots=True)
class Locking:
    """What came of it.

    Attributes:
        report: Of the run.
        lock: Every item of the bundle that has an archive, or None where the run failed.
    """

    report: SyncReport
    lock: Lock | None


async def make_lock(
    server: AyonServer,
    store: Store,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    platform: str | None = None,
    jobs: int = CONNECTIONS,
    rate: float | None = None,
    progress: Watcher | None = None,
) -> Locking:
    """Sync, and say which bytes the bundle is; the arguments are those of `sync`.

    What the official launcher installed, and nobody knows the digest of, is downloaded to learn it.
    """
    platform = platform or this_platform()
    report = await sync(server, store, choice, platform=platform, jobs=jobs, rate=rate, progress=progress)
    report = replace(report, items=tuple(map(_without_development, report.items)))
    if not report.ok:
        return Locking(report, None)
    wanted = [Item(i.kind, i.name, i.version) for i in report.items if i.state in ("installed", "up_to_date")]
    digests = await _known(server.url, store, wanted)
    unknown = [item for item in wanted if item not in digests]
    if unknown:
        learned = await _learn(unknown, server, store, platform, jobs, rate, progress)
        items = (learned.get(Item(i.kind, i.name, i.version), i) for i in report.items)
        report = replace(report, items=tuple(items))
        digests |= await _known(server.url, store, unknown)
    if not report.ok or report.bundle is None or report.studio_bundle is None or report.variant is None:
        return Locking(report, None)
    lock = Lock(
        format=FORMAT,
        server=server.url,
        bundle=report.bundle,
        studio_bundle=report.studio_bundle,
        variant=report.variant,
        is_dev=report.is_dev,
        platform=platform,
        created=datetime.now(UTC).replace(microsecond=0),
        items=tuple(LockedItem(item.kind, item.name, item.version, *digests[item]) for item in wanted),
    )
    return Locking(report, lock)


def _without_development(report: ItemReport) -> ItemReport:
    """A developer's folder has no archive whose bytes could be named: as a failed item."""
    if report.reason != IN_DEVELOPMENT:
        return report
    message = f"{report.label} is in development: what lies in the developer's folder can't be locked."
    return Item(report.kind, report.name, report.version).failed(InvalidItem(message, "Lock another bundle."))


async def _known(url: str, store: Store, items: list[Item]) -> dict[Item, tuple[str, int]]:
    """SHA-256 and size of the archives that this server gave, as far as anybody here knows."""
    held, seen = await usable(store, items, []), await store.memory.seen(url, items)
    known = {}
    for item in items:
        record = held[item].record if item in held else Record()
        if record.server == url and record.sha256 is not None and record.size is not None:
            known[item] = record.sha256, record.size
        elif item in seen:
            known[item] = seen[item].sha256, seen[item].size
    return known


async def _learn(
    items: list[Item],
    server: AyonServer,
    store: Store,
    platform: str,
    jobs: int,
    rate: float | None,
    progress: Watcher | None,
) -> dict[Item, ItemReport]:
    """Download the items' archives, verify them and remember their digests; what is installed stays as it is."""
    ledger = Ledger(progress, server.url)
    ledger.begin(None, None, items)
    work = largest_first(await locate_installed(items, server, platform, ledger))
    async with (
        installing(server, store, ledger, work, jobs=jobs, effort=Effort(rate)) as installer,
        asyncio.TaskGroup() as group,
    ):
        for job in work:
            group.create_task(installer.learn(job))
    return {line.item: line.report for line in ledger.finish().items if line.report is not None}
