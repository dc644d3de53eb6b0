"""What is missing; pure: no I/O, no awaiting. Every rule about skipping stands here."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from ayon_async.item import Item
from ayon_async.locate import NO_CLIENT, Job
from ayon_async.report import ItemReport
from ayon_async.resolve import Wanted
from ayon_async.store import Held


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided already and what has to be fetched.

    Attributes:
        outcomes: The reports of items that need nothing done.
        missing: The other ones.
    """

    outcomes: Mapping[Item, ItemReport]
    missing: tuple[Item, ...]


def make_plan(wanted: tuple[Wanted, ...], held: Mapping[Item, Held], clientless: Set[Item]) -> Plan:
    """Compare what is wanted with what is there.

    Args:
        held: What the store has.
        clientless: Addons that the server was seen to have no client part of.
    """
    outcomes = {}
    for entry in wanted:
        if entry.outcome is not None:
            outcomes[entry.item] = entry.outcome
        elif entry.item in held:
            outcomes[entry.item] = up_to_date(entry.item, held[entry.item])
        elif entry.item in clientless:
            outcomes[entry.item] = entry.item.skipped(NO_CLIENT)
    return Plan(outcomes, tuple(entry.item for entry in wanted if entry.item not in outcomes))


def up_to_date(item: Item, held: Held) -> ItemReport:
    """The report of an item that is on disk; what attests it is what its record says."""
    record = held.record
    return ItemReport(
        item.kind,
        item.name,
        item.version,
        "up_to_date",
        path=held.path,
        size=record.size,
        verified_by=record.verified_by,
        checksum=record.checksum or record.sha256,
        checksum_algorithm=record.checksum_algorithm if record.checksum else record.sha256 and "sha256",
        source=record.source,
    )


def largest_first(jobs: list[Job]) -> list[Job]:
    """The order in which to start: largest first, since the last large one decides when all is done; unknown last."""
    return sorted(jobs, key=lambda job: (job.archive.expected is None, -(job.archive.expected or 0)))
