"""Other stores, which are only read: what they have need not be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ayon_async.disk_error import explain
from ayon_async.errors import StoreError
from ayon_async.item import Item
from ayon_async.store.held import Held, held
from ayon_async.store.layout import Roots
from ayon_async.threads import abandonable

PATIENCE = 5.0
"""Seconds to wait for another store, which may lie on a mount that never answers."""


async def find(
    stores: Iterable[Roots], items: tuple[Item, ...], check: Callable[[Roots], None]
) -> tuple[dict[Item, Held], list[str]]:
    """Those of the items that another store has completely, the first one that does.

    Args:
        check: Raises `StoreError` where a store is not to be trusted.

    Returns:
        Them, and a sentence for each of the stores that can't be looked in.
    """
    found: dict[Item, Held] = {}
    warnings = []
    for roots in stores:
        rest = tuple(item for item in items if item not in found)
        try:
            found |= await _searched(roots, rest, check)
        except StoreError as error:
            warnings.append(f"{error.message} That store is not looked in.")
    return found, warnings


async def _searched(roots: Roots, items: tuple[Item, ...], check: Callable[[Roots], None]) -> dict[Item, Held]:
    where = roots["addon"].path.parent

    def search() -> dict[Item, Held]:
        if not any(root.path.is_dir() for root in roots.values()):
            raise StoreError(f"There is no store in {where}.", "Check that its file system is mounted.")
        check(roots)
        return held(roots, items)

    try:
        return await abandonable(search, PATIENCE)
    except TimeoutError as error:
        raise StoreError(f"The store {where} does not answer.", "Check its file system.") from error
    except OSError as error:
        raise explain(error, where) from error
