"""The whole program, told once: make a machine's addons equal to what the studio's AYON server says they should be.

Ask the server which **bundle** is active, **resolve** it into the items that this machine needs, **plan** what is
missing, **acquire** many archives at once, hashing as the bytes arrive, **unpack** each beside its destination and
**commit** it by one rename, telling whoever listens how far it is. One failing item never stops the others.
"""

from __future__ import annotations

import asyncio
import contextlib

from ayon_async.choice import BundleChoice
from ayon_async.effort import CONNECTIONS, Effort
from ayon_async.errors import StoreError, UsageError
from ayon_async.item import Item
from ayon_async.lockfile import Lock
from ayon_async.offline import fail_missing, look_offline, remember_good
from ayon_async.plan import Policy, largest_first
from ayon_async.progress import Ledger, Watcher
from ayon_async.report import SyncReport
from ayon_async.server import AyonServer
from ayon_async.settings import this_platform
from ayon_async.store import Held, Store
from ayon_async.story import tell
from ayon_async.survey import Survey, look


async def sync(
    server: AyonServer,
    store: Store,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    platform: str | None = None,
    jobs: int = CONNECTIONS,
    rate: float | None = None,
    dry_run: bool = False,
    refresh: bool = False,
    lock: Lock | None = None,
    offline: bool = False,
    active: bool = True,
    effort: Effort | None = None,
    progress: Watcher | None = None,
) -> SyncReport:
    """Install what is missing of the chosen bundle.

    Where the server is away, the report carries that as its error, and its items say what is in place of the last
    good bundle.

    Args:
        server: Who says what should be installed; inside its ``async with`` block, unless `offline`.
        store: Where it should be.
        choice: Which bundle; production where nothing is chosen.
        platform: Whose dependency package: `windows`, `linux` or `darwin`; this machine's where None.
        jobs: How many connections to use at the most.
        rate: How many bytes to receive a second at the most, all connections together; None for no limit.
        dry_run: Only find out what is missing and how large it is.
        refresh: Fetch anew what may have changed on the server under the same version, and accept that it did.
        lock: Decides what is installed, and exactly which bytes, in place of the server's bundle.
        offline: Ask no server: only compare the store with the last good bundle, or with the lock.
        active: Whether the bundle is used from now on. One that is only fetched ahead becomes neither the last good
            one nor part of the history.
        effort: How much of the machine and the line to take, in place of `rate`; may be changed meanwhile.
        progress: Told how far it is, at most ten times a second, and at the end also when this is cancelled.

    Returns:
        What became of every item; a run that could not be finished carries its error there and raises nothing, see
        `SyncReport.raise_for_error`.
    """
    ledger = Ledger(progress, server.url)
    policy = Policy(platform or this_platform(), lock, refresh=refresh)

    async def without_server() -> Survey:
        return await look_offline(server.url, store, choice, policy, ledger)

    async def supply(survey: Survey) -> dict[Item, Held]:
        # Imported where something is missing: most runs find everything in place, and are over the sooner.
        from ayon_async.install import installing
        from ayon_async.room import learn_sizes, with_room

        missing = largest_first(await learn_sizes(survey.jobs, server, ledger, jobs, patiently=dry_run))
        if dry_run:
            return {}
        missing = await with_room(missing, store, ledger)
        taken = effort or Effort(rate)
        async with (
            installing(server, store, ledger, missing, jobs=jobs, effort=taken, refresh=refresh) as installer,
            asyncio.TaskGroup() as group,
        ):
            tasks = {job.item: group.create_task(installer.install(job, survey.held.get(job.item))) for job in missing}
        return {item: held for item, task in tasks.items() if (held := task.result())}

    async def story() -> Survey:
        if refresh and (offline or lock is not None):
            raise UsageError(f"There is nothing to refresh {'offline' if offline else 'where a lock file decides'}.")
        if offline:
            survey = await without_server()
            fail_missing(ledger)
            return survey
        waiting = () if dry_run else await store.replace_waiting()
        survey = await look(server, store, choice, policy, ledger)
        survey.warnings += waiting
        if survey.jobs:
            survey.held |= await supply(survey)
        if dry_run:
            return survey
        await _tidy_up(server.url, store, survey)
        if active:
            await remember_good(store, choice, policy, survey, ledger)
        return survey

    return await tell(story, ledger, without_server)


async def status(
    server: AyonServer,
    store: Store,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    platform: str | None = None,
    remote: bool = False,
    lock: Lock | None = None,
    offline: bool = False,
) -> SyncReport:
    """Compare the store with the chosen bundle and change nothing; what is missing is `planned`.

    Args:
        remote: Also ask whether archives may have changed on the server under the same version.
        lock: Decides what should be there, and exactly which bytes, in place of the server's bundle.
        offline: Ask no server: compare with the last good bundle, or with the lock.
    """
    ledger = Ledger(None, server.url)
    policy = Policy(platform or this_platform(), lock, remote=remote)

    async def story() -> Survey:
        if remote and offline:
            raise UsageError("Whether something changed on the server can't be asked offline.")
        if offline:
            return await look_offline(server.url, store, choice, policy, ledger)
        return await look(server, store, choice, policy, ledger)

    return await tell(story, ledger)


async def _tidy_up(server: str, store: Store, survey: Survey) -> None:
    if not await store.is_writable():
        return  # whoever may write there does it
    with contextlib.suppress(StoreError):  # a read-only store asks again next time
        await store.memory.remember_clientless(server, survey.has_client)
        if survey.merge is not None:
            await store.memory.remember_merged(server, survey.merge.key, survey.merge.versions)
    try:
        await store.update_lists(survey.held)
        # What could not be put in place is complete, perhaps: the next run has only to rename it.
        keep = {job.item.folder for job in survey.jobs if job.item not in survey.held}
        await store.sweep(keep, done={item.folder for item in survey.held} - keep)
    except StoreError as error:
        survey.warnings.append(error.message)
