"""The records inside an item's folder: the launcher's ``dist_progress.json`` and our ``.ayon-async.json``.

Both are written before the rename that makes the folder visible, so a folder that is there tells the truth about
itself. What the launcher installed has only the first one.
"""

from __future__ import annotations

import functools
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from ayon_async import fs
from ayon_async.flushing import Flush, Steps
from ayon_async.report import Verification

PROGRESS_FILE = "dist_progress.json"
RECORD_FILE = ".ayon-async.json"
RECORDS = frozenset({PROGRESS_FILE, RECORD_FILE})
FORMAT = 1


class Progress(msgspec.Struct, frozen=True):
    """``dist_progress.json`` as the official launcher 1.6 writes and reads it; times are local."""

    state: str
    progress_id: str = ""
    checksum: str | None = None
    checksum_algorithm: str | None = None
    dist_started: str | None = None
    dist_finished: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What we know of an installed item, all but its inventory.

    Attributes:
        format: Of the record; readers accept newer ones, since changes only add.
        name: The addon's name, or the package's file name; a folder's name alone does not tell where it ends.
        version: The addon's version; None for a dependency package.
        server: URL of the AYON server that named it.
        source: URL (secrets redacted) or path that served it.
        source_info: How the server described that source, for ``addons.json``.
        size: Bytes of the archive.
        sha256: Of the archive, as received.
        checksum: What the server attested, or None.
        checksum_algorithm: Of `checksum`.
        verified_by: What attests the bytes.
        installed: When, in UTC, ISO 8601.
        etag: Strong entity tag that its source gave, or None.
        modified: ``Last-Modified`` that its source gave, or None.
        links: Symbolic links of the inventory: path and target each.
    """

    format: int = FORMAT
    name: str | None = None
    version: str | None = None
    server: str | None = None
    source: str | None = None
    source_info: dict[str, Any] | None = None
    size: int | None = None
    sha256: str | None = None
    checksum: str | None = None
    checksum_algorithm: str | None = None
    verified_by: tuple[Verification, ...] = ()
    installed: str | None = None
    etag: str | None = None
    modified: str | None = None
    links: tuple[tuple[str, str], ...] = ()


class File(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of the inventory: path with ``/``, bytes, CRC-32."""

    path: str
    size: int
    crc32: int


class Inventory(Record, frozen=True, kw_only=True):
    """The record as it is kept, with every regular file that was unpacked."""

    files: list[File] = []


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_RECORD, _INVENTORY = msgspec.json.Decoder(Record), msgspec.json.Decoder(Inventory)


def now() -> str:
    """The time as the launcher writes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def read_progress(folder: Path) -> Progress | None:
    """The folder's ``dist_progress.json``, or None where there is none.

    Who wrote it may have known other fields, or damaged it: what is no text is left out, the state too.
    """
    try:
        content = msgspec.json.decode(fs.read(folder / PROGRESS_FILE))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError, RecursionError):
        return Progress("")
    fields = content if isinstance(content, dict) else {}
    texts = {name: value for name in Progress.__struct_fields__ if isinstance(value := fields.get(name), str)}
    return Progress(**{"state": "", **texts})


def read_record(folder: Path) -> Record:
    """Our record without the inventory; an empty one where the launcher installed the folder."""
    try:
        return _RECORD.decode(fs.read(folder / RECORD_FILE))
    except (OSError, msgspec.DecodeError, RecursionError):
        return Record()


def read_inventory(folder: Path) -> Inventory | None:
    """Our record with the inventory, or None where the launcher installed the folder.

    Raises:
        ValueError: There is a record, and it is damaged.
    """
    try:
        return _INVENTORY.decode(fs.read(folder / RECORD_FILE))
    except FileNotFoundError:
        return None
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_validator(folder: Path, etag: str | None, modified: str | None) -> None:
    """Note in the record of a folder that is in its place that its archive now has this validator.

    Raises:
        ValueError: The record is damaged.
        OSError: It can't be written.
    """
    kept = read_inventory(folder)
    if kept is not None:
        changed = msgspec.structs.replace(kept, etag=etag, modified=modified)
        fs.write_atomic(folder / RECORD_FILE, msgspec.json.encode(changed))


def write_records(folder: Path, record: Record, files: list[File], started: str, mode: int = 0o644) -> None:
    """Write both records into a staged folder and put them on the device, the launcher's last.

    Args:
        folder: The staged folder, whose files are on the device.
        record: What is known of the item.
        files: Its inventory.
        started: When the work on the item began, as `now` writes it.
        mode: Permission bits of the records.

    Raises:
        OSError: They can't be written.
    """
    _write_record(folder, record, files, mode, flushed=True)
    _write_progress(folder, record, started, mode, flushed=True)
    fs.flush_folder(folder)


def recording(folder: Path, where: Path, record: Record, files: list[File], started: str, mode: int) -> Steps[None]:
    """Do the same where nothing in the folder is on the device yet.

    Args:
        where: A folder of the file system that it is on.
    """
    flush = Flush(where, functools.partial(fs.flush_files, folder), is_tree=True)
    _write_record(folder, record, files, mode, flushed=False)
    yield flush
    _write_progress(folder, record, started, mode, flushed=False)
    yield flush


def _write_record(folder: Path, record: Record, files: list[File], mode: int, *, flushed: bool) -> None:
    # An archive may hold something of a record's name; ours counts.
    given = {file.path for file in files}.union(path for path, _ in record.links)
    for name in RECORDS & given:
        fs.remove(folder / name)
    files = [file for file in files if file.path not in RECORDS]
    links = tuple((path, target) for path, target in record.links if path not in RECORDS)
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    kept = Inventory(**{**fields, "links": links}, files=files)
    fs.write_new(folder / RECORD_FILE, msgspec.json.encode(kept), mode, flushed=flushed)


def _write_progress(folder: Path, record: Record, started: str, mode: int, *, flushed: bool) -> None:
    progress = Progress("done", uuid.uuid4().hex, record.checksum, record.checksum_algorithm, started, now())
    fs.write_new(folder / PROGRESS_FILE, msgspec.json.encode(progress), mode, flushed=flushed)
