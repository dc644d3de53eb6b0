"""What everything in the store stands on: its own folders, real and private, and the leases that the marker names."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ayon_async import fs
from ayon_async.disk_error import explain
from ayon_async.errors import StoreError
from ayon_async.store.layout import Root
from ayon_async.store.lease import Holder, Leases
from ayon_async.store.marker import agree
from ayon_async.threads import in_thread

T = TypeVar("T")


async def on_disk(root: Root, work: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Do work on files in a thread; when this task is cancelled, set `stop` and wait for the thread.

    Raises:
        StoreError: What the operating system says against it; of the root, where it names no file.
    """
    try:
        return await in_thread(work, stop=stop)
    except OSError as error:
        raise explain(error, root.path) from error


def lay(root: Root, holder: Holder, *, group_writable: bool) -> Leases:
    """Make the folders for items of one kind, where they are missing; returns the leases.

    Args:
        holder: Who is to hold them.
        group_writable: Whether the store's group may write there: what is private is then the group's.

    Raises:
        StoreError: Something else is in their place, or they belong to a newer program.
        OSError: They can't be made.
    """
    shared, private = (0o2775, 0o2770) if group_writable else (0o755, fs.private_mode())
    if not root.path.exists():
        fs.make_folders(root.path, 0o755)
        if group_writable:
            fs.set_mode(root.path, shared)
    _make(root.ours, shared)
    for folder in (root.parts, root.staging, root.locks):
        _make(folder, private)
    if group_writable:
        for folder in (root.bundles, root.seen):
            _make(folder, shared)
    return Leases(root.locks, agree(root.marker).locks, 0o660 if group_writable else 0o600, holder)


def _make(folder: Path, mode: int) -> None:
    """Make one folder, or give it its mode again; what another user made stays as it is."""
    try:
        fs.make_folder(folder, mode)
    except FileExistsError:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            message = f"{folder} is no folder, or a symbolic link, which is not followed there."
            raise StoreError(message, "Remove it: somebody else may have put it there.") from None
    if os.name == "nt":
        return
    state = folder.lstat()
    # The umask may have withheld bits; a set-group bit that was inherited has to stay.
    wanted = mode | (state.st_mode & stat.S_ISGID)
    if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) != wanted:
        fs.set_mode(folder, wanted)
