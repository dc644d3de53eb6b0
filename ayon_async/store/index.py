"""``addons.json`` and ``dependency.json``: the launcher's lists of what it installed, and what we remember beside them.

The folders hold the truth; these can be made again from them. The launcher rewrites its lists without a lock, so an
entry of ours may get lost there: it is added again by the next run.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.store.record import Record, now

_MERGES = 50
_WRITTEN_WITHIN, _POLL = 1.0, 0.05
"""Seconds within which a launcher has written its list, which it does in place."""


def read(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where the file is missing or stays damaged."""
    end = time.monotonic() + _WRITTEN_WITHIN
    while True:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, RecursionError):
            return {}
        except ValueError:  # maybe a launcher is writing it just now
            if time.monotonic() >= end:
                return {}
            time.sleep(_POLL)
            continue
        return content if isinstance(content, dict) else {}


def has(index: Mapping[str, Any], item: Item) -> bool:
    """Whether the launcher's list names the item."""
    entry = index.get(item.name)
    return entry is not None if item.version is None else isinstance(entry, dict) and item.version in entry


def lacks(path: Path, items: Iterable[Item]) -> bool:
    """Whether the list does not have all of these items."""
    index = read(path)
    return not all(has(index, item) for item in items)


def merge(path: Path, records: Iterable[tuple[Item, Record]], mode: int = 0o644) -> None:
    """Add what the list does not have yet; call it while holding the list's lease.

    Args:
        path: Of the list.
        records: What to add.
        mode: Permission bits of the list.

    Raises:
        OSError: The list can't be written.
    """
    index, added = read(path), now()
    for item, record in records:
        if not has(index, item):
            _add(index, item, record, added)
    fs.write_atomic(path, json.dumps(index, indent=4).encode(), mode)


def drop(path: Path, item: Item) -> None:
    """Take an item off the list; call it while holding the list's lease.

    Raises:
        OSError: The list can't be written.
    """
    index = read(path)
    if not has(index, item):
        return
    if item.version is None:
        del index[item.name]
    else:
        del index[item.name][item.version]
        if not index[item.name]:
            del index[item.name]
    fs.write_atomic(path, json.dumps(index, indent=4).encode(), path.stat().st_mode & 0o777)


def _add(index: dict[str, Any], item: Item, record: Record, added: str) -> None:
    entry = {
        "source": record.source_info or {},
        "checksum": record.checksum,
        "checksum_algorithm": record.checksum_algorithm,
        "distributed_dt": added,
    }
    if item.version is None:
        index[item.name] = entry
        return
    versions = index.get(item.name)
    index[item.name] = {**(versions if isinstance(versions, dict) else {}), item.version: entry}


# --- what has no client part ----------------------------------------------------------------------------------------


def read_clientless(path: Path, server: str) -> frozenset[Item]:
    """The addons that this server was seen to have no client part of."""
    pairs = read(path).get(server)
    with contextlib.suppress(TypeError, ValueError):
        return frozenset(
            Item("addon", name, version)
            for name, version in pairs or ()
            if isinstance(name, str) and isinstance(version, str)
        )
    return frozenset()


def write_clientless(path: Path, server: str, items: Iterable[Item]) -> None:
    """Remember these and no others of this server; other servers' are kept.

    Raises:
        OSError: The file can't be written.
    """
    pairs = sorted([item.name, item.version or ""] for item in items)
    fs.write_atomic(path, json.dumps({**read(path), server: pairs}).encode())


# --- what the server made of a project's bundle ---------------------------------------------------------------------


def read_merge(path: Path, key: str) -> dict[str, str] | None:
    """The addon versions that a merge of this key resulted in, or None where it was not remembered."""
    versions = read(path).get(key)
    if not isinstance(versions, dict) or not all(isinstance(version, str) for version in versions.values()):
        return None
    return versions


def write_merge(path: Path, key: str, versions: Mapping[str, str]) -> None:
    """Remember a merge, and of those before it the last few.

    Raises:
        OSError: The file can't be written.
    """
    before = [(known, value) for known, value in read(path).items() if known != key]
    fs.write_atomic(path, json.dumps(dict([*before[-_MERGES:], (key, dict(versions))])).encode())
