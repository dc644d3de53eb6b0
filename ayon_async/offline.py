"""What a store can do without its server: the last good bundle is kept, and the store is compared with that."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.errors import BundleError, ItemError, StoreError
from ayon_async.item import Item
from ayon_async.plan import Policy, locked_bundle, make_plan
from ayon_async.progress import Ledger
from ayon_async.report import ItemReport, SyncReport
from ayon_async.resolve import Chosen, Wanted
from ayon_async.store import Held, Store
from ayon_async.store.history import Entry, Key, State
from ayon_async.survey import Survey, settle, usable


class NotInstalled(ItemError):
    """An item is not on disk, and nobody asks the server for it."""


async def look_offline(url: str, store: Store, choice: BundleChoice, policy: Policy, ledger: Ledger) -> Survey:
    """Find out what is missing of the last good bundle, or of a lock file's, from the disk alone.

    Args:
        url: The server's, by which the bundle is known.

    Raises:
        BundleError: There was never a good sync of this choice.
        StoreError: The store can't be used.
        UsageError: The lock file is for another platform.
    """
    await store.check()
    warnings: list[str] = []
    if policy.lock is not None:
        chosen, wanted = locked_bundle(policy.lock, policy.platform)
    else:
        state = await store.memory.last_good(Key.of(url, choice, policy.platform))
        if state is None:
            hint = "Sync once with the server, or choose another bundle or store."
            raise BundleError(f"The store has no last good bundle of {url} for this choice.", hint)
        bundle = model.Bundle(name=state.bundle, is_dev=state.is_dev)
        chosen = Chosen(bundle, state.variant, state.studio_bundle)
        wanted = tuple(Wanted(entry.item, _outcome(entry)) for entry in state.items)
        warnings.append(f"'{state.bundle}' is the last good bundle, of {state.confirmed.astimezone():%Y-%m-%d %H:%M}.")
    ledger.begin(chosen.bundle.name, chosen.variant, [entry.item for entry in wanted])
    held = await usable(store, (entry.item for entry in wanted if entry.outcome is None), warnings)
    survey = Survey(chosen, held, warnings=warnings, offline=True)
    await settle(make_plan(wanted, held, frozenset(), policy).outcomes.values(), ledger, survey)
    return survey


def _outcome(entry: Entry) -> ItemReport | None:
    """What the bundle alone decided of an item then."""
    if not entry.reason:
        return None
    skipped = entry.item.skipped(entry.reason)
    return replace(skipped, path=Path(entry.path)) if entry.path else skipped


def fail_missing(ledger: Ledger) -> None:
    """End what is neither on disk nor otherwise settled: nobody will fetch it."""
    for line in ledger.snapshot().items:
        if line.report is None:
            message = f"{line.item.label} is not in the store, and without the server it can't be had."
            ledger[line.item].end(line.item.failed(NotInstalled(message, "Sync with the server.")))


def say_whether_it_can_start(report: SyncReport) -> SyncReport:
    """The report of a run whose server was away, with a sentence on what is possible all the same."""
    if report.can_start:
        sentence = f"The store has all of the bundle '{report.bundle}': AYON can be started without the server."
    else:
        missing = ", ".join(item.label for item in report.items if item.state in ("planned", "failed"))
        sentence = f"AYON can't be started: the store lacks of the bundle '{report.bundle}': {missing}."
    return replace(report, warnings=(*report.warnings, sentence))


async def remember_good(store: Store, choice: BundleChoice, policy: Policy, survey: Survey, ledger: Ledger) -> None:
    """Note the bundle as the last good one if every item of it is in place; a read-only store notes nothing."""
    snapshot = ledger.snapshot()
    reports = [line.report for line in snapshot.items]
    if snapshot.server is None or any(report is None or report.state == "failed" for report in reports):
        return
    now = datetime.now(UTC)
    state = State(
        bundle=survey.chosen.bundle.name,
        studio_bundle=survey.chosen.studio_bundle,
        variant=survey.chosen.variant,
        is_dev=survey.chosen.bundle.is_dev,
        items=tuple(_entry(report, survey.held) for report in reports if report is not None),
        since=now,
        confirmed=now,
    )
    key = Key.of(snapshot.server, choice, policy.platform, lock=policy.lock is not None)
    with contextlib.suppress(StoreError):
        await store.memory.remember_good(key, state)


def _entry(report: ItemReport, held: Mapping[Item, Held]) -> Entry:
    there = held.get(Item(report.kind, report.name, report.version))
    if there is None:
        path = str(report.path) if report.path else None
        return Entry(report.kind, report.name, report.version, reason=report.reason, path=path)
    return Entry(report.kind, report.name, report.version, there.record.sha256, there.record.size)
