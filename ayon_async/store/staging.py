"""From a staged folder to an item's own, by one rename; and what a run that was killed left behind.

A staged folder is named after its item, and only who holds the item's lease touches it. The record that says `done` is
the last thing that is put on the device before the rename, so a staged folder that has it is complete, and the next
run renames it instead of fetching the archive again.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import uuid
from pathlib import Path

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.store.layout import Root
from ayon_async.store.record import Record, read_progress, read_record

BLOCKED_SECONDS = 30.0
_POLL = 0.25
_SHARING_VIOLATIONS = frozenset({5, 32, 33})


def new(root: Root, item: Item) -> Path:
    """A new private place to unpack the item into, on the same file system as its folder."""
    return root.staging / f"{item.folder}.{uuid.uuid4().hex}"


def clear(root: Root, item: Item) -> tuple[Path, Record] | None:
    """Remove what earlier runs left of the item, all but a complete folder, which is returned.

    Call it while holding the item's lease.
    """
    complete = None
    for path in sorted(root.staging.glob("*")):
        if path.name.rpartition(".")[0] != item.folder:
            continue
        if complete is None and is_done(path):
            complete = path, read_record(path)
        else:
            fs.remove_tree(path)
    return complete


def names(root: Root) -> set[str]:
    """The folder names of items of which something is staged."""
    try:
        return {path.name.rpartition(".")[0] for path in root.staging.iterdir()}
    except OSError:  # no store yet, or another user's
        return set()


def remove(root: Root, name: str) -> None:
    """Remove everything that is staged for the folder of this name; call it while holding its lease."""
    for path in root.staging.glob("*"):
        if path.name.rpartition(".")[0] == name:
            fs.remove_tree(path)


def is_done(folder: Path) -> bool:
    """Whether the folder says of itself that it is complete."""
    progress = read_progress(folder)
    return progress is not None and progress.state == "done"


def put_in_place(root: Root, item: Item, staged: Path, stop: threading.Event) -> None:
    """Rename the staged folder to the item's own; one that is there and not complete is set aside and then removed.

    Args:
        stop: Ends the waiting for a rename that another program blocks.

    Raises:
        OSError: It can't be renamed; what was there before is there again. Also where somebody else was faster.
    """
    path = root.item(item)
    aside = new(root, item) if os.path.lexists(path) and not is_done(path) else None
    if aside is not None:
        _rename(path, aside, stop)
    try:
        _rename(staged, path, stop)
    except OSError:
        if aside is not None:
            _rename(aside, path, stop)
        raise
    fs.flush_folder(path.parent)
    if aside is not None:
        fs.remove_tree(aside)


def _rename(source: Path, destination: Path, stop: threading.Event) -> None:
    """Rename, trying again for a while where a virus scanner or an open file blocks it."""
    end = time.monotonic() + BLOCKED_SECONDS
    while True:
        try:
            fs.rename(source, destination)
            return
        except OSError as error:
            blocked = getattr(error, "winerror", None) in _SHARING_VIOLATIONS or error.errno == errno.EBUSY
            if not blocked or time.monotonic() >= end or stop.wait(_POLL):
                raise
