"""An item: one thing that has to be on disk, and the name of its folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from ayon_async.errors import AyonAsyncError
from ayon_async.report import ItemReport, Kind


class Item(msgspec.Struct, frozen=True, cache_hash=True):
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


_OURS = frozenset({"addons.json", "dependency.json"})
_PROBLEMS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\A\Z", "an empty name"),
        (r"[/\\]", "a slash or backslash"),
        (r'[<>:"|?*]', 'one of < > : " | ? *'),
        (r"[\x00-\x1f\x7f]", "a control character"),
        (r"[\ud800-\udfff]", "half a character (a lone surrogate)"),
        (r"\A\.", "a dot at its start"),
        (r"[. ]\Z", "a dot or space at its end"),
        (r"(?i:\A(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?\Z)", "a name that Windows keeps for a device"),
    )
)


def folder_problem(name: str) -> str | None:
    """Why the name can't be one folder's name on every platform (a store can move), in words, or None if it can.

    >>> folder_problem("maya_1.2.0"), folder_problem("../maya_1.2.0")
    (None, 'a slash or backslash')
    """
    words = next((words for pattern, words in _PROBLEMS if pattern.search(name)), None)
    if words is not None:
        return words
    if name.casefold() in _OURS:
        return "the name of one of the store's own files"
    if len(name.encode()) > 200:
        return "more than 200 bytes"
    return None if _has_encoding(name) else "a character that this process can give no file (try PYTHONUTF8=1)"
