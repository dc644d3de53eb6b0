"""An item: one thing that has to be on disk, and the name of its folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ayon_async.errors import AyonAsyncError
from ayon_async.report import ItemReport, Kind


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that has to be on disk.

    Attributes:
        kind: Addon or dependency package.
        name: The addon's name, or the package's file name.
        version: The addon's version; None for a dependency package.
    """

    kind: Kind
    name: str
    version: str | None

    @property
    def folder(self) -> str:
        """Name of its folder in the store."""
        return self.name if self.version is None else f"{self.name}_{self.version}"

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name if self.version is None else f"{self.name} {self.version}"

    def skipped(self, reason: str, path: Path | None = None) -> ItemReport:
        """The report of an item that has nothing to install."""
        return ItemReport(self.kind, self.name, self.version, "skipped", path=path, reason=reason)

    def failed(self, error: AyonAsyncError) -> ItemReport:
        """The report of an item that can't be installed."""
        return ItemReport(self.kind, self.name, self.version, "failed", error=error)


def _has_encoding(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_OURS = frozenset({"addons.json", "dependency.json"})


def folder_problem(name: str) -> str | None:
    """Why the name can't be one folder's name on every platform (a store can move), in words, or None if it can.

    >>> folder_problem("maya_1.2.0"), folder_problem("../maya_1.2.0")
    (None, 'a slash or backslash')
    """
    problems = (
        (not name, "an empty name"),
        (bool(set("/\\") & set(name)), "a slash or backslash"),
        (bool(set('<>:"|?*') & set(name)), 'one of < > : " | ? *'),
        (any(ord(char) < 32 or ord(char) == 127 for char in name), "a control character"),
        (any(0xD800 <= ord(char) <= 0xDFFF for char in name), "half a character (a lone surrogate)"),
        (name.startswith("."), "a dot at its start"),
        (name != name.rstrip(". "), "a dot or space at its end"),
        (bool(_DEVICES.fullmatch(name)), "a name that Windows keeps for a device"),
        (name.casefold() in _OURS, "the name of one of the store's own files"),
        (len(name.encode("utf-8", "replace")) > 200, "more than 200 bytes"),
        (not _has_encoding(name), "a character that this process can give no file (try PYTHONUTF8=1)"),
    )
    return next((words for problem, words in problems if problem), None)
