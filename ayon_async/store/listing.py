"""What a store holds, whatever bundle it belongs to: every item's folder with what is known of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ayon_async.item import Item
from ayon_async.semver import parse
from ayon_async.store import index
from ayon_async.store.held import Held, is_of_old_launcher
from ayon_async.store.layout import Root
from ayon_async.store.record import RECORD_FILE, Record, read_progress, read_record

_LAUNCHERS_TIME = "%Y-%m-%d %H:%M:%S"  # local


@dataclass(frozen=True, slots=True)
class Installed:
    """An item's folder.

    Attributes:
        item: What it is of.
        path: The folder.
        record: What we know of it; empty where the launcher installed it.
        is_complete: Whether it says of itself that it is complete; else something has damaged it since.
        when: When it was installed, in UTC.
    """

    item: Item
    path: Path
    record: Record
    is_complete: bool
    when: datetime


def installed(roots: Iterable[Root], but: Set[str] = frozenset()) -> tuple[Installed, ...]:
    """Everything that was installed, by us or by the launcher, in the order of the folders' names; blocks.

    A folder that was never complete, which a launcher may be filling just now, is not among it.

    Args:
        but: Names of folders that nobody wants to know of.

    Raises:
        OSError: A folder of the store can't be read.
    """
    return tuple(entry for root in roots for entry in _installed(root, but))


def _installed(root: Root, but: Set[str]) -> Iterator[Installed]:
    listed = index.read(root.list)
    named = _named(root, listed)
    try:
        with os.scandir(root.path) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return
    for path in (root.path / name for name in names if name not in but):
        if not path.is_dir():
            continue
        progress, record = read_progress(path), read_record(path)
        item = _item(root, path.name, record, named)
        ours = _has_record(path)
        old = progress is None and is_of_old_launcher(path) and index.has(listed, item)
        is_complete = old or (progress is not None and progress.state == "done")
        if is_complete or ours:
            finished = progress.dist_finished if progress else None
            yield Installed(item, path, record, is_complete, _when(path, record.installed, finished))


def _has_record(folder: Path) -> bool:
    """Whether a folder is ours; also one that we may not look into, of which nobody could tell that it is complete."""
    try:
        return stat.S_ISREG((folder / RECORD_FILE).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _named(root: Root, listed: dict[str, Any]) -> dict[str, Item]:
    """The items of the launcher's list by the names of their folders."""
    if root.kind == "dependency_package":
        items = [Item(root.kind, name, None) for name in listed]
    else:
        items = [
            Item(root.kind, name, version)
            for name, versions in listed.items()
            if isinstance(versions, dict)
            for version in versions
        ]
    return {path.name: item for item in items for path in root.places(item)}


def _item(root: Root, folder: str, record: Record, named: dict[str, Item]) -> Item:
    """Whose folder it is: its record says, else the launcher's list, else the name where it looks like a version."""
    if record.name is not None:
        recorded = Item(root.kind, record.name, record.version)
        if folder in {path.name for path in root.places(recorded)}:
            return recorded
    if folder in named:
        return named[folder]
    if root.kind == "dependency_package":
        return Item(root.kind, folder, None)
    splits = [(folder[: match.start()], folder[match.end() :]) for match in re.finditer("_", folder)]
    name, version = next((split for split in splits if parse(split[1])), splits[-1] if splits else (folder, ""))
    return Item(root.kind, name, version)


def _when(path: Path, ours: str | None, launchers: str | None) -> datetime:
    """When the item was installed; the folder's own time where no record tells it."""
    try:
        if ours is not None:
            return datetime.fromisoformat(ours).astimezone(UTC)
        if launchers is not None:
            return datetime.strptime(launchers, _LAUNCHERS_TIME).astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # damaged: go on as if there were none
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def add_to_list(root: Root, held: Mapping[Item, Held], mode: int) -> None:
    """Add to the launcher's list what it lacks; where it was lost, everything that the other folders tell too."""
    records = [(item, entry.record) for item, entry in held.items()]
    if not index.read(root.list):
        known = {entry.path.name for entry in held.values()}
        records = [*records, *((entry.item, entry.record) for entry in installed([root], known) if entry.is_complete)]
    index.merge(root.list, records, mode)
