"""From an archive that is here and verified to a sealed staged folder, in a thread, a process or ahead of its end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from ayon_async import fs
from ayon_async.ahead import Ahead
from ayon_async.effort import Effort
from ayon_async.errors import RecordName
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.progress import Entry, Phase
from ayon_async.report import Verification
from ayon_async.store import File, Record, Store
from ayon_async.store.record import RECORDS
from ayon_async.threads import in_thread
from ayon_async.transfer import Arrival, Fetched
from ayon_async.unpack import Unpacked, unpack
from ayon_async.unpack.errors import UnpackError, quote
from ayon_async.unpack.workers import Workers
from ayon_async.urls import redact

P = ParamSpec("P")
T = TypeVar("T")
_WORTH_A_PROCESS = 256 << 10
"""Bytes of an archive that goes to one: a smaller one is unpacked before it is told of."""


@dataclass(frozen=True, slots=True)
class Unpacker:
    """Fills staged folders.

    Attributes:
        server: URL of the AYON server that names the items.
        store: Where they go.
        workers: Processes for what is large; None where it is not worth starting them.
        threads: Apart from those that write: neither waits for the other.
        lane: Threads for what is small.
        early: The thread for what is unpacked while it arrives, which waits most of the time.
        effort: How much of the machine it takes.
    """

    server: str
    store: Store
    workers: Workers | None
    threads: Executor
    lane: Executor
    early: Executor
    effort: Effort

    async def stage(
        self,
        job: Job,
        fetched: Fetched,
        staged: Path,
        begun: str,
        entry: Entry,
        ahead: Ahead,
        finish: Callable[[Path, threading.Event], T] | None,
    ) -> T | None:
        """Fill a staged folder and seal it, with the effort's leave; where that fails it is gone.

        Args:
            begun: When the work on the item began, as the launcher writes it.
            ahead: What may have unpacked it already.
            finish: Called with the sealed folder in the thread that sealed it: to go to another one costs more.

        Returns:
            What `finish` returned.

        Raises:
            ItemError: The archive is refused, or the folder can't be written.
        """
        if job.pin is not None and fetched.sha256.digest != job.pin.sha256:
            raise job.pin.mismatch(f"What {redact(fetched.source.location)} gave", fetched.sha256.digest)
        entry.set(phase=Phase.UNPACKING)
        told, stop, sealed = teller(entry), threading.Event(), False

        def seal_and_finish(unpacked: Unpacked) -> T | None:
            nonlocal sealed
            try:
                _check_records(job.item, staged)
            except OSError as error:  # as where who took this run for dead cleared it away
                raise fs.explain(error, staged) from error
            files = [File(member.path, member.size, member.crc32) for member in unpacked.members]
            self.store.seal(job.item, staged, _record(job, fetched, unpacked, self.server), files, begun)
            sealed = True
            return finish(staged, stop) if finish is not None else None

        def work() -> T | None:
            return seal_and_finish(self._unpack(job.item, fetched, staged, told, stop))

        try:
            unpacked = await ahead.take()
            if unpacked is not None:
                return await in_thread(seal_and_finish, unpacked, stop=stop)
            entry.set(phase=Phase.QUEUED)
            async with self.effort.unpacking_turn():
                entry.set(phase=Phase.UNPACKING)
                threads = self.lane if fetched.part.in_memory else self.threads
                return await in_thread(work, executor=threads, stop=stop)
        except BaseException:
            if not sealed:  # also where it was ended between the two: without its records it is worth nothing
                await self.store.discard(staged)
            raise

    def unpack_file(
        self,
        item: Item,
        archive: BinaryIO,
        staged: Path,
        told: Callable[[float], None],
        stop: threading.Event,
        arrival: Arrival | None = None,
    ) -> Unpacked:
        """Fill a staged folder in this thread, and one more where no other archive wants it; see `unpack`.

        Args:
            told: Called with the share that is done.
        """
        return unpack(
            archive,
            staged,
            name=item.label,
            limits=self.store.limits,
            on_progress=told,
            stop=stop,
            group_writable=self.store.group_writable,
            helpers=self._helpers,
            arrival=arrival,
        )

    @property
    def _helpers(self) -> _Spare | None:
        return _Spare(self.threads, self.effort) if self.effort.is_full else None

    def _unpack(
        self, item: Item, fetched: Fetched, staged: Path, told: Callable[[float], None], stop: threading.Event
    ) -> Unpacked:
        if self.workers is None or fetched.part.in_memory or fetched.size < _WORTH_A_PROCESS:
            return self.unpack_file(item, fetched.part.file, staged, told, stop)
        return self.workers.unpack(
            fetched.part.file,
            fetched.part.path,
            staged,
            name=item.label,
            limits=self.store.limits,
            on_progress=told,
            stop=stop,
            group_writable=self.store.group_writable,
            helpers=self._helpers,
        )


@dataclass(frozen=True, slots=True)
class _Spare:
    """Threads that begin to help only where no other archive wants them: a process reads the whole directory for it."""

    threads: Executor
    effort: Effort

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
        if not self.effort.has_spare:
            return None
        try:
            return self.threads.submit(fn, *args, **kwargs)
        except RuntimeError:  # the system has no more threads: what is begun goes on without help
            return None


def teller(entry: Entry) -> Callable[[float], None]:
    """What a thread calls to tell which share is unpacked; of no interest while the archive still arrives."""
    tell = asyncio.get_running_loop().call_soon_threadsafe

    def note(share: float) -> None:
        if entry.phase is Phase.UNPACKING:
            entry.set(unpacked=share)

    def told(share: float) -> None:
        tell(note, share)

    return told


def timestamp() -> str:
    """The time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record(job: Job, fetched: Fetched, unpacked: Unpacked, server: str) -> Record:
    item, source, validator = job.item, fetched.source, fetched.validator
    attested = source.checksum if source.pin is None else None
    verified: list[Verification] = ["checksum"] if attested else []
    if job.pin is not None:
        verified.append(job.pin.by)
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
        checksum=attested.digest if attested else None,
        checksum_algorithm=attested.algorithm if attested else None,
        verified_by=tuple(verified),
        installed=timestamp(),
        etag=validator.etag if validator else None,
        modified=validator.modified if validator else None,
        links=tuple((link.path, link.target) for link in unpacked.links),
    )


def _check_records(item: Item, staged: Path) -> None:
    """Refuse what the item's records could not be written beside.

    A file of just a record's name gives way to it; some file systems take one for it that only looks like it.

    Raises:
        RecordName: There is such a thing.
        OSError: The folder can't be read.
    """
    with os.scandir(staged) as entries:
        for entry in entries:
            name = entry.name
            if name.lower() in RECORDS and (name not in RECORDS or entry.is_dir(follow_symlinks=False)):
                message = f"{item.label}: {quote(name)} has the name of a record of what is installed."
                raise RecordName(message, UnpackError.advice)
