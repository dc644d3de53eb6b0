"""Which items this user's processes are using, as far as that can be seen: on Linux, in ``/proc``."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ayon_async.store.layout import Root

_PROC = Path("/proc")


def in_use(roots: Iterable[Root], proc: Path = _PROC) -> dict[Path, str] | None:
    """Folders of items that a process of this user runs code from, works in, has files of open, or in its environment.

    Args:
        roots: The store's folders.
        proc: Where the kernel shows its processes.

    Returns:
        For each such folder a process, by its id and name; None where processes can't be seen.
    """
    if sys.platform != "linux":
        return None
    try:
        folders = [entry for entry in proc.iterdir() if entry.name.isdecimal()]
    except OSError:
        return None
    patterns = {root.path: _pattern(root.path) for root in roots}
    found: dict[Path, str] = {}
    for folder in folders:
        for path in _named(folder, patterns):
            found.setdefault(path, f"{folder.name} ({_name(folder)})")
    return found


def _pattern(root: Path) -> re.Pattern[bytes]:
    """Finds the names of folders directly in the store's, under either of its names."""
    names = {os.fsencode(root), os.fsencode(root.resolve())}
    separator = re.escape(os.fsencode(os.sep))
    return re.compile(rb"(?:" + rb"|".join(map(re.escape, sorted(names))) + rb")" + separator + rb"([^/:\0\n]+)")


def _named(process: Path, patterns: dict[Path, re.Pattern[bytes]]) -> Iterator[Path]:
    try:
        if process.stat().st_uid != os.geteuid():
            return
    except OSError:  # it ended
        return
    told = b"\n".join(_told(process))
    for root, pattern in patterns.items():
        for name in set(pattern.findall(told)):
            yield root / os.fsdecode(name.removesuffix(b" (deleted)"))


def _told(process: Path) -> Iterator[bytes]:
    """What the kernel tells of a process: mapped and open files, working folder, environment, arguments."""
    for name in ("maps", "environ", "cmdline"):
        with contextlib.suppress(OSError):  # it ended, or must not be looked into
            yield (process / name).read_bytes()
    links = [process / "cwd"]
    with contextlib.suppress(OSError):
        links += (process / "fd").iterdir()
    for link in links:
        with contextlib.suppress(OSError):
            yield os.fsencode(link.readlink())


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
