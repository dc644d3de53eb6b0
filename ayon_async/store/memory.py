"""What a store remembers besides the items: what was seen of servers and archives, and what it held and when.

None of it is believed against the folders, and all of it may be lost: the next runs learn it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from ayon_async.errors import StoreError
from ayon_async.item import Item
from ayon_async.report import Kind
from ayon_async.store import history, index, seen
from ayon_async.store.ground import on_disk
from ayon_async.store.history import History, State
from ayon_async.store.layout import Roots
from ayon_async.store.record import Record, read_record
from ayon_async.store.seen import Seen
from ayon_async.threads import in_thread


class Memory:
    """What one store remembers.

    Args:
        roots: Its folders by what lies in them.
        prepare: Makes one that is written to for the first time.
    """

    def __init__(self, roots: Roots, prepare: Callable[[Kind], Awaitable[None]]) -> None:
        self._roots = roots
        self._prepare = prepare

    async def clientless(self, server: str) -> frozenset[Item]:
        """Addons that this server was seen to have no client part of."""
        return await in_thread(index.read_clientless, self._roots["addon"].clientless, server)

    async def remember_clientless(self, server: str, has_client: Mapping[Item, bool]) -> None:
        """Remember what has no client part, so that the next run need not ask.

        Args:
            has_client: Addons of this server that were looked at just now; of others it is remembered as before.

        Raises:
            StoreError: It can't be written.
        """
        root, known = self._roots["addon"], await self.clientless(server)
        items = {item for item, has in has_client.items() if not has} | (known - has_client.keys())
        if items == known:
            return
        await self._prepare("addon")
        await on_disk(root, lambda: index.write_clientless(root.clientless, server, items))

    async def merged(self, server: str, key: str) -> dict[str, str] | None:
        """What this server made of a project's bundle, where it is remembered; see `resolve.merge_key`."""
        return await in_thread(index.read_merge, self._roots["addon"].merges, f"{server} {key}")

    async def remember_merged(self, server: str, key: str, versions: Mapping[str, str]) -> None:
        """Remember what this server made of a project's bundle, so that the next run need not ask.

        Raises:
            StoreError: It can't be written.
        """
        root = self._roots["addon"]
        await self._prepare("addon")
        await on_disk(root, lambda: index.write_merge(root.merges, f"{server} {key}", versions))

    async def histories(self) -> tuple[History, ...]:
        """What the store held and when, for every choice of a bundle."""
        return await in_thread(history.read_all, self._roots["addon"])

    async def last_good(self, key: history.Key) -> State | None:
        """The bundle to start from without the server, or None."""
        return await in_thread(history.last_good, self._roots["addon"], key)

    async def remember_good(self, key: history.Key, state: State) -> None:
        """Note a bundle that is completely here; writes nothing where there is nothing new to note.

        Raises:
            StoreError: It can't be written.
        """
        root = self._roots["addon"]
        updated = await in_thread(history.updated, root, key, state)
        if updated is not None:
            await self._prepare("addon")
            await on_disk(root, lambda: history.write(root, updated))

    async def seen(self, server: str, items: Iterable[Item]) -> dict[Item, Seen]:
        """The items' archives as they were first seen, of those that were."""

        def read() -> dict[Item, Seen]:
            found = ((item, seen.read(self._roots[item.kind], server, item)) for item in items)
            return {item: known for item, known in found if known is not None}

        return await in_thread(read)

    def remember_archive_of(self, staged: Path, server: str, item: Item, *, anew: bool) -> Record:
        """Remember the verified archive that a staged folder is from, if it came from this server; see `seen.remember`.

        Blocks, so call it in a thread.

        Returns:
            The folder's record.

        Raises:
            StoreError: The folder has no record any more.
            OSError: It can't be written.
        """
        record = read_record(staged)
        if record.sha256 is None or record.size is None:
            raise StoreError(f"{staged} was removed by somebody else before it was in its place.", "Sync again.")
        if record.server == server:
            seen.remember(self._roots[item.kind], server, item, record.sha256, record.size, anew=anew)
        return record
