"""What is on disk: a folder for each item, with its record inside, made visible by one rename.

The layout is the official launcher's, so that either finds what the other installed; `layout` says where things lie,
`record` what they say of themselves, `staging` how they get there, `lease` who may work on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ayon_async import fs
from ayon_async.disk_error import explain
from ayon_async.flushing import Flush, Steps
from ayon_async.item import Item
from ayon_async.limits import Limits
from ayon_async.report import Kind
from ayon_async.store import ground, guard, index, nearby, processes, staging, tidy
from ayon_async.store.ground import on_disk
from ayon_async.store.guard import Need, Room
from ayon_async.store.held import Held, held
from ayon_async.store.layout import Root, roots_of
from ayon_async.store.lease import Do, Holder, Lease, Leases
from ayon_async.store.listing import Installed, add_to_list, installed
from ayon_async.store.memory import Memory
from ayon_async.store.record import (
    File,
    Progress,
    Record,
    now,
    read_progress,
    recording,
    write_records,
    write_validator,
)
from ayon_async.threads import in_thread

if TYPE_CHECKING:
    from ayon_async.store import verify

__all__ = ["File", "Found", "Held", "Need", "Progress", "Record", "Store", "now"]

Found = tuple[Held | None, tuple[Path, Record] | None]
"""What there is of an item: in its folder, and as a complete staged folder that a killed run left."""
MOVING_SECONDS = 20.0
"""How long the launcher waits for another launcher that does not go on; so do we."""
_POLL = 0.2


class Store:
    """The folders that addons and dependency packages live in.

    Args:
        addons: Holds a folder for each addon version.
        dependencies: Holds a folder for each dependency package.
        owner: User id that may own the folders besides this user and root.
        trusted: Whether folders that other users could write are used all the same.
        group_writable: Whether what is installed may be written by its group.
        also: Folders of other stores, each laid out as the launcher's, that are only read: what they have need not be
            fetched.
        in_place: Whether that is used where it is, and not copied.
        limits: What is refused of an archive as too much.

    Attributes:
        memory: What it remembers besides the items.
        group_writable, in_place, limits: As given.
    """

    def __init__(
        self,
        addons: Path,
        dependencies: Path,
        *,
        owner: int | None = None,
        trusted: bool = False,
        group_writable: bool = False,
        also: Iterable[Path] = (),
        in_place: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._roots = roots_of(addons, dependencies)
        self.memory = Memory(self._roots, self.prepare)
        self._holder = Holder()
        self._leases: dict[Kind, Leases] = {}
        self._owner = owner
        self._trusted = trusted
        self.group_writable = group_writable
        self._file_mode = 0o664 if group_writable else 0o644
        self._also = tuple(roots_of(path / "addons", path / "dependency_packages") for path in also)
        self.in_place = in_place
        self.limits = limits

    @classmethod
    def at(cls, storage_dir: Path | str) -> Store:
        """The store in one folder, laid out as the launcher's."""
        root = Path(storage_dir)
        return cls(root / "addons", root / "dependency_packages")

    def root(self, kind: Kind) -> Root:
        """The folder that items of this kind lie in."""
        return self._roots[kind]

    def path(self, item: Item) -> Path:
        """The item's own folder, whether it is there or not."""
        return self._roots[item.kind].item(item)

    # --- what is there ----------------------------------------------------------------------------------------------

    async def check(self) -> None:
        """Make sure that the folders are folders, and that no other user could have filled them.

        Raises:
            StoreError: They are not; the hint says how to mend it.
        """
        check = functools.partial(guard.check, self._roots, self._owner, trusted=self._trusted)
        await on_disk(self._roots["addon"], lambda: check(group_writable=self.group_writable))

    async def held(self, items: Iterable[Item]) -> dict[Item, Held]:
        """Those of the items that are completely on disk."""
        return await in_thread(held, self._roots, tuple(items))

    async def nearby(self, items: Iterable[Item]) -> tuple[dict[Item, Held], list[str]]:
        """Those of the items that another store has completely, the first one that does.

        Returns:
            Them, and a sentence for each of the stores that can't be looked in.
        """
        check = functools.partial(guard.check, owner=self._owner, trusted=self._trusted)
        return await nearby.find(self._also, tuple(items), check)

    async def installed(self) -> tuple[Installed, ...]:
        """Everything that was installed here, whatever bundle it belongs to.

        Raises:
            StoreError: It can't be read.
        """
        return await on_disk(self._roots["addon"], lambda: installed(self._roots.values()))

    async def verify(
        self, *, quick: bool = False, progress: verify.Watcher | None = None
    ) -> tuple[verify.Checked, ...]:
        """Compare everything that was installed with its inventory; changes nothing.

        Args:
            quick: Read only files that were written to since; else sizes are enough.
            progress: Told in the loop's own thread how far it is, at most ten times a second.

        Raises:
            StoreError: The store can't be read.
        """
        from ayon_async.store import verify  # with what it needs it is a tenth of a run that has nothing to do

        entries, stop = await self.installed(), threading.Event()
        tell = asyncio.get_running_loop().call_soon_threadsafe

        def told(state: verify.Progress) -> None:
            if progress is not None:
                tell(progress, state)

        def work() -> tuple[verify.Checked, ...]:
            return verify.verify(entries, quick=quick, on_progress=told, stop=stop)

        return await in_thread(work, stop=stop)

    async def room(self, needs: Iterable[Need], *, flushed: bool = False) -> tuple[Room, ...]:
        """Whether there is room for what is missing, on each file system; see `guard.room`."""
        pairs = [(self._roots[need.item.kind], need) for need in needs]
        return await in_thread(functools.partial(guard.room, pairs, flushed=flushed))

    async def is_writable(self) -> bool:
        """Whether this user may change the store, as far as the system says without a try."""

        def look() -> bool:
            effective = os.access in os.supports_effective_ids
            folders = (root.path for root in self._roots.values() if root.path.exists())
            return all(os.access(path, os.W_OK, effective_ids=effective) for path in folders)

        return await in_thread(look)

    # --- changing it ------------------------------------------------------------------------------------------------

    async def prepare(self, kind: Kind) -> None:
        """Make the folders for items of this kind.

        Raises:
            StoreError: They can't be made or written, or belong to a newer program.
        """
        if kind in self._leases:
            return
        root = self._roots[kind]
        make = functools.partial(ground.lay, root, self._holder, group_writable=self.group_writable)
        self._leases.setdefault(kind, await on_disk(root, make))  # several items may be first at once

    def lease(
        self,
        kind: Kind,
        name: str,
        waiting: Callable[[], None],
        first: Callable[[Lease], None] | None = None,
        do: Do = in_thread,
    ) -> AbstractAsyncContextManager[Lease]:
        """Hold the right to work on an item or a part, in a prepared folder.

        Args:
            name: The item's folder, or the part's key.
            waiting: Called once where somebody else holds it.
            first: Work to begin with, done in the thread that took it.
            do: Has it taken, and given back, in a thread.

        Raises:
            StoreError: There can't be a lease.
        """
        return self._leases[kind].hold(name, waiting, first, do)

    def lease_now(self, kind: Kind, name: str) -> AbstractContextManager[bool]:
        """Hold that right for a moment, if nobody else does; blocks, so call it in a thread."""
        return self._leases[kind].hold_now(name)

    def look(self, item: Item, stopped: Progress | None = None) -> Found | Progress:
        """What there is of an item, or how far an official launcher is that fills its folder.

        Removes incomplete staged folders. Blocks, so call it in a thread, and while holding the item's lease.

        Args:
            stopped: How far a launcher was that does not go on.

        Raises:
            OSError: It can't be read, or a folder not be removed.
        """
        progress = read_progress(self.path(item))
        if progress is not None and progress.state == "moving" and progress != stopped:
            return progress
        return held(self._roots, (item,)).get(item), staging.clear(self._roots[item.kind], item)

    async def settled(self, item: Item, found: Found | Progress) -> Found:
        """What there is of an item, once no official launcher fills its folder any more, or goes on with it.

        Args:
            found: By the first look. Hold the item's lease since then.

        Raises:
            StoreError: See `look`.
        """
        seen: Progress | None = None
        since = time.monotonic()
        while isinstance(found, Progress):
            if found != seen:
                seen, since = found, time.monotonic()
            await asyncio.sleep(_POLL)
            stopped = seen if time.monotonic() - since >= MOVING_SECONDS else None
            found = await on_disk(self._roots[item.kind], functools.partial(self.look, item, stopped))
        return found

    def staging(self, item: Item) -> Path:
        """A new private place to unpack the item into, on the same file system as its folder."""
        return staging.new(self._roots[item.kind], item)

    def sealing(
        self, item: Item, staged: Path, record: Record, files: list[File], started: str, *, flushed: bool
    ) -> Steps[None]:
        """Write the records into a staged folder: from then on it is complete, though not in its place.

        Blocks, so do it in a thread.

        Args:
            started: When the work on the item began, as `now` writes it.
            flushed: Whether what is in it is on the device already.

        Raises:
            StoreError: They can't be written; the folder, which is of no use without them, is gone.
        """
        root = self._roots[item.kind]
        try:
            if flushed:
                write_records(staged, record, files, started, self._file_mode)
            else:
                yield from recording(staged, root.path, record, files, started, self._file_mode)
        except OSError as error:
            with contextlib.suppress(OSError):  # the next run sweeps it
                fs.remove_tree(staged)
            raise explain(error, root.path) from error

    def committing(
        self,
        item: Item,
        staged: Path,
        lease: Lease,
        remember: Callable[[Path], Record],
        stop: threading.Event,
        replaces: Path | None = None,
    ) -> Steps[Held]:
        """Make a sealed folder the item's, by one rename; who comes second accepts what is there.

        Blocks, so do it in a thread.

        Args:
            lease: The item's; given back.
            remember: Called first with the staged folder; returns its record.
            stop: Ends the waiting for a rename that another program blocks.
            replaces: A complete folder that has to give way.

        Raises:
            StoreError: The folder can't be put in place; what was there before is there again.
        """
        root = self._roots[item.kind]
        try:
            done = Held(root.item(item), remember(staged))
            try:
                staging.put_in_place(root, item, staged, stop, replaces)
            except OSError:
                there = held(self._roots, (item,)).get(item) if replaces is None else None
                if there is None:
                    raise  # what is staged is complete: the next run only has to rename it
                fs.remove_tree(staged)
                done = there
            with contextlib.suppress(OSError):
                # It is in its place, and complete: should the device lose just the name, the next run gives it anew.
                yield Flush(root.path, root.flush)
            lease.give_back()
        except OSError as error:
            raise explain(error, root.path) from error
        return done

    async def confirm_source(self, held: Held, etag: str | None, modified: str | None) -> None:
        """Note what now tells the state of the archive that an item was unpacked from.

        Raises:
            StoreError: It can't be written.
        """

        def note() -> None:
            with contextlib.suppress(ValueError):  # a damaged record is for `verify` to tell
                write_validator(held.path, etag, modified)

        await on_disk(self._roots["addon"], note)

    async def replace_waiting(self) -> tuple[str, ...]:
        """Try again what could not be replaced because it was in use; returns a sentence for each that still is."""
        sentences = []
        for root in self._roots.values():
            for name in await in_thread(staging.waiting, root):
                await self.prepare(root.kind)
                if not await on_disk(root, functools.partial(self._replace_waiting, root, name)):
                    sentences.append(f"{root.path / name} is still in use: its new content waits for the next start.")
        return tuple(sentences)

    def _replace_waiting(self, root: Root, name: str) -> bool:
        with self._leases[root.kind].hold_now(name) as mine:
            return mine and staging.put_waiting_in_place(root, name)

    async def discard(self, staged: Path) -> None:
        """Remove a staged folder; where that can't be done now, a later run sweeps it."""

        def remove() -> None:
            with contextlib.suppress(OSError):  # as on Windows, while a virus scanner has a file in it open
                fs.remove_tree(staged)

        await in_thread(remove)

    async def remove(self, entry: Installed) -> bool:
        """Remove an item that was installed, and take it off the launcher's list.

        Returns:
            False where somebody works on it just now.

        Raises:
            StoreError: It can't be removed, and is there as before.
        """
        root, item = self._roots[entry.item.kind], entry.item
        await self.prepare(root.kind)

        def take_away() -> bool:
            with self._leases[root.kind].hold_now(item.folder) as mine:
                if mine:
                    staging.take_away(root, item, entry.path)
                return mine

        removed = await on_disk(root, take_away)
        if removed:
            async with self.lease(root.kind, ".lists", lambda: None):
                await on_disk(root, lambda: index.drop(root.list, item))
        return removed

    async def users(self) -> dict[Path, str] | None:
        """Folders of items that processes of this user are using; see `processes.in_use`."""
        return await in_thread(processes.in_use, tuple(self._roots.values()))

    async def leftovers(self, age: float) -> tuple[Path, ...]:
        """What `sweep` would remove if nobody worked on it: staged folders, and parts of this age in seconds."""

        def find() -> tuple[Path, ...]:
            found = ((root, tidy.find(root, age)) for root in self._roots.values())
            return tuple(path for root, leftovers in found for path in (*staging.staged(root), *leftovers.parts))

        return await in_thread(find)

    async def update_lists(self, held: Mapping[Item, Held]) -> None:
        """Add to the launcher's lists what they lack of these items.

        Raises:
            StoreError: A list can't be written.
        """
        for root in self._roots.values():
            here = {item: entry for item, entry in held.items() if entry.path.parent == root.path}
            lacks = functools.partial(index.lacks, root.list, list(here))
            if await on_disk(root, lacks):
                await self.prepare(root.kind)
                async with self.lease(root.kind, ".lists", lambda: None):
                    await on_disk(root, functools.partial(add_to_list, root, here, self._file_mode))

    async def sweep(self, keep: Set[str] = frozenset(), age: float = tidy.WEEK, done: Set[str] = frozenset()) -> None:
        """Remove what killed runs left behind and parts that nobody went on with for long.

        What somebody works on just now is left alone.

        Args:
            keep: Names of items' folders that are still wanted: what is staged for them may be of use.
            age: Seconds after which nobody goes on with a part.
            done: Names of the folders of items that are in their places, and need no parts.

        Raises:
            StoreError: Something can't be removed.
        """
        for root in self._roots.values():
            leftovers = await in_thread(tidy.find, root, age, done)
            if leftovers:
                await self.prepare(root.kind)
                leases = self._leases[root.kind]
                await on_disk(root, functools.partial(tidy.sweep, root, leases, leftovers, keep))
