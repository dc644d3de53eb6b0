"""What a source says of an archive, for the price of one byte: real AYON servers answer no HEAD."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ayon_async.http import CONNECTION_ERRORS
from ayon_async.locate import Source
from ayon_async.server import AyonServer
from ayon_async.threads import abandonable
from ayon_async.transfer.part import Validator

_DIGITS = 18  # of the largest file's size: an exabyte is less


@dataclass(frozen=True, slots=True)
class Probe:
    """What a source says of an archive.

    Attributes:
        size: Bytes, or None where it does not say.
        validator: Of the state that it has now.
    """

    size: int | None
    validator: Validator


async def probe(source: Source, server: AyonServer) -> Probe | None:
    """What the source tells for one byte, or None where it gives none."""
    if source.kind == "filesystem":
        path = Path(source.location)
        with contextlib.suppress(OSError):  # also when it took too long
            state = await abandonable(path.stat, server.http.timeouts.connect)
            return Probe(state.st_size, Validator.of_file(path, state)) if stat.S_ISREG(state.st_mode) else None
        return None
    headers = {"Range": "bytes=0-0"}
    try:
        async with server.http.request(
            "GET", source.location, headers=headers, private=private_headers(source, server)
        ) as response:
            validator = Validator.of(source.location, response.headers)
            if response.status == 200:
                return Probe(response.content_length, validator)
            total = number(response.headers.get("Content-Range", "").rpartition("/")[2])
            return Probe(total, validator) if response.status == 206 else None
    except CONNECTION_ERRORS:
        return None  # the download itself will say what is wrong


def number(text: str) -> int | None:
    """The number of bytes that a header names, or None where it names none that a file could have.

    >>> number("1024"), number("*"), number("9" * 5000)
    (1024, None, None)
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def private_headers(source: Source, server: AyonServer) -> Mapping[str, str]:
    """What is sent to the source's own origin only."""
    return server.private_headers if source.kind == "server" else source.headers
