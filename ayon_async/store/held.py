"""Which items are completely on disk: as we left them, or as any version of the official launcher did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ayon_async.item import Item
from ayon_async.store import index
from ayon_async.store.layout import Roots
from ayon_async.store.record import Record, read_progress, read_record


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
    for item in items:
        root = roots[item.kind]
        for path in root.places(item):
            progress = read_progress(path)
            # No progress file, but the folder and an entry in the list: an old launcher was here.
            old = progress is None and path.is_dir() and index.has(index.read(root.list), item)
            if old or (progress is not None and progress.state == "done"):
                found[item] = Held(path, read_record(path))
                break
    return found
