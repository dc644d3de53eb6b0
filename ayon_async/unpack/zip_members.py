"""Members of a zip, one by one: a member's header and descriptor say what the directory says, and its data is whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import msgspec

from ayon_async import deflate
from ayon_async.unpack import errors
from ayon_async.unpack.source import MIB, Meter, Source
from ayon_async.unpack.zip_directory import (
    DESCRIPTOR,
    ENCRYPTED,
    MASKED,
    STORED,
    STRONG,
    UTF8,
    Entry,
    parse_extra,
    read_zip64_numbers,
)

HEADER = struct.Struct("<4s5H3L2H")
_HEADER_MAGIC, _DESCRIPTOR_MAGIC = b"PK\3\4", b"PK\7\x08"
_LONGEST_DESCRIPTOR = 24
_LONGEST_HEADER = HEADER.size + 2 * 0xFFFF
AT_ONCE = 4 * MIB
"""Bytes of a member that is inflated in one go."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """A member, the clean path that it gets, and where its bytes end."""

    entry: Entry
    path: str
    end: int


class Reader:
    """Members' contents, from a window of about a MiB over the archive: most members are in it already.

    Members can be asked for in any order; each thread that works on an archive has a reader of its own.

    Attributes:
        until: Where what may be read ends.
    """

    def __init__(self, source: Source, meter: Meter) -> None:
        self._source = source
        self._meter = meter
        self.until = 0
        self._window = memoryview(b"")
        self._window_at = 0
        self._untold = 0

    def tell(self) -> None:
        """Tell how much was read of members that were inflated in one go."""
        self._meter.read(self._untold)
        self._untold = 0

    def content(self, span: Span) -> Iterable[bytes | memoryview]:
        """A member's content in pieces, as many bytes as declared, the CRC still to be checked.

        Raises:
            UnpackError: One of its subclasses; also while the pieces are taken.
        """
        entry, offset, size = span.entry, span.entry.offset, span.end - span.entry.offset
        at_once = size <= MIB and entry.size <= AT_ONCE
        view = self._view(offset, span.end if at_once else min(span.end, offset + _LONGEST_HEADER))
        start = _check_header(self._source.name, entry, view, size)
        end = start + entry.packed_size
        if end < size:
            _check_descriptor(self._source.name, entry, bytes(self._view(offset + end, span.end)))
        if at_once:
            self._meter.check()
            self._untold += size
            packed = view[start:end]
            return (packed,) if entry.method == STORED else (self._inflate(entry, packed),)
        start, end = offset + start, offset + end
        return self._stream_stored(start, end) if entry.method == STORED else self._stream_inflated(entry, start, end)

    def _view(self, start: int, end: int) -> memoryview:
        first = start - self._window_at
        if first < 0 or end - self._window_at > len(self._window):
            size = max(end - start, min(MIB, self.until - start))
            self._window = memoryview(self._source.read(start, size))
            self._window_at, first = start, 0
        return self._window[first : first + end - start]

    def _inflate(self, entry: Entry, packed: memoryview) -> bytes:
        if not packed and not entry.size:  # some programs write nothing at all for nothing
            return b""
        inflater = deflate.inflater(deflate.RAW)
        try:
            data = inflater.decompress(packed, entry.size + 1)  # one more than declared shows that there is more
        except deflate.Error as error:
            raise errors.DamagedArchive(self._source.name, f"can't be inflated: {error}", entry.name) from None
        self._check_end(entry, inflater, len(data))
        return data

    def _stream_stored(self, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, MIB):
            count = min(MIB, end - at)
            yield self._source.read(at, count)
            self._meter.read(count)

    def _stream_inflated(self, entry: Entry, start: int, end: int) -> Iterator[bytes]:
        inflater = deflate.inflater(deflate.RAW)
        produced = 0
        packed = b""
        while not inflater.eof and produced <= entry.size:
            self._meter.check()
            if not packed:
                packed = self._source.read(start, min(MIB, end - start))
                start += len(packed)
                self._meter.read(len(packed))
            try:
                data = inflater.decompress(packed, MIB)
            except deflate.Error as error:
                raise errors.DamagedArchive(self._source.name, f"can't be inflated: {error}", entry.name) from None
            if not data and not packed:
                break
            packed = inflater.unconsumed_tail
            produced += len(data)
            yield data
        self._check_end(entry, inflater, produced, unread=end - start)

    def _check_end(self, entry: Entry, inflater: deflate.Inflater, produced: int, unread: int = 0) -> None:
        name = entry.name
        if produced > entry.size:
            raise errors.LongerThanDeclared(self._source.name, f"is longer than its {entry.size:,} bytes", name)
        if not inflater.eof:
            raise errors.DamagedArchive(self._source.name, "ends in the middle of its compressed data", name)
        if produced < entry.size:
            problem = f"has {produced:,} bytes and should have {entry.size:,}"
            raise errors.SizeMismatch(self._source.name, problem, name)
        if inflater.unused_data or unread:
            raise errors.HiddenData(self._source.name, "has bytes behind the end of its compressed data", name)


def _check_header(archive: str, entry: Entry, header: memoryview, room: int) -> int:
    """Compare a member's own header with the directory; returns its length.

    Args:
        archive: What the caller calls the archive.
        entry: The member.
        header: The beginning of its span, at least the header where there is room for it.
        room: The length of its span.
    """
    magic, _, flags, method, _, _, crc, packed, size, name_size, extra_size = HEADER.unpack_from(header)
    length: int = HEADER.size + name_size + extra_size
    if magic != _HEADER_MAGIC:
        raise errors.HeaderMismatch(archive, "has no header where the directory says", entry.name)
    if flags & (ENCRYPTED | STRONG | MASKED):
        raise errors.EncryptedMember(archive, "is encrypted", entry.name)
    raw_name = bytes(header[HEADER.size : HEADER.size + name_size])
    if raw_name != entry.raw_name or ((flags ^ entry.flags) & UTF8 and not raw_name.isascii()):
        other = raw_name.decode("cp437")
        raise errors.HeaderMismatch(archive, f"is named {errors.quote(other)} in its own header", entry.name)
    if method != entry.method:
        raise errors.HeaderMismatch(archive, "is compressed in another way by its own header", entry.name)
    rest = room - length - entry.packed_size
    if rest < 0:
        raise errors.OverlappingMembers(archive, "shares bytes with the next member", entry.name)
    if extra_size:
        extra = parse_extra(archive, entry.name, bytes(header[length - extra_size : length]))
        size, packed = read_zip64_numbers(archive, entry.name, extra, (size, packed))
    own, listed = (crc, packed, size), (entry.crc32, entry.packed_size, entry.size)
    described = flags & DESCRIPTOR  # numbers may be 0 here: they follow the data
    if own != listed and not (described and all(a in (0, b) for a, b in zip(own, listed, strict=True))):
        raise errors.HeaderMismatch(archive, "has another size or CRC-32 in its own header", entry.name)
    if described and not rest:
        raise errors.HeaderMismatch(archive, "lacks its data descriptor", entry.name)
    if rest > (_LONGEST_DESCRIPTOR if described else 0):
        raise errors.HiddenData(archive, f"is followed by {rest:,} bytes that belong to no member", entry.name)
    return length


def _check_descriptor(archive: str, entry: Entry, data: bytes) -> None:
    """Compare what follows a member's data with the directory."""
    for magic in (b"", _DESCRIPTOR_MAGIC):
        for form in ("<3L", "<L2Q"):
            if len(data) == len(magic) + struct.calcsize(form) and data.startswith(magic):
                if struct.unpack_from(form, data, len(magic)) != (entry.crc32, entry.packed_size, entry.size):
                    raise errors.HeaderMismatch(archive, "has another size or CRC-32 in its descriptor", entry.name)
                return
    raise errors.HiddenData(archive, f"is followed by {len(data):,} bytes that are no data descriptor", entry.name)
