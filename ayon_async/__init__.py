"""Keep a machine's AYON addons equal to what the studio's AYON server says they should be.

async with AyonServer("https://ayon.example.com", api_key=key) as server:
    report = await sync(server, Store.at("/opt/ayon"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ayon_async.version import __version__

if TYPE_CHECKING:
    from ayon_async.choice import BundleChoice
    from ayon_async.errors import AyonAsyncError
    from ayon_async.lockfile import Lock, read_lock, write_lock
    from ayon_async.locking import make_lock
    from ayon_async.progress import ItemProgress, Phase, Snapshot
    from ayon_async.pruning import PruneReport, Rules, prune
    from ayon_async.repairing import repair
    from ayon_async.report import ItemReport, SyncReport
    from ayon_async.server import AyonServer
    from ayon_async.store import Store
    from ayon_async.syncing import status, sync

_HOMES = {
    "AyonAsyncError": "errors",
    "AyonServer": "server",
    "BundleChoice": "choice",
    "ItemProgress": "progress",
    "ItemReport": "report",
    "Lock": "lockfile",
    "Phase": "progress",
    "PruneReport": "pruning",
    "Rules": "pruning",
    "Snapshot": "progress",
    "Store": "store",
    "SyncReport": "report",
    "make_lock": "locking",
    "prune": "pruning",
    "read_lock": "lockfile",
    "repair": "repairing",
    "status": "syncing",
    "sync": "syncing",
    "write_lock": "lockfile",
}

__all__ = [
    "AyonAsyncError",
    "AyonServer",
    "BundleChoice",
    "ItemProgress",
    "ItemReport",
    "Lock",
    "Phase",
    "PruneReport",
    "Rules",
    "Snapshot",
    "Store",
    "SyncReport",
    "__version__",
    "make_lock",
    "prune",
    "read_lock",
    "repair",
    "status",
    "sync",
    "write_lock",
]


def __getattr__(name: str) -> object:
    """Import on first use: ``ayon-async --version`` must not wait for an HTTP library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
