"""The second half of the story, for one item: archive, staged folder, folder; see `store.staging` too."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ayon_async.acquire import acquired, part_of
from ayon_async.errors import AccessDenied, ArchiveError, ItemError
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.plan import up_to_date
from ayon_async.progress import Entry, Ledger, Phase
from ayon_async.report import Verification
from ayon_async.store import File, Held, Record, Store, now
from ayon_async.threads import in_thread
from ayon_async.transfer import Fetched, Transfers, remove_part
from ayon_async.unpack import Unpacked, unpack
from ayon_async.urls import redact


@dataclass(frozen=True, slots=True)
class Installer:
    """Puts items in place, many at once.

    Attributes:
        server: URL of the AYON server that names them.
        store: Where they go.
        transfers: Who brings their archives.
        unpackers: Threads for unpacking, apart from those that write: neither waits for the other.
        ledger: Who is told.
    """

    server: str
    store: Store
    transfers: Transfers
    unpackers: Executor
    ledger: Ledger

    async def install(self, job: Job) -> Held | None:
        """Fetch the item and put it in place, unless somebody else just did; the outcome is in the ledger.

        Returns:
            The item on disk, or None where it failed.
        """
        item, entry = job.item, self.ledger[job.item]
        try:
            await self.store.prepare(item.kind)
            async with self.store.lease(item.kind, item.folder, lambda: entry.set(phase=Phase.WAITING)):
                return await self._install(job, entry)
        except (ItemError, AccessDenied) as error:
            # Who was stopped for long may find that others took over, and its own work cleared away.
            held = (await self.store.held([item])).get(item)
            if held is None:
                entry.end(replace(item.failed(error), bytes_downloaded=entry.received, seconds=entry.seconds))
            else:
                entry.end(up_to_date(item, held))
            return held

    async def _install(self, job: Job, entry: Entry) -> Held:
        item = job.item
        await self.store.settled(item)
        held = (await self.store.held([item])).get(item)
        if held is not None:
            entry.end(up_to_date(item, held))
            return held
        staged = await self._left_complete(job) or await self._fetch_and_unpack(job, entry)
        entry.set(phase=Phase.COMMITTING)
        held = await self.store.commit(item, staged)
        report = up_to_date(item, held)
        entry.end(replace(report, state="installed", bytes_downloaded=entry.received, seconds=entry.seconds))
        return held

    async def _left_complete(self, job: Job) -> Path | None:
        """A staged folder that a killed run had only to rename, if it is from the archive that is wanted now."""
        leftover = await self.store.leftover(job.item)
        if leftover is None:
            return None
        staged, record = leftover
        checksum = job.archive.checksum
        if checksum is not None:
            same = (record.checksum_algorithm, record.checksum) == (checksum.algorithm, checksum.digest)
        else:
            same = record.source in {redact(source.location) for source in job.archive.sources}
        if not same:
            await self.store.discard(staged)
            return None
        await in_thread(remove_part, part_of(job, self.store))
        return staged

    async def _fetch_and_unpack(self, job: Job, entry: Entry) -> Path:
        """A complete staged folder of the item; the archive is gone when this returns."""
        begun, pieced = now(), False
        try:
            async with acquired(job, self.transfers, self.store, entry) as fetched:
                pieced = fetched.pieced
                return await self._unpack(job.item, fetched, begun, entry)
        except ArchiveError as error:
            if not pieced:
                raise
            # No checksum told whether the pieces fit; the archive itself now says that they do not.
            entry.set(reason=error.message, unpacked=0.0)
            entry.have(0)
        async with acquired(job, self.transfers, self.store, entry, whole=True) as fetched:
            return await self._unpack(job.item, fetched, begun, entry)

    async def _unpack(self, item: Item, fetched: Fetched, begun: str, entry: Entry) -> Path:
        staged, stop = self.store.staging(item), threading.Event()
        tell = asyncio.get_running_loop().call_soon_threadsafe
        entry.set(phase=Phase.UNPACKING)

        def told(share: float) -> None:
            tell(lambda: entry.set(unpacked=share))

        def work() -> Unpacked:
            return unpack(
                fetched.file,
                staged,
                name=item.label,
                on_progress=told,
                stop=stop,
                group_writable=self.store.group_writable,
            )

        unpacked = await in_thread(work, executor=self.unpackers, stop=stop)
        files = [File(member.path, member.size, member.crc32) for member in unpacked.members]
        await self.store.seal(item, staged, _record(item, fetched, unpacked, self.server), files, begun)
        return staged


def _record(item: Item, fetched: Fetched, unpacked: Unpacked, server: str) -> Record:
    source, validator = fetched.source, fetched.validator
    verified: list[Verification] = ["checksum"] if source.checksum else []
    if unpacked.content_checked:
        verified.append("archive")
    return Record(
        name=item.name,
        version=item.version,
        server=server,
        source=redact(source.location),
        source_info=dict(source.info),
        size=fetched.size,
        sha256=fetched.sha256.digest,
        checksum=source.checksum.digest if source.checksum else None,
        checksum_algorithm=source.checksum.algorithm if source.checksum else None,
        verified_by=tuple(verified),
        installed=datetime.now(UTC).isoformat(timespec="seconds"),
        etag=validator.etag if validator else None,
        modified=validator.modified if validator else None,
        links=tuple((link.path, link.target) for link in unpacked.links),
    )
