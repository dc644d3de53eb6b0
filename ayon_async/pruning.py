"""Which installed versions nobody needs any more, and how they go; `decide` is pure, `prune` acts on it.

What `decide` never lets go, whatever the server says: the last good bundle, the bundles that were in its place before,
what a process is using, and what was installed or found in use a short while ago.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from ayon_async import fs, model
from ayon_async.errors import AyonAsyncError, StoreError, UsageError
from ayon_async.item import Item
from ayon_async.report import Kind
from ayon_async.semver import sort_key
from ayon_async.server import AyonServer
from ayon_async.store import Store
from ayon_async.store.history import CONFIRM_EVERY, History, State, confirmations
from ayon_async.store.listing import Installed
from ayon_async.store.tidy import WEEK
from ayon_async.threads import in_thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go.

    Attributes:
        keep: All but so many newest versions of each addon and package; None for what no bundle on the server uses.
        keep_previous: Bundles to keep of those that were in the last good one's place before it.
        min_age: For how long to keep what was installed, or found in use by a sync.
    """

    keep: int | None = None
    keep_previous: int = 1
    min_age: timedelta = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Needs:
    """Who needs what.

    Attributes:
        server: URL of the server that was asked.
        used: Items of its bundles, each with a bundle's name; None where it was not asked.
        histories: What the store held and when.
        in_use: Folders that processes are using, each with a process.
        now: In UTC.
    """

    server: str | None
    used: Mapping[Item, str] | None
    histories: Sequence[History]
    in_use: Mapping[Path, str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Pruned:
    """What becomes of one item, or of something that a killed run left behind.

    Attributes:
        item: The item; None for a leftover.
        path: Its folder or file.
        state: It stays, may go, is gone, or could not be removed.
        reason: Why it stays, or an empty string.
        size: Bytes that its files take, where it does not stay.
        error: Why it could not be removed, or None.
    """

    item: Item | None
    path: Path
    state: Literal["kept", "removable", "removed", "failed"]
    reason: str = ""
    size: int = 0
    error: AyonAsyncError | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry as it stands in a JSON report."""
        return {
            "kind": "leftover" if self.item is None else self.item.kind,
            "name": None if self.item is None else self.item.name,
            "version": None if self.item is None else self.item.version,
            "path": str(self.path),
            "state": self.state,
            "reason": self.reason,
            "size": self.size,
            "error": None if self.error is None else self.error.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What may go, or went.

    Attributes:
        server: URL of the server that was asked, or None.
        items: Everything that is installed, then what was left behind.
        removed: Whether it was to be removed, and not only listed.
        seconds: How long it took.
        warnings: What a person should know.
    """

    server: str | None
    items: tuple[Pruned, ...]
    removed: bool
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def bytes_freed(self) -> int:
        """Bytes that are free now, or that would be."""
        return sum(entry.size for entry in self.items if entry.state in ("removable", "removed"))

    @property
    def exit_code(self) -> int:
        """1 where something could not be removed, else 0."""
        return int(any(entry.state == "failed" for entry in self.items))

    def to_dict(self) -> dict[str, Any]:
        """The report as the JSON document that ``--json`` prints."""
        return {
            "ok": self.exit_code == 0,
            "server": self.server,
            "removed": self.removed,
            "bytes_freed": self.bytes_freed,
            "seconds": round(self.seconds, 3),
            "items": [entry.to_dict() for entry in self.items],
            "warnings": list(self.warnings),
            "error": None,
        }


# --- deciding -------------------------------------------------------------------------------------------------------


def used_items(bundles: model.Bundles) -> dict[Item, str]:
    """The items of every bundle that somebody may be given: production, staging, developers' and projects'."""
    used: dict[Item, str] = {}
    for bundle in bundles.bundles:
        has_role = (
            bundle.is_production
            or bundle.is_staging
            or bundle.is_dev
            or bundle.is_project
            or bundle.name in (bundles.production_bundle, bundles.staging_bundle)
        )
        if bundle.is_archived or not has_role:
            continue
        items = [Item("addon", name, version) for name, version in bundle.addons.items() if version]
        files = (bundle.dependency_packages or {}).values()
        items += [Item("dependency_package", file, None) for file in files if file]
        used |= {item: bundle.name for item in items if item not in used}
    return used


def decide(entries: Sequence[Installed], rules: Rules, needs: Needs) -> dict[Path, str]:
    """Why each item has to stay, by its folder; what is left out may go."""
    used = _by_folder((needs.used or {}).items())
    good = _by_folder(_good(needs.histories, rules.keep_previous))
    confirmed = _by_folder(confirmations(needs.histories).items())
    newest = _newest(entries, rules.keep) if rules.keep is not None else frozenset()
    # A sync that finds nothing to do notes that only once in a while.
    min_age = rules.min_age + CONFIRM_EVERY if rules.min_age else rules.min_age

    def reason(entry: Installed) -> str:
        folder, server = (entry.item.kind, entry.path.name), entry.record.server
        if entry.path in newest:
            return "newest" if rules.keep == 1 else f"among the newest {rules.keep}"
        if rules.keep is None and folder in used:
            return f"used by the bundle {used[folder]}"
        if rules.keep is None and server not in (None, needs.server):
            return f"of another server, {server}"
        if folder in good:
            return good[folder]
        if entry.path in needs.in_use:
            return f"used by process {needs.in_use[entry.path]}"
        when = max(entry.when, confirmed.get(folder, entry.when))
        return f"installed or in use on {when.astimezone():%Y-%m-%d}" if needs.now - when < min_age else ""

    reasons = {entry.path: reason(entry) for entry in entries}
    return {path: why for path, why in reasons.items() if why}


def _by_folder(told: Iterable[tuple[Item, T]]) -> dict[tuple[Kind, str], T]:
    """What is told of items, by the folders that they may lie in: a folder alone does not always tell its item."""
    found = {}
    for item, what in told:
        found[item.kind, item.folder] = what
        if item.kind == "dependency_package":  # newer launchers leave out the ending
            found[item.kind, Path(item.folder).with_suffix("").name] = what
    return found


def _good(histories: Sequence[History], previous: int) -> Iterable[tuple[Item, str]]:
    """Items of the last good bundles and of those before them, each with the reason to keep it.

    Roles, such as production, count always. A bundle that was once asked for by its name counts while it is the last
    one that was good of its server: else every trial would stay for ever.
    """
    latest: dict[str, History] = {}
    for history in sorted(histories, key=lambda history: history.states[0].confirmed):
        latest[history.key.server] = history
    counted = [history for history in histories if not history.key.is_named or history is latest[history.key.server]]
    for history in counted:
        for state in _previous(history.states, previous):
            yield from ((item, f"of the bundle {state.bundle}, which was good before") for item in state.on_disk)
    for history in counted:
        state = history.states[0]
        yield from ((item, f"of the last good bundle {state.bundle}") for item in state.on_disk)


def _previous(states: Sequence[State], count: int) -> list[State]:
    """What to go back to: the states before the newest, and other bundles before it, so many of each."""
    others: dict[str, State] = {}
    for state in states[1:]:
        if state.bundle != states[0].bundle:
            others.setdefault(state.bundle, state)
    return [*states[1 : 1 + count], *list(others.values())[:count]]


def _newest(entries: Sequence[Installed], count: int) -> frozenset[Path]:
    """Folders of the newest versions of each addon, and of packages whose names differ only in numbers."""
    families: defaultdict[tuple[str, str], list[Installed]] = defaultdict(list)
    for entry in entries:
        item = entry.item
        name = item.name if item.version is not None else re.sub(r"\d+", "0", item.name)
        families[item.kind, name].append(entry)
    kept = set()
    for family in families.values():
        family.sort(key=lambda entry: sort_key(entry.item.version or entry.item.name), reverse=True)
        kept |= {entry.path for entry in family[:count]}
    return frozenset(kept)


# --- acting ---------------------------------------------------------------------------------------------------------


async def prune(store: Store, server: AyonServer | None, rules: Rules, *, remove: bool = False) -> PruneReport:
    """Find out what may go, and remove it.

    Args:
        store: Where to look.
        server: Whose bundles count, inside its ``async with`` block; not asked where the rules keep the newest.
        rules: What may go.
        remove: Remove it; else only say what would be removed.

    Raises:
        ServerError, AccessDenied: The server gives no answer, or does not let us.
        StoreError: The store can't be used.
        UsageError: Neither a server nor a number tells what is needed.
    """
    if server is None and rules.keep is None:
        raise UsageError("Without a server nobody knows what is needed.", "Say how many versions to keep.")
    started = time.monotonic()
    await store.check()
    used = used_items(await server.bundles()) if server is not None and rules.keep is None else None
    entries, histories, in_use = await store.installed(), await store.memory.histories(), await store.users()
    warnings = () if in_use is not None else ("Whether processes use something can't be seen on this system.",)
    url = server.url if server is not None else None
    kept = decide(entries, rules, Needs(url, used, histories, in_use or {}, datetime.now(UTC)))
    found = [await _found(entry, kept.get(entry.path, "")) for entry in entries]
    if remove:
        found = [
            await _removed(store, entry, pruned) if pruned.state == "removable" else pruned
            for entry, pruned in zip(entries, found, strict=True)
        ]
    age = min(rules.min_age.total_seconds(), WEEK)
    left = [Pruned(None, path, "removable", size=await _size(path)) for path in await store.leftovers(age)]
    if remove:
        await store.sweep(age=age)
        there = set(await store.leftovers(age))
        busy = "somebody works on it"
        left = [
            replace(one, state="kept", reason=busy) if one.path in there else replace(one, state="removed")
            for one in left
        ]
    return PruneReport(url, (*found, *left), remove, time.monotonic() - started, warnings)


async def _found(entry: Installed, reason: str) -> Pruned:
    if reason:
        return Pruned(entry.item, entry.path, "kept", reason)
    return Pruned(entry.item, entry.path, "removable", size=await _size(entry.path))


async def _removed(store: Store, entry: Installed, pruned: Pruned) -> Pruned:
    try:
        gone = await store.remove(entry)
    except StoreError as error:
        return replace(pruned, state="failed", error=error)
    return replace(pruned, state="removed") if gone else replace(pruned, state="kept", reason="somebody works on it")


async def _size(path: Path) -> int:
    """Bytes of the files in a folder, or of a file; 0 where it is gone by now."""

    def measure() -> int:
        text, total = fs.long_path(path), 0
        with contextlib.suppress(FileNotFoundError):  # somebody else removes it just now
            total = 0 if os.path.isdir(text) else os.lstat(text).st_size  # noqa: PTH112 - long paths
            for folder, _, names in os.walk(text):
                total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)  # noqa: PTH118
        return total

    return await in_thread(measure)
