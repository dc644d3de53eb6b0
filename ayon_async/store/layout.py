"""Where things lie in one of the store's two folders."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.report import Kind

_LISTS: dict[Kind, str] = {"addon": "addons.json", "dependency_package": "dependency.json"}


@dataclass(frozen=True)
class Root:
    """The folder that items of one kind lie in; everything that is only ours is in ``.ayon-async/`` inside it.

    Attributes:
        kind: Of the items.
        path: The folder, absolute.
    """

    kind: Kind
    path: Path

    @cached_property
    def ours(self) -> Path:
        """Everything that is only ours."""
        return self.path / ".ayon-async"

    @cached_property
    def parts(self) -> Path:
        """What has arrived of archives; private."""
        return self.ours / "parts"

    @cached_property
    def staging(self) -> Path:
        """Folders being filled, and such as were set aside; private."""
        return self.ours / "staging"

    @cached_property
    def locks(self) -> Path:
        """One file for each thing that somebody works or worked on."""
        return self.ours / "locks"

    @cached_property
    def marker(self) -> Path:
        """What kind of store this is."""
        return self.ours / "store.json"

    @cached_property
    def clientless(self) -> Path:
        """Addons that have nothing to install here."""
        return self.ours / "clientless.json"

    @cached_property
    def bundles(self) -> Path:
        """What was good and when, one file for each choice of a bundle; in the folder of the addons only."""
        return self.ours / "bundles"

    @cached_property
    def seen(self) -> Path:
        """The digests that archives had when they were first seen, one file each."""
        return self.ours / "seen"

    @cached_property
    def pending(self) -> Path:
        """Complete folders that could not replace the ones that are in use; private."""
        return self.ours / "pending"

    @cached_property
    def merges(self) -> Path:
        """What the server made of projects' bundles."""
        return self.ours / "merges.json"

    @cached_property
    def list(self) -> Path:
        """The launcher's list of what it installed."""
        return self.path / _LISTS[self.kind]

    def flush(self) -> None:
        """Put the names of what lies in the folder on the device.

        Raises:
            OSError: The device fails.
        """
        fs.flush_folder(self.path)

    def part(self, key: str) -> Path:
        """Where to collect an archive's bytes; the key tells one archive from another."""
        return self.parts / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.part"

    def part_lease(self, part: Path) -> str:
        """The name of the lease of a part; no item has one that begins like it."""
        return f".{part.stem}"

    def item(self, item: Item) -> Path:
        """The item's own folder."""
        return self.path / item.folder

    def places(self, item: Item) -> tuple[Path, ...]:
        """Where the item may be: newer launchers leave out the ending of a dependency package's name."""
        path = self.item(item)
        return (path,) if item.kind == "addon" or not path.suffix else (path, path.with_suffix(""))


Roots = Mapping[Kind, Root]
"""A store's two folders, by the kind of what lies in them."""


def roots_of(addons: Path, dependencies: Path) -> Roots:
    """The two folders of a store."""
    return {
        "addon": Root("addon", addons.absolute()),
        "dependency_package": Root("dependency_package", dependencies.absolute()),
    }
