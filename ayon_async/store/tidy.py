"""What killed runs left behind, and how it goes away. What somebody works on just now is left alone."""

from __future__ import annotations

import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from ayon_async import fs
from ayon_async.store import staging
from ayon_async.store.layout import Root
from ayon_async.store.lease import Leases, left_behind

WEEK = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What may go.

    Attributes:
        staged: Names of items' folders of which something is staged.
        parts: Parts that nobody went on with for long or that have nothing in them, and sidecars.
        temporaries: Small files that did not get their names.
        leases: Names of leases that may be dead ones'.
        oldest: When somebody must have gone on with a part for it to be kept, in seconds since the epoch.
    """

    staged: Set[str]
    parts: tuple[Path, ...]
    temporaries: tuple[Path, ...]
    leases: Set[str]
    oldest: float

    def __bool__(self) -> bool:
        return bool(self.staged or self.parts or self.temporaries or self.leases)


def find(root: Root, age: float = WEEK) -> Leftovers:
    """Look for leftovers; nothing is found where there is no store, or where it is another user's.

    Args:
        age: Seconds after which nobody goes on with a part.
    """
    oldest = time.time() - age
    folders = (root.path, root.ours, root.parts, root.locks, root.bundles, root.seen)
    return Leftovers(
        staged=staging.names(root),
        parts=_worthless_parts(root, oldest),
        temporaries=tuple(path for folder in folders for path in fs.find_temporaries(folder)),
        leases=left_behind(root.locks),
        oldest=oldest,
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
    for path in leftovers.parts:
        with leases.hold_now(path.stem) as mine:
            # Still: somebody may have gone on with it.
            if mine and _is_worthless(path.with_suffix(".part"), leftovers.oldest):
                fs.remove(path)
    for name in leftovers.leases:
        leases.remove_if_dead(name)


def _worthless_parts(root: Root, oldest: float) -> tuple[Path, ...]:
    try:
        paths = [path for path in root.parts.iterdir() if path.suffix in (".json", ".part")]
    except OSError:  # no store yet, or another user's
        return ()
    # A sidecar goes with its part, before it: it must never say more than what is there.
    known = sorted(path for path in paths if path.suffix in (".json", ".part"))
    return tuple(path for path in known if _is_worthless(path.with_suffix(".part"), oldest))


def _is_worthless(part: Path, oldest: float) -> bool:
    """Whether nobody went on with the part since then, or there is nothing in it."""
    try:
        state = part.stat()
    except FileNotFoundError:
        return True
    return state.st_size == 0 or state.st_mtime < oldest
