"""From a staged folder to an item's own, by one rename; and what a run that was killed left behind.

A staged folder is named after its item, and only who holds the item's lease touches it. The record that says `done` is
the last thing that is put on the device before the rename, so a staged folder that has it is complete, and the next
run renames it instead of fetching the archive again. What was set aside is never taken for such a folder.

A complete folder gives way to another one only where somebody asked for exactly that. Where the system refuses because
files in it are open (Windows), the new one waits in ``pending`` for the next start.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import uuid
from pathlib import Path

from ayon_async import fs
from ayon_async.errors import StoreError
from ayon_async.item import Item
from ayon_async.store.layout import Root
from ayon_async.store.record import Record, read_progress, read_record

BLOCKED_SECONDS = 30.0
_POLL = 0.25
_ASIDE = "old-"


class InUse(StoreError):
    """A folder can't be replaced now, since a program has files in it open; the new one waits for the next start."""


def new(root: Root, item: Item) -> Path:
    """A new private place to unpack the item into, on the same file system as its folder."""
    return root.staging / f"{item.folder}.{uuid.uuid4().hex}"


def _new_aside(root: Root, folder: str) -> Path:
    return root.staging / f"{folder}.{_ASIDE}{uuid.uuid4().hex}"


def clear(root: Root, item: Item) -> tuple[Path, Record] | None:
    """Remove what earlier runs left of the item, all but a complete folder, which is returned.

    Call it while holding the item's lease.
    """
    complete = None
    for path in _staged(root, item.folder):
        if complete is None and _is_complete(path):
            complete = path, read_record(path)
        else:
            fs.remove_tree(path)
    return complete


def completed(root: Root) -> set[str]:
    """The folder names of items of which `clear` would return a complete folder."""
    return {path.name.rpartition(".")[0] for path in staged(root) if _is_complete(path)}


def _staged(root: Root, folder: str) -> list[Path]:
    """What is staged for the folder of this name."""
    try:
        with os.scandir(root.staging) as entries:  # a path for each would cost the more, the more is worked on
            names = [entry.name for entry in entries]
    except OSError:  # no store yet, or another user's
        return []
    return sorted(root.staging / name for name in names if name.rpartition(".")[0] == folder)


def _is_complete(staged: Path) -> bool:
    return not staged.suffix.startswith(f".{_ASIDE}") and is_done(staged)


def staged(root: Root) -> list[Path]:
    """Everything that is staged."""
    try:
        return sorted(root.staging.iterdir())
    except OSError:  # no store yet, or another user's
        return []


def names(root: Root) -> set[str]:
    """The folder names of items of which something is staged."""
    return {path.name.rpartition(".")[0] for path in staged(root)}


def remove(root: Root, name: str) -> None:
    """Remove everything that is staged for the folder of this name; call it while holding its lease."""
    for path in _staged(root, name):
        fs.remove_tree(path)


def is_done(folder: Path) -> bool:
    """Whether the folder says of itself that it is complete."""
    progress = read_progress(folder)
    return progress is not None and progress.state == "done"


def put_in_place(root: Root, item: Item, staged: Path, stop: threading.Event, replaces: Path | None = None) -> None:
    """Rename the staged folder to the item's own; one that is there and not complete is set aside and then removed.

    The caller flushes the folder that it lies in.

    Args:
        stop: Ends the waiting for a rename that another program blocks.
        replaces: A folder to set aside although it is complete.

    Raises:
        InUse: What should be replaced can't be set aside now.
        OSError: It can't be renamed; what was there before is there again. Also where somebody else was faster.
    """
    path = root.item(item)
    old = replaces or (path if _is_there(path) and not is_done(path) else None)
    try:
        _exchange(old, _new_aside(root, item.folder), staged, path, stop)
    except OSError as error:
        if replaces is None or not _is_blocked(error):
            raise
        _wait(root, item, staged)
        message = f"{item.label} can't be replaced: a program has files in {path} open."
        raise InUse(message, "Close the programs that use it: the new one takes its place at the next sync.") from error


def _exchange(old: Path | None, aside: Path, staged: Path, path: Path, stop: threading.Event) -> None:
    if old is not None:
        _rename(old, aside, stop)
    try:
        _rename(staged, path, stop)
    except OSError:
        if old is not None:
            _rename(aside, old, stop)
        raise
    if old is not None:
        fs.flush_folder(path.parent)  # first: else neither might be there after the power went
        with contextlib.suppress(OSError):  # still in use somewhere; a later run sweeps it
            fs.remove_tree(aside)


def take_away(root: Root, item: Item, path: Path) -> None:
    """Remove an item's folder, at once for everybody who looks, and what waits to replace it.

    Call it while holding the item's lease.

    Raises:
        OSError: It can't be renamed, and is there as before.
    """
    fs.remove_tree(root.pending / item.folder)  # first: else the next start would bring back what is gone
    aside = _new_aside(root, item.folder)
    fs.rename(path, aside)
    with contextlib.suppress(OSError):  # still in use somewhere; a later run sweeps it
        fs.remove_tree(aside)


def _wait(root: Root, item: Item, staged: Path) -> None:
    """Let the staged folder wait for the next start; one that waits already is no longer wanted."""
    if not root.pending.is_dir():
        fs.make_folder(root.pending, fs.private_mode())
    waiting = root.pending / item.folder
    if waiting.exists():
        fs.rename(waiting, _new_aside(root, item.folder))
    fs.rename(staged, waiting)


def waiting(root: Root) -> list[str]:
    """The names of the folders that wait to be replaced."""
    try:
        return sorted(path.name for path in root.pending.iterdir())
    except OSError:  # none ever did, or another user's
        return []


def put_waiting_in_place(root: Root, name: str) -> bool:
    """Try once more to replace a folder that was in use; call it while holding its lease.

    Returns:
        False where it still is in use.

    Raises:
        OSError: It can't be done for another reason.
    """
    path, at_once = root.path / name, threading.Event()
    at_once.set()
    try:
        old = path if _is_there(path) else None
        _exchange(old, _new_aside(root, name), root.pending / name, path, at_once)
        fs.flush_folder(root.path)
    except OSError as error:
        if _is_blocked(error):
            return False
        raise
    return True


def _is_there(path: Path) -> bool:
    return os.path.lexists(fs.long_path(path))


def _rename(source: Path, destination: Path, stop: threading.Event) -> None:
    """Rename, trying again for a while where a virus scanner or an open file blocks it."""
    end = time.monotonic() + BLOCKED_SECONDS
    while True:
        try:
            fs.rename(source, destination)
            return
        except OSError as error:
            if not _is_blocked(error) or time.monotonic() >= end or stop.wait(_POLL):
                raise


def _is_blocked(error: OSError) -> bool:
    return fs.is_open_elsewhere(error) or error.errno == errno.EBUSY
