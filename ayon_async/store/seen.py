"""The SHA-256 that an archive had when it was first seen: the same addon and version must stay the same bytes.

Where the server attests nothing this is all there is against an archive that is exchanged in silence. It stays when
the item's folder goes; one small file for each server and item, so that nobody has to wait for anybody.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.store.layout import Root

FORMAT = 1


class Seen(msgspec.Struct, frozen=True):
    """One archive at its first sight; everything but the digest is for people who look into the file.

    Attributes:
        sha256: Of the archive.
        size: In bytes.
        server: URL of the AYON server that named it.
        name: Of the item.
        version: Of the item.
        first: When it was seen.
        format: Of the file; changes only add.
    """

    sha256: str
    size: int
    server: str
    name: str
    version: str | None
    first: datetime
    format: int = FORMAT


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_DECODER = msgspec.json.Decoder(Seen)


def _file(root: Root, server: str, item: Item) -> Path:
    text = "\n".join((server, item.kind, item.name, item.version or ""))
    return root.seen / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"


def read(root: Root, server: str, item: Item) -> Seen | None:
    """What was seen of the item, or None where that is nothing."""
    try:
        return _DECODER.decode(fs.read(_file(root, server, item)))
    except (OSError, ValueError):  # damaged: as good as never seen
        return None


def remember(root: Root, server: str, item: Item, sha256: str, size: int, *, anew: bool) -> None:
    """Remember an archive that is verified.

    Args:
        anew: Whether it is right although another one was seen first.

    Raises:
        OSError: It can't be written.
    """
    known = read(root, server, item)
    if known is not None and (not anew or known.sha256 == sha256):
        return
    fs.make_folders(root.seen)
    content = Seen(sha256, size, server, item.name, item.version, datetime.now(UTC))
    fs.write_atomic(_file(root, server, item), msgspec.json.encode(content), flushed=False)
