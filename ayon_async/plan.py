"""What is missing; pure: no I/O, no awaiting. Every rule about skipping stands here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

from ayon_async import model
from ayon_async.errors import ChecksumMismatch, InvalidItem, UsageError
from ayon_async.item import Item
from ayon_async.locate import NO_CLIENT, Job, Pin
from ayon_async.lockfile import Lock
from ayon_async.report import ItemReport, Remote
from ayon_async.resolve import Chosen, Wanted
from ayon_async.store import Held, Record


@dataclass(frozen=True, slots=True)
class Policy:
    """How a run differs from a plain one.

    Attributes:
        platform: Whose dependency package.
        lock: Decides what is wanted, and which bytes, in place of the server.
        refresh: Take what may have changed on the server under the same version, and accept that it did.
        remote: Only ask what may have changed.
    """

    platform: str
    lock: Lock | None = None
    refresh: bool = False
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is decided already and what has to be fetched.

    Attributes:
        outcomes: The reports of items that need nothing done.
        missing: The other ones; those among them that are on disk are to be replaced.
    """

    outcomes: Mapping[Item, ItemReport]
    missing: tuple[Item, ...]


def make_plan(
    wanted: tuple[Wanted, ...],
    held: Mapping[Item, Held],
    clientless: Set[Item],
    policy: Policy,
    remote: Mapping[Item, Remote] = MappingProxyType({}),
) -> Plan:
    """Compare what is wanted with what is there.

    Args:
        held: What the store has.
        clientless: Addons that the server was seen to have no client part of.
        remote: Whether the server's archives of what the store has may have changed, where that was asked.
    """
    right = _right(held, policy, remote)
    outcomes = {}
    for entry in wanted:
        if entry.outcome is not None:
            outcomes[entry.item] = entry.outcome
        elif entry.item in right:
            outcomes[entry.item] = replace(up_to_date(entry.item, right[entry.item]), remote=remote.get(entry.item))
        elif entry.item in clientless and policy.lock is None:
            outcomes[entry.item] = entry.item.skipped(NO_CLIENT)
    return Plan(outcomes, tuple(entry.item for entry in wanted if entry.item not in outcomes))


def _right(held: Mapping[Item, Held], policy: Policy, remote: Mapping[Item, Remote]) -> Mapping[Item, Held]:
    """What the store has and is what is wanted; a lock file knows only the bytes that it names."""
    if policy.lock is not None:
        locked = policy.lock.by_item
        return {item: there for item, there in held.items() if there.record.sha256 == locked[item].sha256}
    if policy.refresh:
        return {item: there for item, there in held.items() if remote.get(item) == "same"}
    return held


def locked_bundle(lock: Lock, platform: str) -> tuple[Chosen, tuple[Wanted, ...]]:
    """What a lock file makes of the bundle.

    Raises:
        UsageError: It is for another platform.
    """
    if lock.platform != platform:
        hint = f"Make one with 'ayon-async lock --platform {platform}'."
        raise UsageError(f"The lock file is for {lock.platform}, not for {platform}.", hint)
    bundle = model.Bundle(name=lock.bundle, is_dev=lock.is_dev)
    return Chosen(bundle, lock.variant, lock.studio_bundle), tuple(Wanted(entry.item) for entry in lock.items)


def without_archive(item: Item) -> ItemReport:
    """The report of an item that once had an archive, and has none on the server any more."""
    message = f"The server has nothing to install for {item.label} any more."
    return item.failed(InvalidItem(message, "Upload it to the server again."))


def pinned(located: Iterable[Job | ItemReport], policy: Policy, seen: Mapping[Item, str]) -> list[Job | ItemReport]:
    """The jobs for just the bytes that the lock file names or, without one, that were seen first.

    Args:
        seen: The SHA-256 that archives had when they were first seen.
    """
    locked = policy.lock.by_item if policy.lock else {}

    def pin(job: Job | ItemReport) -> Job | ItemReport:
        if isinstance(job, ItemReport):
            if policy.lock is None or job.state == "failed":
                return job
            return without_archive(Item(job.kind, job.name, job.version))
        try:
            if job.item in locked:
                entry = locked[job.item]
                sized = replace(job, archive=replace(job.archive, size=entry.size))
                return sized.pinned(Pin(entry.sha256, "lock"))
            if job.item in seen and not policy.refresh:
                return job.pinned(Pin(seen[job.item], "recorded"))
        except ChecksumMismatch as error:
            return job.item.failed(error)
        return job

    return [pin(job) for job in located]


def is_of(record: Record, job: Job) -> bool:
    """Whether what has this record was unpacked from the archive that the job means, as far as anybody can tell."""
    wanted = job.archive.checksum
    if record.sha256 is None or (job.pin is not None and job.pin.sha256 != record.sha256):
        return False
    known = {"sha256": record.sha256, record.checksum_algorithm: record.checksum}
    return wanted is None or known.get(wanted.algorithm) == wanted.digest


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
