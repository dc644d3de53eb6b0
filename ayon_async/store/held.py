"""Which items are completely on disk: as we left them, or as any version of the official launcher did."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.store import index
from ayon_async.store.layout import Roots
from ayon_async.store.record import RECORD_FILE, Record, read_progress, read_record


@dataclass(frozen=True, slots=True)
class Held:
    """An item that is on disk.

    Attributes:
        path: Its folder.
        record: What we know of it; empty where the launcher installed it.
    """

    path: Path
    record: Record


def held(roots: Roots, items: Iterable[Item]) -> dict[Item, Held]:
    """Those of the items that are complete."""
    found = {}
    listed = functools.cache(lambda root: index.read(root.list))
    for item in items:
        root = roots[item.kind]
        for path in root.places(item):
            if not os.path.lexists(fs.long_path(path)):
                continue  # so that of what is missing not every file is looked for
            progress = read_progress(path)
            old = progress is None and is_of_old_launcher(path) and index.has(listed(root), item)
            if old or (progress is not None and progress.state == "done"):
                found[item] = Held(path, read_record(path))
                break
    return found


def is_of_old_launcher(path: Path) -> bool:
    """Whether this folder without a progress file may be an old launcher's, which lists what it completed.

    One with our record in it had a progress file, which went with the files that somebody removed; nobody knows what
    was in an empty one.
    """
    try:
        with os.scandir(path) as entries:
            names = {entry.name for entry in entries}
    except OSError:
        return False
    return bool(names) and RECORD_FILE not in names
