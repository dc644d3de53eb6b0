"""What is on disk: a folder for each item, with its record inside, made visible by one rename.

The layout is the official launcher's, so that either finds what the other installed. Everything that is only ours lies
in ``.ayon-async/`` inside each of the two folders, which may be on different file systems:

* ``parts/`` what has arrived of archives,
* ``staging/`` folders being filled, and such as were set aside,
* ``locks/`` one file for each item that somebody worked on,
* ``clientless.json`` addons that have nothing to install here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import filelock

from ayon_async import fs
from ayon_async.errors import StoreError
from ayon_async.item import Item
from ayon_async.report import Kind
from ayon_async.store import index
from ayon_async.store.record import File, Record, now, read_progress, read_record, write_records
from ayon_async.threads import in_thread

__all__ = ["File", "Held", "Record", "Store", "now"]

OURS = ".ayon-async"
_INDEX = {"addon": "addons.json", "dependency_package": "dependency.json"}
_POLL = 0.2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Held:
    """An item that is on disk.

    Attributes:
        path: Its folder.
        record: What we know of it; empty where the launcher installed it.
    """

    path: Path
    record: Record


class Store:
    """The folders that addons and dependency packages live in.

    Args:
        addons: Holds a folder for each addon version.
        dependencies: Holds a folder for each dependency package.
    """

    def __init__(self, addons: Path, dependencies: Path) -> None:
        self._roots: dict[Kind, Path] = {"addon": addons.absolute(), "dependency_package": dependencies.absolute()}

    @classmethod
    def at(cls, storage_dir: Path | str) -> Store:
        """The store in one folder, laid out as the launcher's."""
        root = Path(storage_dir)
        return cls(root / "addons", root / "dependency_packages")

    def root(self, kind: Kind) -> Path:
        """The folder that items of this kind lie in."""
        return self._roots[kind]

    def path(self, item: Item) -> Path:
        """The item's own folder, whether it is there or not."""
        return self._roots[item.kind] / item.folder

    def part(self, kind: Kind, key: str) -> Path:
        """Where to collect an archive's bytes; the key tells one archive from another."""
        return self._ours(kind) / "parts" / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.part"

    def _ours(self, kind: Kind) -> Path:
        return self._roots[kind] / OURS

    # --- what is there ----------------------------------------------------------------------------------------------

    async def held(self, items: Iterable[Item]) -> dict[Item, Held]:
        """Those of the items that are completely on disk.

        Raises:
            StoreError: A folder of the store is something else, or can't be read.
        """
        return await asyncio.to_thread(self._scan, tuple(items))

    def _scan(self, items: tuple[Item, ...]) -> dict[Item, Held]:
        for root in self._roots.values():
            _check_folder(root)
        found = {}
        for item in items:
            for path in self._places(item):
                progress = read_progress(path)
                # No progress file, but the folder and an entry in the list: an old launcher was here.
                old = progress is None and path.is_dir() and index.has(self._list(item.kind), item)
                if old or (progress is not None and progress.state == "done"):
                    found[item] = Held(path, read_record(path))
                    break
        return found

    def _list(self, kind: Kind) -> dict[str, Any]:
        return index.read(self._roots[kind] / _INDEX[kind])

    def _places(self, item: Item) -> tuple[Path, ...]:
        path = self.path(item)
        # Newer launchers take a dependency package's folder without the archive's ending as well.
        return (path,) if item.kind == "addon" or not path.suffix else (path, path.with_suffix(""))

    async def clientless(self, server: str) -> frozenset[Item]:
        """Addons that this server was seen to have no client part of."""
        return await asyncio.to_thread(index.read_clientless, self._clientless_file(), server)

    async def remember_clientless(self, server: str, items: Iterable[Item]) -> None:
        """Remember what has no client part, so that the next run need not ask.

        Raises:
            StoreError: It can't be written.
        """

        def write() -> None:
            self._prepare("addon")
            index.write_clientless(self._clientless_file(), server, items)

        await self._in_thread(write, self._roots["addon"])

    def _clientless_file(self) -> Path:
        return self._ours("addon") / "clientless.json"

    # --- changing it ------------------------------------------------------------------------------------------------

    async def prepare(self, kind: Kind) -> None:
        """Make the folders for items of this kind.

        Raises:
            StoreError: They can't be made or written.
        """
        await self._in_thread(lambda: self._prepare(kind), self._roots[kind])

    def _prepare(self, kind: Kind) -> None:
        ours = self._ours(kind)
        fs.make_folders(self._roots[kind])
        fs.make_folders(ours)
        for name, mode in (("parts", 0o700), ("staging", 0o700), ("locks", 0o755)):
            fs.make_folders(ours / name, mode)

    @asynccontextmanager
    async def lease(self, kind: Kind, name: str, waiting: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the right to work on an item or a part; for items it only saves work: the rename makes it right.

        Args:
            name: The item's folder, or the part's key.
            waiting: Called once where somebody else holds it.

        Raises:
            StoreError: There can't be a lock.
        """
        lock = filelock.FileLock(self._ours(kind) / "locks" / f"{name}.lock", thread_local=False)
        told = False
        while True:
            try:
                lock.acquire(blocking=False)
                break
            except filelock.Timeout:
                if not told:
                    waiting()
                    told = True
                await asyncio.sleep(_POLL)
            except OSError as error:
                raise fs.explain(error, self._roots[kind]) from error
        try:
            yield
        finally:
            lock.release()

    def staging(self, item: Item) -> Path:
        """A new private place to unpack the item into, on the same file system as its folder."""
        return self._ours(item.kind) / "staging" / uuid.uuid4().hex

    async def commit(self, item: Item, staged: Path, record: Record, files: list[File], started: str) -> Held:
        """Make the staged folder the item's, by one rename; who comes second accepts what is there.

        Args:
            staged: The complete folder, in `staging`; gone when this returns.
            started: When the work on the item began, as `now` writes it.

        Raises:
            StoreError: The folder can't be put in place; what was there before is there again.
        """
        return await self._in_thread(lambda: self._commit(item, staged, record, files, started), self._roots[item.kind])

    def _commit(self, item: Item, staged: Path, record: Record, files: list[File], started: str) -> Held:
        path = self.path(item)
        try:
            write_records(staged, record, files, started)
            aside = self._set_aside(item, path)
            try:
                fs.rename(staged, path)
            except OSError:
                if aside is not None:
                    fs.rename(aside, path)
                    aside = None
                raise
        except OSError:
            there = self._scan((item,)).get(item)
            if there is None:
                raise
            return there
        finally:
            fs.remove_tree(staged)
        fs.flush_folder(path.parent)
        if aside is not None:
            fs.remove_tree(aside)
        return Held(path, record)

    def _set_aside(self, item: Item, path: Path) -> Path | None:
        if not os.path.lexists(path) or item in self._scan((item,)):
            return None
        aside = self.staging(item)
        fs.rename(path, aside)
        return aside

    async def update_lists(self, held: Mapping[Item, Held]) -> None:
        """Add to the launcher's lists what they lack of these items.

        Raises:
            StoreError: A list can't be written.
        """

        def update() -> None:
            for kind, root in self._roots.items():
                records = [(item, entry.record) for item, entry in held.items() if item.kind == kind]
                if records:
                    index.merge(root / _INDEX[kind], self._ours(kind) / "locks" / "lists.lock", records)

        await self._in_thread(update, self._roots["addon"])

    @staticmethod
    async def _in_thread(work: Callable[[], T], path: Path) -> T:
        try:
            return await in_thread(work)
        except OSError as error:
            raise fs.explain(error, path) from error


def _check_folder(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise StoreError(f"The store's folder {root} is a file.", "Choose another one with --storage-dir.")
