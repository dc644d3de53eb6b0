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
<<<<<<< Updated upstream
        parts: Parts that nobody went on with for long, and sidecars without a part.
=======
        parts: Parts that nobody went on with for a week or that have nothing in them, and sidecars.
>>>>>>> Stashed changes
        temporaries: Small files that did not get their names.
        leases: Names of leases that may be dead ones'.
    """

    staged: Set[str]
    parts: tuple[Path, ...]
    temporaries: tuple[Path, ...]
    leases: Set[str]

    def __bool__(self) -> bool:
        return bool(self.staged or self.parts or self.temporaries or self.leases)


def find(root: Root, age: float = WEEK) -> Leftovers:
    """Look for leftovers; nothing is found where there is no store, or where it is another user's.

    Args:
        age: Seconds after which nobody goes on with a part.
    """
    folders = (root.path, root.ours, root.parts, root.locks, root.bundles, root.seen)
    return Leftovers(
        staged=staging.names(root),
<<<<<<< Updated upstream
        parts=_old_parts(root, time.time() - age),
=======
        parts=_worthless_parts(root),
>>>>>>> Stashed changes
        temporaries=tuple(path for folder in folders for path in fs.find_temporaries(folder)),
        leases=left_behind(root.locks),
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
            if mine and _is_worthless(path.with_suffix(".part")):  # still: somebody may have gone on with it
                fs.remove(path)
    for name in leftovers.leases:
        with leases.hold_now(name):
            pass  # who gives it back removes it


<<<<<<< Updated upstream
def _old_parts(root: Root, oldest: float) -> tuple[Path, ...]:
=======
def _worthless_parts(root: Root) -> tuple[Path, ...]:
>>>>>>> Stashed changes
    try:
        paths = list(root.parts.iterdir())
    except OSError:  # no store yet, or another user's
        return ()
    # A sidecar goes with its part, before it: it must never say more than what is there.
    return tuple(path for path in sorted(paths) if _is_worthless(path.with_suffix(".part")))


def _is_worthless(part: Path) -> bool:
    """Whether nobody went on with the part for a week, or there is nothing in it."""
    try:
        state = part.stat()
    except FileNotFoundError:
        return True
    return state.st_size == 0 or state.st_mtime < time.time() - _WEEK
