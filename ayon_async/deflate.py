"""Inflating and CRC-32: by ISA-L where it is installed, which takes half the time of zlib, else by zlib-ng, or zlib."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol


class Inflater(Protocol):
    """A decompressor of one stream, as `zlib.decompressobj` makes it."""

    @property
    def eof(self) -> bool:
        """Whether the stream's end was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the stream's end."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was given and not used because the output would be too long."""

    def decompress(self, data: bytes | memoryview, max_length: int = 0, /) -> bytes:
        """Give compressed bytes, get at most max_length unpacked ones."""


class Crc32(Protocol):
    """As `zlib.crc32`."""

    def __call__(self, data: bytes | memoryview, value: int = 0, /) -> int:
        """The CRC-32 of data, carried on from value."""


LIBRARIES = ("isal.isal_zlib", "zlib_ng.zlib_ng", "zlib")  # the fastest first; they have the same functions


def _find_library() -> Any:
    for name in LIBRARIES:
        try:
            return importlib.import_module(name)
        except ImportError:  # it has no build for this platform
            continue
    raise ModuleNotFoundError("This Python was built without zlib.")


_library = _find_library()
Error: type[Exception] = _library.error
RAW = -15  # "wbits" of a stream without a header, as in a zip
GZIP = 31  # "wbits" of a gzip stream, whose checksum and length are checked


# The library's own functions, with no call of ours around them: each member of an archive calls them.

inflater: Callable[[int], Inflater] = _library.decompressobj
"""Makes a decompressor for one stream, of `RAW` or `GZIP`."""

crc32: Crc32 = _library.crc32
"""The CRC-32 of data, carried on from a value."""
