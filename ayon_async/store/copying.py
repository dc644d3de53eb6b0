"""Copy an item from another store, checking every file against the inventory that was made when it was unpacked."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ayon_async import fs
from ayon_async.deflate import crc32
from ayon_async.disk_error import explain
from ayon_async.errors import StoreError
from ayon_async.limits import Limits
from ayon_async.store.record import File, Inventory
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.folder import Folder
from ayon_async.unpack.links import Links
from ayon_async.unpack.names import Names
from ayon_async.unpack.source import Meter

_READ = 1 << 20
_CACHE = "__pycache__"


def copy_item(
    source: Path,
    inventory: Inventory,
    staged: Path,
    *,
    name: str,
    limits: Limits,
    group_writable: bool = False,
    on_progress: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Copy what the inventory names into a new folder; blocks, so call it in a thread.

    Nothing of the other store is trusted: names are checked as an archive's are, and the bytes of the copy by their
    CRCs. Files become files of their own, never second names of the others. When anything is raised, the new folder
    is gone.

    Args:
        source: The item's folder in the other store.
        inventory: What is in it.
        staged: The new folder.
        name: What to call the item in messages.
        limits: What is refused as too much.
        group_writable: Whether files and folders are writable for their group.
        on_progress: Called in this thread with the share that is done, from 0 to 1.
        stop: Set it in another thread to end the work soon.

    Raises:
        StoreError: A file is not what was unpacked, can't be read, or can't be written.
        UnpackError: The inventory has names that no archive may have.
        Stopped: `stop` was set.
    """
    total = sum(file.size for file in inventory.files)
    budget, meter, names = Budget(name, total, limits), Meter(total, on_progress, stop), Names(name, limits)
    try:
        folder, done = Folder(name, staged, group_writable=group_writable), 0
        for path in _folders(Path(fs.long_path(source))):
            folder.make(names.add_folder(f"{path}/"))
        for file in inventory.files:
            budget.count_members()
            _copy(source, file, names.add_file(file.path), folder, meter)
            done += file.size
            meter.at(done)
        links = Links(name, budget, meter)
        for path, target in inventory.links:
            links.add(names.add_file(path), target)
        links.make(folder)
        fs.flush_tree(staged, meter.check)
    except BaseException as error:
        with contextlib.suppress(OSError):  # what failed first is the story; leftovers in staging are swept later
            fs.remove_tree(staged)
        if isinstance(error, OSError):
            raise explain(error, staged) from error
        raise
    meter.finish()


def _folders(source: Path) -> Iterator[str]:
    """The folders below a folder, by their relative paths; an inventory does not name empty ones."""
    for top, folders, _ in os.walk(source):
        folders[:] = sorted(one for one in folders if one != _CACHE and not Path(top, one).is_symlink())
        yield from (Path(top, one).relative_to(source).as_posix() for one in folders)


def _copy(source: Path, file: File, path: str, folder: Folder, meter: Meter) -> None:
    original = source / path
    try:
        fd = fs.open_to_read(original)
    except OSError as error:
        raise StoreError(f"{original} can't be read: {error.strerror}.", "Verify that store.") from error
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_size != file.size:
            raise _changed(original)
        copy = folder.create(path, executable=bool(state.st_mode & 0o111))
        try:
            fs.copy(fd, copy, meter.check)
        finally:
            os.close(copy)
    finally:
        os.close(fd)
    if _crc(folder.root / path, meter) != file.crc32:
        raise _changed(original)


def _crc(path: Path, meter: Meter) -> int:
    crc, fd = 0, fs.open_to_read(path)
    try:
        while data := os.read(fd, _READ):
            meter.check()
            crc = crc32(data, crc)
    finally:
        os.close(fd)
    return crc


def _changed(path: Path) -> StoreError:
    return StoreError(f"{path} is not what was once unpacked.", "Verify that store, and repair it.")
