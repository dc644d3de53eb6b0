"""The records of an item that is unpacked: what it is, where it came from, and what attests it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from ayon_async.disk_error import explain
from ayon_async.errors import RecordName
from ayon_async.flushing import Steps
from ayon_async.item import Item
from ayon_async.locate import Job
from ayon_async.report import Verification
from ayon_async.store import File, Record, Store
from ayon_async.store.record import RECORDS
from ayon_async.transfer import Fetched
from ayon_async.unpack import Unpacked
from ayon_async.unpack.errors import UnpackError, quote
from ayon_async.urls import redact


def sealing(
    store: Store,
    server: str,
    job: Job,
    fetched: Fetched,
    unpacked: Unpacked,
    staged: Path,
    begun: str,
    *,
    flushed: bool,
) -> Steps[None]:
    """Seal a staged folder, see `Store.sealing`.

    Args:
        server: URL of the AYON server that names the item.
        begun: When the work on the item began, as the launcher writes it.
        flushed: Whether what was unpacked is on the device already.

    Raises:
        RecordName: There is something that the records could not be written beside.
        StoreError: They can't be written.
    """
    try:
        _check_records(job.item, staged)
    except OSError as error:  # as where who took this run for dead cleared it away
        raise explain(error, staged) from error
    files = [File(member.path, member.size, member.crc32) for member in unpacked.members]
    record = _record(job, fetched, unpacked, server)
    yield from store.sealing(job.item, staged, record, files, begun, flushed=flushed)


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
