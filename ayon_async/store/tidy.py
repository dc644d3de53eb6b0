"""What killed runs left behind, and how it goes away. What somebody works on just now is left alone."""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ayon_async import fs
from ayon_async.store import staging
from ayon_async.store.layout import Root
from ayon_async.store.lease import Leases, left_behind

_HOUR = 3600
WEEK = 7 * 24 * _HOUR


class _Sidecar(msgspec.Struct, frozen=True):
    item: str | None = None


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_SIDECAR = msgspec.json.Decoder(_Sidecar)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What may go.

    Attributes:
        staged: Names of items' folders of which something is staged.
        parts: Parts that nobody needs, see `find`, and sidecars.
        temporaries: Small files that did not get their names.
        leases: Names of leases that may be dead ones'.
        oldest: When somebody must have gone on with a part for it to be kept, in seconds since the epoch.
        done: Names of items' folders that need no part any more.
    """

    staged: Set[str]
    parts: tuple[Path, ...]
    temporaries: tuple[Path, ...]
    leases: Set[str]
    oldest: float
    done: Set[str]

    def __bool__(self) -> bool:
        return bool(self.staged or self.parts or self.temporaries or self.leases)


def find(root: Root, age: float = WEEK, done: Set[str] = frozenset()) -> Leftovers:
    """Look for leftovers; nothing is found where there is no store, or where it is another user's.

    Nobody needs a part that is empty, that has no sidecar, or that was collected for an item that is in its place: a
    source or a checksum that is new gives an archive's part another name, and then nobody goes on with the old one.

    Args:
        age: Seconds after which nobody goes on with a part.
        done: Names of the folders of items that are in their places.
    """
    oldest = time.time() - age
    folders = (root.path, root.ours, root.parts, root.locks, root.bundles, root.seen)
    return Leftovers(
        staged=staging.names(root),
        parts=_worthless_parts(root, oldest, done),
        temporaries=tuple(path for folder in folders for path in fs.find_temporaries(folder)),
        leases=left_behind(root.locks),
        oldest=oldest,
        done=done,
    )


def sweep(root: Root, leases: Leases, leftovers: Leftovers, keep: Set[str]) -> None:
    """Remove leftovers.

    Args:
        keep: Names of items' folders that are still wanted: what is staged for them may be of use.

    Raises:
        OSError: Something can't be removed.
    """
    for path in leftovers.temporaries:
        fs.remove(path)
    for name in leftovers.staged - keep:
        with leases.hold_now(name) as mine:
            if mine:
                staging.remove(root, name)
    for part in sorted({path.with_suffix(".part") for path in leftovers.parts}):
        with leases.hold_now(root.part_lease(part)) as mine:
            # Still: somebody may have gone on with it.
            if mine and _is_worthless(part, leftovers.oldest, leftovers.done):
                fs.remove(part.with_suffix(".json"))  # first: it must never say more than what is there
                fs.remove(part)
    for name in leftovers.leases:
        leases.remove_if_dead(name)


def _worthless_parts(root: Root, oldest: float, done: Set[str]) -> tuple[Path, ...]:
    try:
        known = sorted(path for path in root.parts.iterdir() if path.suffix in (".json", ".part"))
    except OSError:  # no store yet, or another user's
        return ()
    return tuple(path for path in known if _is_worthless(path.with_suffix(".part"), oldest, done))


def _is_worthless(part: Path, oldest: float, done: Set[str]) -> bool:
    try:
        state = part.stat()
    except FileNotFoundError:
        return True
    if state.st_size == 0 or state.st_mtime < oldest:
        return True
    try:
        return _SIDECAR.decode(fs.read(part.with_suffix(".json"))).item in done
    except (FileNotFoundError, ValueError):  # msgspec's errors are ValueErrors
        return state.st_mtime < time.time() - _HOUR
    except OSError:  # another user's
        return False
