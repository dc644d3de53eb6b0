"""Whether what is installed is still what was unpacked: every file's size and CRC-32 against the inventory.

Nothing here changes anything. What Python writes beside its sources is not damage, nor are the records themselves.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ayon_async import fs
from ayon_async.deflate import crc32
from ayon_async.item import Item
from ayon_async.store.listing import Installed
from ayon_async.store.record import PROGRESS_FILE, RECORD_FILE, RECORDS, File, Inventory, read_inventory

_CACHE = "__pycache__"
_READ = 1 << 20
_BATCH = 64
_TELL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Problem:
    """One file that is not as it was unpacked.

    Attributes:
        path: In the item's folder, with ``/`` between the components.
        what: Other content, gone, or not of the archive.
    """

    path: str
    what: Literal["changed", "missing", "extra"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of one item found.

    Attributes:
        item: The item.
        path: Its folder.
        state: Intact, damaged, or of unknown content: the launcher installed it, and keeps no inventory.
        files: How many files of the inventory were looked at.
        size: Bytes that these files should have together.
        problems: By path.
        sha256: Of the archive that it was unpacked from, where known.
    """

    item: Item
    path: Path
    state: Literal["intact", "damaged", "unknown"]
    files: int = 0
    size: int = 0
    problems: tuple[Problem, ...] = ()
    sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The item as it stands in a JSON report."""
        return {
            "kind": self.item.kind,
            "name": self.item.name,
            "version": self.item.version,
            "path": str(self.path),
            "state": self.state,
            "files": self.files,
            "size": self.size,
            "problems": [{"path": problem.path, "problem": problem.what} for problem in self.problems],
        }


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a check is; sizes in bytes."""

    files_done: int
    files: int
    bytes_done: int
    size: int


Watcher = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class _Look:
    """One file to look at."""

    number: int  # of the item
    folder: str
    file: File


def verify(
    entries: Iterable[Installed],
    *,
    quick: bool = False,
    on_progress: Watcher | None = None,
    stop: threading.Event | None = None,
) -> tuple[Checked, ...]:
    """Compare installed items with their inventories, many files at once; blocks, so call it in a thread.

    Args:
        entries: What to look at.
        quick: Read only files that were written to after the item was put in place; else sizes are enough.
        on_progress: Called in this thread, at most ten times a second, and at the end.
        stop: Set it to end early; what was found so far is returned.
    """
    entries = tuple(entries)
    inventories = [_inventory(entry) for entry in entries]
    looks = [
        _Look(number, fs.long_path(entry.path) + os.sep, file)
        for number, (entry, inventory) in enumerate(zip(entries, inventories, strict=True))
        if isinstance(inventory, Inventory)
        for file in inventory.files
    ]
    newest = [_written(entry.path) if quick else None for entry in entries]
    found: list[list[Problem]] = [[] for _ in entries]
    for look, problem in _looked_at(looks, newest, on_progress, stop or threading.Event()):
        found[look.number].append(problem)
    return tuple(
        _checked(entry, inventory, problems)
        for entry, inventory, problems in zip(entries, inventories, found, strict=True)
    )


def _inventory(entry: Installed) -> Inventory | Problem | None:
    try:
        return read_inventory(entry.path)
    except (OSError, ValueError):
        return Problem(RECORD_FILE, "changed")


def _checked(entry: Installed, inventory: Inventory | Problem | None, problems: list[Problem]) -> Checked:
    if inventory is None:
        return Checked(entry.item, entry.path, "unknown")
    if isinstance(inventory, Problem):
        return Checked(entry.item, entry.path, "damaged", problems=(inventory,))
    if not entry.is_complete:
        problems.append(Problem(PROGRESS_FILE, "missing"))
    problems += _links(entry.path, inventory)
    problems += _extras(entry.path, inventory)
    return Checked(
        entry.item,
        entry.path,
        "damaged" if problems else "intact",
        files=len(inventory.files),
        size=sum(file.size for file in inventory.files),
        problems=tuple(sorted(problems, key=lambda problem: problem.path)),
        sha256=inventory.sha256,
    )


def _written(folder: Path) -> int:
    """When the folder was complete, in nanoseconds by its own file system's clock; 0 where that is not known."""
    try:
        return (folder / PROGRESS_FILE).stat().st_mtime_ns
    except OSError:
        return 0


# --- one file after the other, in threads ---------------------------------------------------------------------------


def _looked_at(
    looks: list[_Look], newest: list[int | None], on_progress: Watcher | None, stop: threading.Event
) -> Iterator[tuple[_Look, Problem]]:
    files, size = len(looks), sum(look.file.size for look in looks)
    files_done = bytes_done = 0
    told = time.monotonic()
    work = iter(looks)
    batches = iter(lambda: list(islice(work, _BATCH)), [])
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) * 2), "verify") as threads:
        for batch, problems in threads.map(partial(_look_at, newest=newest, stop=stop), batches):
            yield from problems
            files_done += len(batch)
            bytes_done += sum(look.file.size for look in batch)
            if on_progress is not None and (time.monotonic() - told >= _TELL_SECONDS or files_done == files):
                told = time.monotonic()
                on_progress(Progress(files_done, files, bytes_done, size))


def _look_at(
    batch: list[_Look], newest: list[int | None], stop: threading.Event
) -> tuple[list[_Look], list[tuple[_Look, Problem]]]:
    problems = []
    for look in batch:
        if stop.is_set():
            break
        what = _compare(look.folder + look.file.path.replace("/", os.sep), look.file, newest[look.number], stop)
        # Python removes and renews what it keeps there as it likes.
        if what is not None and _CACHE not in look.file.path.split("/"):
            problems.append((look, Problem(look.file.path, what)))
    return batch, problems


def _compare(path: str, file: File, newest: int | None, stop: threading.Event) -> Literal["changed", "missing"] | None:
    """What is wrong with the file.

    Args:
        newest: In a quick check, when the file was written at the latest if nobody changed it.
    """
    if newest is not None:
        try:
            state = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return "missing"
        except OSError:
            return "changed"
        if not stat.S_ISREG(state.st_mode) or state.st_size != file.size:
            return "changed"
        if state.st_mtime_ns <= newest:
            return None
    try:
        fd = fs.open_to_read(path)
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:  # a link, a device, no right to read it
        return "changed"
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_size != file.size:
            return "changed"
        crc, left = 0, file.size
        while left and not stop.is_set():
            data = os.read(fd, min(left, _READ))
            if not data:
                return "changed"
            crc, left = crc32(data, crc), left - len(data)
    except OSError:  # a device that can't be read any more
        return "changed"
    finally:
        os.close(fd)
    return None if left or crc == file.crc32 else "changed"


# --- what else lies there -------------------------------------------------------------------------------------------


def _links(folder: Path, inventory: Inventory) -> Iterator[Problem]:
    for path, target in inventory.links:
        try:
            found = Path(fs.long_path(folder / path)).readlink().as_posix()
        except FileNotFoundError:
            yield Problem(path, "missing")
        except OSError:
            yield Problem(path, "changed")
        else:
            if found != PurePosixPath(target).as_posix():
                yield Problem(path, "changed")


def _extras(folder: Path, inventory: Inventory) -> Iterator[Problem]:
    known = {file.path for file in inventory.files} | {path for path, _ in inventory.links} | RECORDS
    for path in _entries(fs.long_path(folder), ""):
        # Python 2 keeps its byte code right beside the source.
        is_byte_code = path.endswith((".pyc", ".pyo")) and path[:-1] in known
        if path not in known and not is_byte_code:
            yield Problem(path, "extra")


def _entries(folder: str, prefix: str) -> Iterator[str]:
    """Everything but folders below a folder; links are not followed, Python's caches not entered."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:
        return
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            yield prefix + entry.name
        elif entry.name != _CACHE:
            yield from _entries(entry.path, f"{prefix}{entry.name}/")
