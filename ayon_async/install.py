"""The second half of the story, for one item: archive, staged folder, folder; see `store.staging` too."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from ayon_async import fs, priority
from ayon_async.acquire import acquired, is_small, part_of
from ayon_async.ahead import Ahead
from ayon_async.batches import Batches, call_each
from ayon_async.disk_error import explain
from ayon_async.effort import UNPACKING, Effort
from ayon_async.errors import AccessDenied, ArchiveError, AyonAsyncError, ItemError, StoreError
from ayon_async.fault import fault_of
from ayon_async.flushing import Steps, run
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.plan import up_to_date
from ayon_async.progress import Entry, Ledger, Phase
from ayon_async.sealing import timestamp
from ayon_async.server import AyonServer
from ayon_async.small import MOST, Small, SmallUnpacker
from ayon_async.store import Found, Held, Progress, Record, Store, now
from ayon_async.store.copying import copy_item
from ayon_async.store.lease import Lease
from ayon_async.store.record import Inventory, read_inventory
from ayon_async.survey import usable
from ayon_async.threads import Lane, in_thread
from ayon_async.transfer import Arrival, Fetched, Transfers, remove_part
from ayon_async.unpack import Unpacked
from ayon_async.unpack.workers import Workers
from ayon_async.unpacking import Unpacker, teller
from ayon_async.urls import redact

T = TypeVar("T")
_AT_ONCE = 40
"""Items that are worked on at once: more than connections and threads keep busy, also while some wait for others. Each
has three or four open files, and macOS gives a program with windows 256."""
_LANE = 6
"""Threads for short work on files, where they wait for the disk."""
_WORTH_PROCESSES = 64 << 20
"""Bytes of a run's archives that are worth starting processes for: that costs as much as unpacking 10 MB."""


@asynccontextmanager
async def installing(
    server: AyonServer,
    store: Store,
    ledger: Ledger,
    work: Collection[Job],
    *,
    jobs: int,
    effort: Effort,
    refresh: bool = False,
) -> AsyncIterator[Installer]:
    """An installer with all that it works with.

    Args:
        work: What is to be done.
        jobs: How many connections to use at the most.
        effort: How much of the machine and the line it takes.
        refresh: See `Installer`.
    """
    size = sum(job.archive.expected or 0 for job in work)
    away = [job.archive for job in work if job.near is None and job.archive.sources[0].kind != "filesystem"]
    prepare = priority.lower if effort.background else None
    with (
        Workers(UNPACKING, background=effort.background) if size >= _WORTH_PROCESSES else nullcontext() as workers,
        ThreadPoolExecutor(UNPACKING, "unpack", prepare) as unpackers,
        ThreadPoolExecutor(1, "ahead", prepare) as early,
        Lane(_LANE, "small", prepare) as lane,
    ):
        async with Transfers(
            server, jobs=jobs, rate=effort.rate, retries=server.retries, prepare=prepare,
            sizes=[archive.expected or 0 for archive in away],
        ) as transfers:  # fmt: skip
            turns = asyncio.Semaphore(_AT_ONCE)
            if workers is not None:
                unpackers.submit(workers.start, effort.unpacking)
            with effort.throttling(transfers.limit):
                unpacker = Unpacker(server.url, store, workers, unpackers, early, effort)
                parts = {job.item: part_of(job, store) for job in work}
                small = Counter(parts[job.item] for job in work if is_small(job))
                yield Installer(
                    server=server.url,
                    store=store,
                    transfers=transfers,
                    unpacker=unpacker,
                    small=SmallUnpacker(server.url, store, lane),
                    leases=Batches(call_each, lane, MOST),
                    turns=turns,
                    preparing=asyncio.Lock(),
                    effort=effort,
                    ledger=ledger,
                    parts=parts,
                    on_disk={part for part, count in small.items() if count > 1},
                    refresh=refresh,
                )


@dataclass(frozen=True, slots=True)
class Installer:
    """Puts items in place, many at once.

    Attributes:
        server: URL of the AYON server that names them.
        store: Where they go.
        transfers: Who brings their archives.
        unpacker: Who fills staged folders.
        small: Who fills them from small archives.
        leases: Who takes, and gives back, the leases of the items that these are of.
        turns: Who may hold an item's lease: thousands at once would need as many open files.
        preparing: Who may make the store's folders: one does it for all.
        effort: How much of the machine it takes.
        ledger: Who is told.
        parts: Where the archives' bytes are collected.
        on_disk: Parts of small archives that are or will be on disk: those that an earlier run left, as far as the
            leases of their items are held, and those that several items have, so that who waits need not fetch it.
        refresh: Whether an archive is right although another one was seen first under the same version.
    """

    server: str
    store: Store
    transfers: Transfers
    unpacker: Unpacker
    small: SmallUnpacker
    leases: Batches[Callable[[], Lease | None], Lease | None]
    turns: asyncio.Semaphore
    preparing: asyncio.Lock
    effort: Effort
    ledger: Ledger
    parts: Mapping[Item, Path]
    on_disk: set[Path]
    refresh: bool = False

    async def install(self, job: Job, replaces: Held | None = None, *, damaged: bool = False) -> Held | None:
        """Fetch the item and put it in place, unless somebody else just did; the outcome is in the ledger.

        Args:
            replaces: What is on disk and has to give way.
            damaged: Whether that has to give way even to the same archive.

        Returns:
            The item on disk, or None where it failed.
        """
        item, entry = job.item, self.ledger[job.item]
        try:
            async with self.turns:
                await self._prepare(item)
                while True:
                    looks: list[Found | Progress] = []
                    async with self._lease(job, lambda _: looks.append(self._look(job))) as lease:  # noqa: B023 - at once
                        try:
                            found = await self.store.settled(item, looks[0])
                            return await self._install(job, entry, lease, found, replaces, damaged=damaged)
                        except Exception:
                            # Who was stopped for long may find that others took over, and its own work cleared away.
                            if not await in_thread(lease.is_lost):
                                raise
        except Exception as error:
            failure = _failure_of(item, error)
            held = (await self.store.held([item])).get(item)
            if held is None or not _is_right(held, job, replaces):
                entry.end(replace(item.failed(failure), bytes_downloaded=entry.received, seconds=entry.seconds))
            else:
                entry.end(up_to_date(item, held))
            return held

    async def learn(self, job: Job) -> None:
        """Fetch the item's archive only to remember its verified digest; the outcome is in the ledger."""
        item, entry = job.item, self.ledger[job.item]
        try:
            await self._prepare(item)
            async with self.turns, self._lease(job):
                remember = functools.partial(self._remember_only, job)
                await self._fetch_and_unpack(job, entry, None, remember, fresh=True)
            held = (await usable(self.store, [item], [])).get(item)
            if held is None:
                raise StoreError(f"{item.label} was removed while it was looked at.", "Sync again.")
            entry.end(replace(up_to_date(item, held), bytes_downloaded=entry.received, seconds=entry.seconds))
        except Exception as error:
            failure = _failure_of(item, error)
            entry.end(replace(item.failed(failure), bytes_downloaded=entry.received, seconds=entry.seconds))

    def _look(self, job: Job) -> Found | Progress:
        """What there is of the item, in a thread; also whether an earlier run left some of a small archive."""
        part = self.parts[job.item]
        if is_small(job) and part.exists():
            self.on_disk.add(part)
        return self.store.look(job.item)

    async def _prepare(self, item: Item) -> None:
        async with self.preparing:
            await self.store.prepare(item.kind)

    def _lease(self, job: Job, first: Callable[[Lease], None] | None = None) -> AbstractAsyncContextManager[Lease]:
        entry = self.ledger[job.item]
        return self.store.lease(
            job.item.kind,
            job.item.folder,
            lambda: entry.set(phase=Phase.WAITING),
            first,
            self.leases.do if is_small(job) else in_thread,
        )

    async def _install(
        self, job: Job, entry: Entry, lease: Lease, found: Found, replaces: Held | None, *, damaged: bool
    ) -> Held:
        item, (held, leftover) = job.item, found
        if held is not None and _is_right(held, job, replaces):
            entry.end(up_to_date(item, held))
            return held
        staged = None if leftover is None else await self._left_complete(job, held, *leftover)
        if staged is None and job.near is not None:
            staged = await self._copy(job, job.near, entry)
        place = functools.partial(self._place, job, lease, held.path if held else None)
        if staged is not None:
            done: Held | None = await _finish(place, staged, entry)
        else:
            known = None if damaged else held
            done = await self._fetch_and_unpack(job, entry, known, place, fresh=held is None)
        now_there = done or held
        assert now_there is not None, "only what is on disk can be of the same archive"
        report = up_to_date(item, now_there)
        state = report.state if done is None else "installed"
        entry.end(replace(report, state=state, bytes_downloaded=entry.received, seconds=entry.seconds))
        return now_there

    async def _left_complete(self, job: Job, held: Held | None, staged: Path, record: Record) -> Path | None:
        """The staged folder that a killed run had only to rename, if it is from the archive that is wanted now."""
        checksum = job.archive.checksum
        if job.pin is not None:
            same = record.sha256 == job.pin.sha256
        elif held is not None or self.refresh:
            same = False  # what is wanted is what the server has now
        elif checksum is not None:
            same = (record.checksum_algorithm, record.checksum) == (checksum.algorithm, checksum.digest)
        else:
            same = record.source in {redact(source.location) for source in job.archive.sources}
        if not same:
            await self.store.discard(staged)
            return None
        await in_thread(remove_part, self.parts[job.item])
        return staged

    async def _copy(self, job: Job, near: Held, entry: Entry) -> Path | None:
        """A complete staged folder, copied from another store; None where that is not what its record says."""
        item, begun = job.item, now()
        staged, stop, told = self.store.staging(item), threading.Event(), teller(entry)
        store = near.path.parent.parent
        entry.set(source=str(store))
        entry.have(job.archive.expected or 0)

        def work() -> Inventory:
            inventory = read_inventory(near.path)
            if inventory is None:
                raise StoreError(f"The record in {near.path} is gone.", "Verify that store.")
            copy_item(
                near.path,
                inventory,
                staged,
                name=item.label,
                limits=self.store.limits,
                group_writable=self.store.group_writable,
                on_progress=told,
                stop=stop,
            )
            return inventory

        try:
            async with self.effort.unpacking_turn():
                entry.set(phase=Phase.UNPACKING)
                inventory = await in_thread(work, executor=self.unpacker.threads, stop=stop)
        except (ItemError, ValueError) as error:
            entry.set(reason=str(error), unpacked=0.0)
            entry.have(0)
            return None
        record = msgspec.structs.replace(near.record, source=str(store), installed=timestamp())
        sealed = self.store.sealing(item, staged, record, inventory.files, begun, flushed=True)
        await in_thread(run, sealed)
        return staged

    def _remember(self, job: Job, staged: Path) -> Record:
        """Remember the archive's digest, which is only now told: before, a killed run's part goes by another name."""
        anew = self.refresh or (job.pin is not None and job.pin.by == "lock")
        return self.store.memory.remember_archive_of(staged, self.server, job.item, anew=anew)

    def _remember_only(self, job: Job, staged: Path, _: threading.Event) -> Steps[None]:
        root = self.store.root(job.item.kind)
        try:
            self._remember(job, staged)
        except OSError as error:
            raise explain(error, root.path) from error
        with contextlib.suppress(OSError):  # a later run sweeps it
            fs.remove_tree(staged)
        yield from ()

    def _place(self, job: Job, lease: Lease, replaces: Path | None, staged: Path, stop: threading.Event) -> Steps[Held]:
        remember = functools.partial(self._remember, job)
        return self.store.committing(job.item, staged, lease, remember, stop, replaces)

    async def _fetch_and_unpack(
        self,
        job: Job,
        entry: Entry,
        held: Held | None,
        finish: Callable[[Path, threading.Event], Steps[T]],
        *,
        fresh: bool,
    ) -> T | None:
        """Fill a staged folder of the item and finish it; the archive is gone when this returns.

        Args:
            held: What is on disk already.
            finish: What is to be done with the sealed folder, in a thread.
            fresh: Whether nothing that may be in use has to give way for it.

        Returns:
            What `finish` returned; None where the archive is the one that `held` was unpacked from.
        """
        item, begun, pieced = job.item, now(), False
        staged, told = self.store.staging(item), teller(entry)

        def work(arrival: Arrival, stop: threading.Event) -> Unpacked:
            return self.unpacker.unpack_file(item, arrival.file, staged, told, stop, arrival)

        async with Ahead(work, functools.partial(self.store.discard, staged), self.unpacker.early) as ahead:
            on_arrival = ahead.begin if held is None and self.effort.is_full else None
            try:
                async with self._acquired(job, entry, on_arrival=on_arrival) as fetched:
                    pieced = fetched.pieced
                    if held is not None and fetched.sha256.digest == held.record.sha256:
                        validator = fetched.validator
                        await self.store.confirm_source(
                            held, validator.etag if validator else None, validator.modified if validator else None
                        )
                        return None
                    _check_pin(job, fetched)
                    if fetched.part.in_memory:
                        at_once = finish if fresh else None
                        done = await self.small.stage(Small(job, entry, fetched, staged, begun, at_once))
                        if done:
                            return done[0]
                    else:
                        await self.unpacker.stage(job, fetched, staged, begun, entry, ahead)
            except ArchiveError as error:
                if not pieced:
                    raise
                # No checksum told whether the pieces fit; the archive itself now says that they do not.
                entry.set(reason=error.message, unpacked=0.0)
                entry.have(0)
                async with self._acquired(job, entry, whole=True) as fetched:
                    _check_pin(job, fetched)
                    await self.unpacker.stage(job, fetched, staged, begun, entry, ahead)
        # A part goes before its item is in place: who is killed between the two leaves none behind.
        return await _finish(finish, staged, entry)

    def _acquired(
        self,
        job: Job,
        entry: Entry,
        *,
        whole: bool = False,
        on_arrival: Callable[[Arrival], None] | None = None,
    ) -> AbstractAsyncContextManager[Fetched]:
        part = self.parts[job.item]
        in_memory = is_small(job) and part not in self.on_disk
        return acquired(
            job, part, self.transfers, self.store, entry, in_memory=in_memory, whole=whole, on_arrival=on_arrival
        )


def _check_pin(job: Job, fetched: Fetched) -> None:
    """Refuse an archive that is not the one that is meant.

    Raises:
        ItemError: Its digest is another one.
    """
    if job.pin is not None and fetched.sha256.digest != job.pin.sha256:
        raise job.pin.mismatch(f"What {redact(fetched.source.location)} gave", fetched.sha256.digest)


async def _finish(finish: Callable[[Path, threading.Event], Steps[T]], staged: Path, entry: Entry) -> T:
    """Do in a thread what is to be done with a sealed folder."""
    stop = threading.Event()
    entry.set(phase=Phase.COMMITTING)
    return await in_thread(lambda: run(finish(staged, stop)), stop=stop)


def _failure_of(item: Item, error: Exception) -> AyonAsyncError:
    """What to say of an item whose work ended like this: even a fault of ours must not cost the others.

    Raises:
        Exception: The error itself, where it concerns the others as well.
    """
    if isinstance(error, ItemError | AccessDenied):
        return error
    if isinstance(error, AyonAsyncError):
        raise error
    return fault_of(error, item.label)


def _is_right(held: Held, job: Job, replaces: Held | None) -> bool:
    """Whether what is on disk is what is wanted: not what has to give way, and not other bytes than a lock's."""
    other_bytes = job.pin is not None and job.pin.by == "lock" and job.pin.sha256 != held.record.sha256
    return held != replaces and not other_bytes
