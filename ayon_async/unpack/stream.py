"""The bytes of a tar, plain or compressed, one after the other."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Protocol

from ayon_async import deflate
from ayon_async.unpack import errors
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.source import MIB, Meter, Source

_CHUNK = MIB >> 2  # compressed bytes read at once
_XZ_MEMORY = 256 << 20  # bytes that a decompressor may take: `xz -9` needs 65 MiB


class Decompressor(Protocol):
    """A decompressor of one stream, as `bz2` and `lzma` have it."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether there is nothing more to be had without more input."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the stream's end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Give compressed bytes, get at most max_length unpacked ones; the rest is kept inside."""


class _Gzip:
    """A gzip member, its CRC-32 and length checked."""

    def __init__(self) -> None:
        self._inflater = deflate.inflater(deflate.GZIP)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


class Compression:
    """One way in which a tar can be compressed.

    Args:
        title: What people call it.
        magic: The bytes that it begins with.
        make: Makes a decompressor.
        failures: What that raises when the data is damaged.
    """

    def __init__(self, title: str, magic: bytes, make: Callable[[], Decompressor], *failures: type[Exception]) -> None:
        self.title = title
        self.magic = magic
        self.make = make
        self.failures = failures


COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b", _Gzip, deflate.Error),
    Compression("bzip2", b"BZh", bz2.BZ2Decompressor, OSError, ValueError),
    Compression("xz", b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), lzma.LZMAError),
)


class Stream:
    """The bytes of a tar in their order.

    Args:
        source: The archive.
        compression: How it is compressed, or None.
        budget: What may come out of it.
        meter: Told how far the archive is read.

    Attributes:
        checked: False once there was a part of the archive whose format has no checksum of the content.
    """

    def __init__(self, source: Source, compression: Compression | None, budget: Budget, meter: Meter) -> None:
        self.checked = compression is not None
        self._source = source
        self._budget = budget
        self._meter = meter
        self._produced = 0
        self._blocks = self._read_plain() if compression is None else self._decompress(compression)
        self._block = memoryview(b"")

    def take(self, size: int) -> bytes:
        """The next bytes, exactly size.

        Raises:
            TruncatedArchive: There are fewer.
            UnpackError: They can't be unpacked.
        """
        return b"".join(self.pieces(size))

    def peek(self, size: int) -> bytes:
        """The next bytes, at least size unless there are fewer, to be had again by the other methods."""
        block = b""
        while len(block) < size and (piece := self._next(MIB)):
            block += piece
        self._block = memoryview(block)
        return block

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next bytes in pieces of at most about a MiB, exactly size in all.

        Raises:
            TruncatedArchive: There are fewer.
            UnpackError: They can't be unpacked.
        """
        while size:
            piece = self._next(size)
            if not piece:
                raise errors.TruncatedArchive(self._source.name, "ends in the middle of a member")
            size -= len(piece)
            yield piece

    def rest(self) -> Iterator[memoryview]:
        """All that is left, in pieces."""
        while piece := self._next(MIB):
            yield piece

    def _next(self, most: int) -> memoryview:
        """At most so many of the next bytes; empty only at the end."""
        if not self._block:
            self._block = memoryview(next(self._blocks, b""))
        piece, self._block = self._block[:most], self._block[most:]
        return piece

    def _read_plain(self) -> Iterator[bytes]:
        for at in range(0, self._source.size, MIB):
            self._meter.at(at)
            yield self._source.read(at, min(MIB, self._source.size - at))

    def _chunks(self) -> Iterator[bytes]:
        for at in range(0, self._source.size, _CHUNK):
            self._meter.at(at)
            yield self._source.read(at, min(_CHUNK, self._source.size - at))

    def _decompress(self, compression: Compression) -> Iterator[bytes]:
        """What comes out of all compressed streams of the file; zeros between and after them are padding."""
        decompressor: Decompressor | None = compression.make()
        for chunk in self._chunks():
            data = chunk
            while data:
                if decompressor is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    if not data.startswith(compression.magic[: len(data)]):
                        raise errors.HiddenData(self._source.name, "has bytes behind its end")
                    decompressor = compression.make()
                yield from self._feed(compression, decompressor, data)
                data = b""
                if decompressor.eof:
                    data = decompressor.unused_data
                    self._note_check(decompressor)
                    decompressor = None
        if decompressor is not None:
            raise errors.TruncatedArchive(self._source.name, f"ends in the middle of its {compression.title} data")

    def _feed(self, compression: Compression, decompressor: Decompressor, data: bytes) -> Iterator[bytes]:
        """All that a decompressor makes of data."""
        while True:
            self._meter.check()
            try:
                block = decompressor.decompress(data, MIB)
            except compression.failures as error:
                problem = f"can't be unpacked, its {compression.title} data is damaged: {error}"
                raise errors.DamagedArchive(self._source.name, problem) from None
            data = b""
            self._produced += len(block)
            self._budget.check_size(self._produced)
            if block:
                yield block
            if decompressor.eof or (decompressor.needs_input and len(block) < MIB):
                return

    def _note_check(self, decompressor: Decompressor) -> None:
        if isinstance(decompressor, lzma.LZMADecompressor) and decompressor.check == lzma.CHECK_NONE:
            self.checked = False
