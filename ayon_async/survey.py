"""The first half of the story: which bundle, what of it is missing, and where that may be had."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.errors import BundleError
from ayon_async.item import Item
from ayon_async.locate import NO_CLIENT, Details, Job, locate
from ayon_async.lockfile import Lock
from ayon_async.plan import Policy, is_of, locked_bundle, make_plan, pinned, without_archive
from ayon_async.progress import Ledger
from ayon_async.report import ItemReport, Remote
from ayon_async.resolve import (
    IN_DEVELOPMENT,
    Chosen,
    choose_bundle,
    merge_key,
    merge_project,
    project_bundle_name,
    wanted_items,
)
from ayon_async.server import AyonServer
from ayon_async.store import Held, Store
from ayon_async.threads import abandonable

_MOUNT_PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Merge:
    """What the server made of a project's bundle, to be remembered: see `resolve.merge_key`."""

    key: str
    versions: dict[str, str]


@dataclass(slots=True)
class Survey:
    """What was found; the outcomes that are clear already are in the ledger.

    Attributes:
        chosen: The bundle.
        held: Items that are on disk.
        jobs: What is missing and can be fetched.
        has_client: Addons whose details were looked at, and whether they have anything to install.
        merge: What the server made of a project's bundle, where it was asked.
        warnings: What a person should know.
        offline: Whether nobody asked the server.
    """

    chosen: Chosen
    held: dict[Item, Held]
    jobs: list[Job] = field(default_factory=list)
    has_client: dict[Item, bool] = field(default_factory=dict)
    merge: Merge | None = None
    warnings: list[str] = field(default_factory=list)
    offline: bool = False


async def look(server: AyonServer, store: Store, choice: BundleChoice, policy: Policy, ledger: Ledger) -> Survey:
    """Find out what is missing, and where it may be had; one request where nothing is.

    Raises:
        ServerError, AccessDenied, BundleError: The server gives no answer, does not let us, has no such bundle.
        StoreError: The store can't be used.
        UsageError: The lock file is for another platform.
    """
    await store.check()
    warnings: list[str] = []
    merge: Merge | None = None
    if policy.lock is None:
        chosen, merge = await _choose(server, store, choice)
        wanted = wanted_items(chosen.bundle, policy.platform)
    else:
        chosen, wanted = locked_bundle(policy.lock, policy.platform)
        warnings += await _mention_active(server, store, choice, policy.lock)
    ledger.begin(chosen.bundle.name, chosen.variant, [entry.item for entry in wanted])
    held = await usable(store, (entry.item for entry in wanted if entry.outcome is None), warnings)
    survey = Survey(chosen, held, warnings=warnings)
    survey.merge = merge
    details: Details | None = None
    remote: dict[Item, Remote] = {}
    if policy.refresh or policy.remote:
        details = await fetch_details(server, [entry.item for entry in wanted])
        from ayon_async.remote import compare  # only here: it needs what transfers need

        remote = await compare(server, survey.held, details, policy.platform)
    plan = make_plan(wanted, survey.held, await store.memory.clientless(server.url), policy, remote)
    if plan.missing:
        # The details are fetched anyway, so what was remembered is looked at anew.
        plan = make_plan(wanted, survey.held, frozenset(), policy, remote)
    await settle(plan.outcomes.values(), ledger, survey)
    if plan.missing:
        details = details or await fetch_details(server, plan.missing)
        located = [locate(item, details, server, policy.platform) for item in plan.missing]
        seen = await store.memory.seen(server.url, plan.missing)
        located = pinned(located, policy, {item: known.sha256 for item, known in seen.items()})
        outcomes = [outcome for outcome in located if isinstance(outcome, ItemReport)]
        await settle(outcomes, ledger, survey)
        clientless = {(outcome.name, outcome.version) for outcome in outcomes if outcome.reason == NO_CLIENT}
        addons = [item for item in plan.missing if item.kind == "addon"]
        survey.has_client = {item: (item.name, item.version) not in clientless for item in addons}
        survey.jobs = [job for job in located if isinstance(job, Job)]
        if not policy.refresh:
            survey.jobs = await _with_near(survey.jobs, store, warnings)
    return survey


async def usable(store: Store, items: Iterable[Item], warnings: list[str]) -> dict[Item, Held]:
    """What is on disk: in the store, and where that is allowed in those that it may look in."""
    items = list(items)
    held = await store.held(items)
    if store.in_place and len(held) < len(items):
        near, words = await store.nearby(item for item in items if item not in held)
        warnings += words
        return near | held
    return held


async def _with_near(jobs: list[Job], store: Store, warnings: list[str]) -> list[Job]:
    """The jobs with what other stores have of them."""
    if store.in_place:
        return jobs  # what they have is in use already
    near, words = await store.nearby([job.item for job in jobs])
    warnings += words
    return [
        replace(job, near=near[job.item]) if job.item in near and is_of(near[job.item].record, job) else job
        for job in jobs
    ]


async def _choose(server: AyonServer, store: Store, choice: BundleChoice) -> tuple[Chosen, Merge | None]:
    user = (await server.me()).name if choice.dev else None
    bundles = await server.bundles()
    chosen = choose_bundle(bundles, choice, user)
    own = model.ProjectBundles()
    if choice.project and not chosen.bundle.is_dev:  # which is never merged
        own = await server.project_bundles(choice.project)
    project = project_bundle_name(bundles, chosen, choice, own)
    if project is None:
        return chosen, None
    key, asked = merge_key(bundles, chosen, project), None
    versions = await store.memory.merged(server.url, key)
    if versions is None:
        versions = await server.project_addons(chosen.studio_bundle, project, chosen.variant)
        asked = Merge(key, versions)
    return merge_project(bundles, chosen, project, versions), asked


async def _mention_active(server: AyonServer, store: Store, choice: BundleChoice, lock: Lock) -> list[str]:
    """What a person should know of the server where a lock file decides."""
    words = []
    if lock.server != server.url:
        words.append(f"The lock file was made with {lock.server}, not with {server.url}.")
    try:
        active, _ = await _choose(server, store, choice)
    except BundleError as error:
        return [*words, f"{error.message} The lock file decides."]
    if active.bundle.name != lock.bundle:
        words.append(f"The server's bundle is '{active.bundle.name}'; the lock file's is '{lock.bundle}', and decides.")
    elif not lock.by_item.keys() <= {entry.item for entry in wanted_items(active.bundle, lock.platform)}:
        words.append(f"The bundle '{lock.bundle}' has other versions on the server; the lock file decides.")
    return words


async def fetch_details(server: AyonServer, missing: Iterable[Item]) -> Details:
    """What the server knows of the missing kinds of items; nothing is asked for kinds that are all there."""
    kinds = {item.kind for item in missing}
    async with asyncio.TaskGroup() as group:
        addons = group.create_task(server.addons()) if "addon" in kinds else None
        packages = group.create_task(server.dependency_packages()) if "dependency_package" in kinds else None
    return Details.of(addons.result() if addons else (), packages.result() if packages else ())


async def locate_installed(items: Sequence[Item], server: AyonServer, platform: str, ledger: Ledger) -> list[Job]:
    """Where the archives are of what is on disk; an item whose archive is gone has failed, which is in the ledger.

    Raises:
        ServerError, AccessDenied: The server gives no answer, or does not let us.
    """
    details = await fetch_details(server, items)
    jobs = []
    for item in items:
        located = locate(item, details, server, platform)
        if isinstance(located, Job):
            jobs.append(located)
        else:
            ledger[item].end(located if located.state == "failed" else without_archive(item))
    return jobs


async def settle(outcomes: Iterable[ItemReport], ledger: Ledger, survey: Survey) -> None:
    """Enter outcomes that need no work, and warn of developers' folders that are absent."""
    for outcome in outcomes:
        ledger[Item(outcome.kind, outcome.name, outcome.version)].end(outcome)
        if outcome.reason == IN_DEVELOPMENT and not await _is_there(outcome.path):
            where = outcome.path or "the folder that the bundle should name"
            survey.warnings.append(f"{outcome.label} is in development, but {where} is absent.")


async def _is_there(path: Path | None) -> bool:
    """Whether a developer's folder is there; one on a dead mount is not."""
    if path is None:
        return False
    with contextlib.suppress(TimeoutError, OSError):
        return await abandonable(path.exists, _MOUNT_PATIENCE)
    return False
