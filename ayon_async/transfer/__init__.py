"""Verified bytes of one archive from one source, streamed to a part file and hashed on the way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ayon_async import fs
from ayon_async.checksum import Checksum, Hasher
from ayon_async.errors import (
    AccessDenied,
    ChecksumMismatch,
    NotSignedIn,
    SourceUnavailable,
    TooLong,
    TransferError,
    Truncated,
)
from ayon_async.http import CONNECTION_ERRORS, explain
from ayon_async.locate import Source
from ayon_async.progress import Entry, Phase
from ayon_async.server import AyonServer
from ayon_async.threads import in_thread
from ayon_async.urls import redact

CHUNK = 1 << 20
"""Bytes that go to a thread in one hop: smaller ones cost more in hops than in hashing."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive that is here and is what it should be.

    Attributes:
        file: Open for reading; the one that was hashed. Whoever got it closes it.
        path: Where it lies.
        size: Bytes.
        sha256: Of all the bytes.
        source: Where it came from.
    """

    file: BinaryIO
    path: Path
    size: int
    sha256: Checksum
    source: Source


async def fetch(source: Source, size: int | None, server: AyonServer, part: Path, entry: Entry) -> Fetched:
    """Get the archive from this source into the part file.

    Raises:
        TransferError: It can't be had from here, or is not what it should be.
        AccessDenied: The AYON server refuses us.
    """
    entry.set(phase=Phase.CONNECTING, source=redact(source.location))
    hasher = Hasher(source.checksum.algorithm if source.checksum else None)
    file = await in_thread(lambda: _open_part(part))
    try:
        chunks = _read_file(source, entry) if source.kind == "filesystem" else _read_http(source, size, server, entry)
        done = 0
        async for chunk in chunks:
            await in_thread(lambda chunk=chunk: _take(file, hasher, chunk))  # type: ignore[misc]
            done += len(chunk)
        entry.set(phase=Phase.VERIFYING)
        _verify(source, hasher)
        return Fetched(file, part, done, hasher.checksum(), source)
    except BaseException:
        file.close()
        raise


def _open_part(path: Path) -> BinaryIO:
    try:
        file = os.fdopen(fs.open_part(path), "r+b", buffering=0)
        file.truncate(0)
    except OSError as error:
        raise fs.explain(error, path) from error
    return file


def _take(file: BinaryIO, hasher: Hasher, chunk: bytes | bytearray) -> None:
    hasher.update(chunk)
    try:
        fs.write(file.fileno(), chunk)
    except OSError as error:
        raise fs.explain(error, Path(file.name)) from error


def _verify(source: Source, hasher: Hasher) -> None:
    if source.checksum is None:
        return
    actual = hasher.checksum(source.checksum.algorithm)
    if actual != source.checksum:
        raise ChecksumMismatch(
            f"The archive from {redact(source.location)} is not the one that the server means: its"
            f" {actual.algorithm} is {actual.digest}, expected {source.checksum.digest}.",
            "Ask the studio's AYON administrator to upload it again.",
        )


async def _read_http(source: Source, size: int | None, server: AyonServer, entry: Entry) -> AsyncIterator[bytearray]:
    url = source.location
    private: Mapping[str, str] = server.private_headers if source.kind == "server" else source.headers
    try:
        async with server.http.request("GET", url, private=private) as response:
            if response.status != 200:
                raise _refused(source, response.status)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise SourceUnavailable(f"{redact(url)} sends the archive compressed once more.", "Mend that server.")
            length = response.content_length if response.content_length is not None else size
            if length is not None:
                entry.set(size=length)
            entry.set(phase=Phase.DOWNLOADING)
            got = 0
            buffer = bytearray()
            async for data in response.content.iter_any():
                got += len(data)
                if length is not None and got > length:
                    raise TooLong(f"{redact(url)} sends more than the {length:,} bytes it declared.")
                entry.add(len(data))
                buffer += data
                if len(buffer) >= CHUNK:
                    yield buffer
                    buffer = bytearray()
            if length is not None and got < length:
                raise Truncated(f"{redact(url)} ended after {got:,} of {length:,} bytes.", "Try again.")
            if buffer:
                yield buffer
    except CONNECTION_ERRORS as error:
        failure = explain(error, url)
        raise TransferError(failure.message, failure.hint) from error


def _refused(source: Source, status: int) -> TransferError | AccessDenied:
    where = redact(source.location)
    if source.kind == "server" and status == 401:
        return NotSignedIn(f"The AYON server does not accept the key or token any more ({where}).", "Sign in again.")
    if status in (401, 403):
        return SourceUnavailable(f"{where} refuses us ({status}).", "Check the source's headers on the server.")
    if status == 404:
        return SourceUnavailable(f"{where} is not there (404).", "Upload the archive to the server again.")
    return SourceUnavailable(f"{where} answered {status}.", "Try again later.")


async def _read_file(source: Source, entry: Entry) -> AsyncIterator[bytes]:
    path = Path(source.location)
    try:
        file = await in_thread(lambda: path.open("rb", buffering=0))
    except OSError as error:
        raise SourceUnavailable(f"{path} can't be read: {error.strerror}.", "Check that the share is there.") from error
    with file:
        entry.set(size=os.fstat(file.fileno()).st_size, phase=Phase.DOWNLOADING)
        while chunk := await in_thread(lambda: file.read(CHUNK)):
            entry.add(len(chunk))
            yield chunk


async def probe(source: Source, server: AyonServer) -> int | None:
    """The archive's size as its source tells it for one byte, or None where it does not."""
    if source.kind == "filesystem":
        with contextlib.suppress(OSError):
            return await in_thread(lambda: Path(source.location).stat().st_size)
        return None
    private: Mapping[str, str] = server.private_headers if source.kind == "server" else source.headers
    try:
        async with server.http.request(
            "GET", source.location, headers={"Range": "bytes=0-0"}, private=private
        ) as response:
            if response.status == 200:
                return response.content_length
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            return int(total) if response.status == 206 and total.isdecimal() else None
    except CONNECTION_ERRORS:
        return None  # the download itself will say what is wrong
