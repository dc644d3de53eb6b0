"""Reinstalling what is damaged, and nothing else: the old folder gives way only when the new one is complete."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from ayon_async.effort import CONNECTIONS, Effort
from ayon_async.errors import StoreError
from ayon_async.install import installing
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.plan import Policy, largest_first, pinned
from ayon_async.progress import Ledger, Watcher
from ayon_async.report import SyncReport
from ayon_async.room import learn_sizes, with_room
from ayon_async.server import AyonServer
from ayon_async.settings import this_platform
from ayon_async.store import Store
from ayon_async.store.verify import Checked
from ayon_async.story import tell
from ayon_async.survey import locate_installed


async def repair(
    server: AyonServer,
    store: Store,
    checked: Iterable[Checked],
    *,
    jobs: int = CONNECTIONS,
    rate: float | None = None,
    progress: Watcher | None = None,
) -> SyncReport:
    """Install anew, from the same archives, what was found damaged.

    Args:
        server: Who has the archives; inside its ``async with`` block.
        store: Where the items are.
        checked: What `Store.verify` found; what is not damaged is left alone.
        jobs: How many connections to use at the most.
        rate: How many bytes to receive a second at the most; None for no limit.
        progress: Told how far it is, as by `sync`.

    Returns:
        What became of each damaged item; of no bundle.
    """
    damaged = {found.item: found for found in checked if found.state == "damaged"}
    ledger = Ledger(progress, server.url)
    ledger.begin(None, None, damaged)

    async def story() -> None:
        await store.check()
        await store.replace_waiting()
        seen = {item: known.sha256 for item, known in (await store.memory.seen(server.url, damaged)).items()}
        recorded = {item: found.sha256 for item, found in damaged.items() if found.sha256 is not None}
        located = await locate_installed(list(damaged), server, this_platform(), ledger)
        work = []
        for outcome in pinned(located, Policy(this_platform()), seen | recorded):
            if isinstance(outcome, Job):
                work.append(outcome)
            else:
                ledger[Item(outcome.kind, outcome.name, outcome.version)].end(outcome)
        work = await with_room(largest_first(await learn_sizes(work, server, ledger, jobs)), store, ledger)
        held = await store.held(damaged)
        async with (
            installing(server, store, ledger, work, jobs=jobs, effort=Effort(rate)) as installer,
            asyncio.TaskGroup() as group,
        ):
            for job in work:
                group.create_task(installer.install(job, held.get(job.item), damaged=True))
        with contextlib.suppress(StoreError):  # the next sync sweeps too
            await store.sweep(frozenset(item.folder for item in damaged))

    return await tell(story, ledger)
