"""The marker: a store's format, and by which protocol its leases are held; written once, by whoever makes the store.

The protocol is the store's, not each process's own finding: two hosts that believe different things of one file system
would both think that they hold the lease.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Literal

import msgspec

from ayon_async import fs
from ayon_async.errors import StoreError

FORMAT = 1
Protocol = Literal["flock", "counter"]


class Marker(msgspec.Struct, frozen=True):
    """``store.json``.

    Attributes:
        format: Of the store; changes only add.
        lowest_writer: The lowest format that a program must know to write here.
        locks: How leases are held: by the operating system, or by counters that others watch.
    """

    format: int = FORMAT
    lowest_writer: int = FORMAT
    locks: Protocol = "flock"


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_DECODER = msgspec.json.Decoder(Marker)


def agree(path: Path) -> Marker:
    """The store's marker, made where there is none.

    Raises:
        StoreError: The store is written by a newer program, or its marker is damaged.
        OSError: It can't be written.
    """
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    marker = Marker(locks="flock" if _has_flock(path.parent) else "counter")
    try:
        fs.write_first(path, msgspec.json.encode(marker))
    except FileExistsError:
        return _read(path)
    return marker


def _read(path: Path) -> Marker:
    hint = "Update ayon-async, or choose another folder with --storage-dir."
    try:
        marker = _DECODER.decode(fs.read_small(path))
    except msgspec.DecodeError as error:
        raise StoreError(f"The store's marker {path} can't be read: {error}", hint) from error
    if marker.lowest_writer > FORMAT:
        raise StoreError(f"The store of {path} belongs to a newer ayon-async (format {marker.format}).", hint)
    return marker


def _has_flock(folder: Path) -> bool:
    """Whether the operating system locks files there; some network file systems refuse."""
    if sys.platform == "win32":
        return True
    import fcntl

    probe = fs.temporary_name(folder / "flock")
    fd = fs.open_new(probe, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
        fs.remove(probe)
    return True
