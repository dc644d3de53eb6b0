"""The lock file: exactly which bytes a bundle is, item by item, so that any machine can have the same ones."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import msgspec

from ayon_async import fs
from ayon_async.errors import StoreError, UsageError
from ayon_async.item import Item, folder_problem
from ayon_async.report import Kind, Variant

FORMAT = 1


class LockedItem(msgspec.Struct, frozen=True):
    """One item and the one archive that it may be unpacked from.

    Attributes:
        kind: Addon or dependency package.
        name: The addon's name, or the package's file name.
        version: The addon's version; None for a dependency package.
        sha256: Of the archive, in lower-case hexadecimal.
        size: Of the archive, in bytes.
    """

    kind: Kind
    name: str
    version: str | None
    sha256: str
    size: int

    @property
    def item(self) -> Item:
        """The item."""
        return Item(self.kind, self.name, self.version)


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock file's content.

    Attributes:
        format: Of the file. A newer one is refused: what a lock says must not be half understood.
        server: URL of the AYON server that the archives came from.
        bundle: The bundle's name; a project's where one was merged over the studio's.
        studio_bundle: The studio bundle's name.
        variant: How it was chosen, as in a report.
        is_dev: Whether it is a developer's.
        platform: Whose dependency package: `windows`, `linux` or `darwin`.
        created: When, in UTC.
        items: Everything that has to be on disk.
    """

    format: int
    server: str
    bundle: str
    studio_bundle: str
    variant: Variant
    is_dev: bool
    platform: str
    created: datetime
    items: tuple[LockedItem, ...]

    @property
    def by_item(self) -> dict[Item, LockedItem]:
        """The entries by their items."""
        return {entry.item: entry for entry in self.items}


class _Head(msgspec.Struct, frozen=True):
    format: int


_HINT = "Make it again with 'ayon-async lock'."


def read_lock(path: Path) -> Lock:
    """The lock file at this path.

    Raises:
        UsageError: It can't be read, or is no lock file that this program understands.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The lock file {path} can't be read: {error.strerror or error}.", "Check the path."
        ) from error
    try:
        if msgspec.json.decode(data, type=_Head).format > FORMAT:
            raise UsageError(f"The lock file {path} is of a newer format.", "Update ayon-async.")
        lock = msgspec.json.decode(data, type=Lock)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no lock file of ayon-async: {error}", _HINT) from error
    for entry in lock.items:
        problem = _problem(entry)
        if problem:
            raise UsageError(f"The lock file {path} can't be used: {entry.item.label}: {problem}.", _HINT)
    if len({(entry.kind, entry.item.folder.casefold()) for entry in lock.items}) < len(lock.items):
        raise UsageError(f"The lock file {path} can't be used: two of its items have the same folder.", _HINT)
    return lock


def _problem(entry: LockedItem) -> str | None:
    if not re.fullmatch("[0-9a-f]{64}", entry.sha256):
        return "its sha256 is no SHA-256 in lower-case hexadecimal"
    if entry.size < 0:
        return "its size is below zero"
    if (entry.version is None) != (entry.kind == "dependency_package"):
        return "an addon has a version, and a dependency package has none"
    folder = folder_problem(entry.item.folder)
    return f"its folder's name has {folder}" if folder else None


def write_lock(path: Path, lock: Lock) -> None:
    """Write a lock file, in place of one that is there; into what is no file, such as ``/dev/stdout``.

    Raises:
        StoreError: It can't be written.
    """
    text = msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n"
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text)
        else:
            fs.write_atomic(path, text)
    except OSError as error:
        raise StoreError(
            f"The lock file {path} can't be written: {error.strerror or error}.", "Check the path."
        ) from error
