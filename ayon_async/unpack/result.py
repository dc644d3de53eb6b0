"""What an archive was unpacked to: the inventory that `verify` compares a store with later."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A regular file that was written; garbage collection has not to look at each of a hundred thousand.

    Attributes:
        path: Where it lies in the destination, with ``/`` between the components.
        size: Its length in bytes.
        crc32: The CRC-32 of its content: in a zip the one that the archive gives and that was checked, else computed
            while writing.
    """

    path: str
    size: int
    crc32: int


class Link(msgspec.Struct, frozen=True):
    """A symbolic link that was made.

    Attributes:
        path: Where it lies in the destination, with ``/`` between the components.
        target: Where it points, relative to the folder that it lies in; always inside the destination.
    """

    path: str
    target: str


class Unpacked(msgspec.Struct, frozen=True):
    """All that was written.

    Attributes:
        members: The regular files, in the order in which they were written; copies in place of links among them.
        links: The symbolic links.
        content_checked: Whether the archive's own format has a checksum of the content, which then was right: true
            for a zip and for compressed tars, false for a plain tar (and for xz made without a check).
    """

    members: tuple[Member, ...]
    links: tuple[Link, ...]
    content_checked: bool
