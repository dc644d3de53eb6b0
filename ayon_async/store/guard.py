"""What must hold before anything is written: nobody else can tamper with the store, and there is room."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path

from ayon_async import fs
from ayon_async.errors import SettingsError, StoreError
from ayon_async.item import Item
from ayon_async.store.layout import Root, Roots
from ayon_async.store.staging import completed


def user_id(name: str | None) -> int | None:
    """The number of the user of this name, who may also be given by number; None for None.

    Raises:
        SettingsError: There is no such user.
    """
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    if sys.platform == "win32":
        return None  # there are no such numbers, and nothing is checked by them
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    raise SettingsError(f"store_owner names the user {name!r}, whom this machine does not know.", "Give the user's id.")


def check(roots: Roots, owner: int | None, *, trusted: bool, group_writable: bool = False) -> None:
    """Refuse what are no folders, and unless they are trusted what `check_neighbours` refuses.

    Raises:
        StoreError: The hint says how to mend it.
    """
    for root in roots.values():
        if root.path.exists() and not root.path.is_dir():
            hint = "Choose another one with --storage-dir."
            raise StoreError(f"The store's folder {root.path} is a file.", hint)
    if not trusted:
        check_neighbours(roots.values(), owner, group_writable=group_writable)


def check_neighbours(roots: Iterable[Root], owner: int | None, *, group_writable: bool) -> None:
    """Refuse folders that another user of this machine could fill with code for us to run.

    The official launcher makes everything world-writable; that alone is accepted where no other user gets there.

    Args:
        owner: User id that may own the store besides this user and root.
        group_writable: Whether the store is its group's, any member of which may have made what is in it.

    Raises:
        StoreError: A folder is world-writable or somebody else's; the hint is the command that mends it.
    """
    if sys.platform == "win32":
        return  # folders below the user's profile are the user's alone there
    roots = tuple(roots)
    allowed = {os.geteuid(), 0, owner}
    above = {root.path.parent for root in roots}
    if len(above) == 1:  # else each folder was chosen by itself, and what it lies in is no folder of the store
        _check(above.pop(), roots, allowed, deep=False)
    for root in roots:
        _check(root.path, [root], allowed)
        _check(root.ours, [root], None if group_writable else allowed)


def _check(folder: Path, roots: Iterable[Root], allowed: Set[int | None] | None, *, deep: bool = True) -> None:
    """Check one folder, and where it is a link, what that leads to as well.

    Args:
        roots: Whose lists tell whether the official launcher made it.
        allowed: Who may own it; anybody where None.
        deep: Whether what lies in it has to be mended as well.
    """
    try:
        states = [folder.lstat(), folder.stat()]
    except (FileNotFoundError, NotADirectoryError):
        return
    quoted = shlex.quote(str(folder))
    go_on = "or go on with --trust-store."
    recursive = "-R " if deep else ""
    # What is in a sticky folder only its owner can rename or remove.
    open_to_all = states[-1].st_mode & stat.S_IWOTH and (deep or not states[-1].st_mode & stat.S_ISVTX)
    by_launcher = any(_is_world_writable(root.list) for root in roots)
    if open_to_all and not (by_launcher and _is_out_of_reach(folder)):
        message = f"The store's folder {folder} can be written by every user of this machine."
        raise StoreError(message, f"Mend it with: chmod {recursive}o-w {quoted} - {go_on}")
    for found in states:
        if allowed is not None and found.st_uid not in allowed:
            message = f"The store's folder {folder} belongs to another user (id {found.st_uid})."
            raise StoreError(message, f"Mend it with: sudo chown {recursive}{os.geteuid()} {quoted} - {go_on}")


def _is_world_writable(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _is_out_of_reach(folder: Path) -> bool:
    """Whether a folder above lets only its owner, who is this user, through."""
    return any(
        not above.st_mode & (stat.S_IXOTH | stat.S_IXGRP) and above.st_uid == os.geteuid()
        for above in (path.stat() for path in folder.resolve().parents)
    )


@dataclass(frozen=True, slots=True)
class Need:
    """What an item needs room for.

    Attributes:
        item: The item.
        size: Bytes of its archive, or None where nobody knows.
        part: Where the archive's bytes are collected; None where none are.
    """

    item: Item
    size: int | None
    part: Path | None


@dataclass(frozen=True, slots=True)
class Room:
    """Whether there is room on one file system.

    Attributes:
        path: A folder on it.
        needed: Bytes that will be needed, as far as sizes are known.
        free: Bytes that are free.
        unknown: How many archives of unknown size are not counted.
    """

    path: Path
    needed: int
    free: int
    unknown: int

    @property
    def enough(self) -> bool:
        """False where it is known not to fit."""
        return self.needed <= self.free


def room(needs: Iterable[tuple[Root, Need]], *, flushed: bool = False) -> tuple[Room, ...]:
    """The room on each of the file systems that something is needed on.

    An archive needs room for what of it is still to come, and then for what it holds. How much that is nobody knows
    before it is here: as much as the archive is an estimate, and seldom too much.

    Args:
        flushed: Put what was done on the devices first: what was removed is free only then on some (btrfs).
    """
    by_root: dict[Root, list[Need]] = {}
    for root, need in needs:
        by_root.setdefault(root, []).append(need)
    totals: dict[int, Room] = {}
    for root, here in by_root.items():
        path = _existing(root.path)
        device = path.stat().st_dev
        if flushed and device not in totals:
            with contextlib.suppress(OSError):  # a failing device is told by what is written to it
                fs.flush_file_system(path)
        room = totals.get(device) or Room(root.path, 0, shutil.disk_usage(path).free, 0)
        ready = completed(root)
        # What a killed run left has only the rename to do.
        needed = sum(
            _needed(need, need.size) for need in here if need.size is not None and need.item.folder not in ready
        )
        unknown = sum(need.size is None for need in here)
        totals[device] = replace(room, needed=room.needed + needed, unknown=room.unknown + unknown)
    return tuple(totals.values())


def _needed(need: Need, size: int) -> int:
    if need.part is None:
        return size
    try:
        state = need.part.stat()
    except OSError:
        here = 0
    else:
        # A part may have holes: what it takes of the device counts, where the system says.
        here = min(state.st_size, 512 * getattr(state, "st_blocks", state.st_size))
    return max(0, size - here) + size


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
