"""One connection: ask for a piece of an archive and write what comes into the part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from ayon_async import backoff
from ayon_async.errors import (
    AccessDenied,
    NotSignedIn,
    SourceUnavailable,
    TooLong,
    TransferError,
    Truncated,
)
from ayon_async.http import CONNECTION_ERRORS, HttpClient, explain
from ayon_async.locate import Source
from ayon_async.progress import Entry, Phase
from ayon_async.threads import ended, in_thread
from ayon_async.transfer.pacing import Pacer
from ayon_async.transfer.part import Part, Validator
from ayon_async.urls import redact

if TYPE_CHECKING:
    from asyncio import Future

CHUNK = 1 << 20
"""Bytes that go to a thread in one hop: smaller ones cost more in hops than in hashing and writing."""
_FLUSH_SECONDS = 2.0
_SHORT_READ = 1 << 16
_BREATH = 0.01
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})


class Again(Exception):
    """The connection failed in a way that a further try may mend.

    Attributes:
        error: What to say when there is no further try.
        retry_after: The server's ``Retry-After``, if it gave one.
    """

    def __init__(self, error: TransferError, retry_after: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


class StartOver(Exception):
    """What is there can't be gone on with: the archive changed, or the server does not do ranges."""


@dataclass(slots=True, eq=False)
class Piece:
    """A range that one connection works on.

    Attributes:
        start: Where it begins.
        position: The next byte that is expected.
        end: Where to stop; None until the size is known. It may become smaller while bytes come.
        split: Whether it was taken from another connection's piece.
        since: When the work on it began, by the monotonic clock.
    """

    start: int
    position: int
    end: int | None
    split: bool
    since: float

    @classmethod
    def of(cls, start: int, end: int | None, *, split: bool = False) -> Piece:
        """A piece of which nothing is there yet."""
        return cls(start, start, end, split, time.monotonic())

    @property
    def seconds_left(self) -> float:
        """How long its connection will need for the rest, by what it did so far."""
        if self.end is None or self.position == self.start:
            return 0.0
        return (self.end - self.position) * (time.monotonic() - self.since) / (self.position - self.start)

    def is_whole(self, size: int | None) -> bool:
        """Whether it is the whole archive, to be asked for without a range."""
        return not self.split and self.position == 0 and self.end in (None, size)


@dataclass(frozen=True, slots=True)
class Line:
    """What a connection works with."""

    http: HttpClient
    private: Mapping[str, str]
    pacer: Pacer
    writers: Executor
    entry: Entry


async def stream(source: Source, part: Part, piece: Piece, line: Line) -> None:
    """Bring the piece.

    Raises:
        Again: It broke; what came is in the part.
        StartOver: The rest can't be had as a range; a piece that was not split off is now the whole archive, empty.
        TransferError: The source does not give it.
        AccessDenied: The AYON server refuses us.
    """
    url = source.location
    try:
        async with line.http.request(
            "GET", url, headers=_range_headers(part, piece, url), private=line.private
        ) as response:
            await _check(response, source, part, piece, line)
            line.entry.set(phase=Phase.DOWNLOADING)
            await _read(response, part, piece, line)
    except CONNECTION_ERRORS as error:
        failure = explain(error, url)
        if isinstance(error, aiohttp.ClientPayloadError):
            raise Again(_truncated(url, piece)) from error
        if not failure.again:
            raise SourceUnavailable(failure.message, failure.hint) from error
        raise Again(TransferError(failure.message, failure.hint)) from error


def _range_headers(part: Part, piece: Piece, url: str) -> dict[str, str]:
    if piece.is_whole(part.size):
        return {}
    last = "" if piece.end is None or piece.end == part.size else str(piece.end - 1)
    headers = {"Range": f"bytes={piece.position}-{last}"}
    # A validator is its URL's own: of another source's state it says nothing.
    if part.validator is not None and part.validator.url == url and part.validator.if_range:
        headers["If-Range"] = part.validator.if_range
    return headers


# --- what the answer's head says ------------------------------------------------------------------------------------


async def _check(response: aiohttp.ClientResponse, source: Source, part: Part, piece: Piece, line: Line) -> None:
    where, asked = redact(source.location), not piece.is_whole(part.size)
    if response.status not in (200, 206) or (response.status == 206 and not asked):
        raise _refusal(response, source, piece, line.pacer)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        encoding = response.headers["Content-Encoding"]
        message = f"{where} sends the archive encoded ({encoding}), although it was asked for as it is."
        raise SourceUnavailable(message, "Turn off compression of archives on that server or proxy.")
    if response.content_type in ("text/html", "application/xhtml+xml"):
        message = f"{where} sends a web page instead of an archive."
        raise SourceUnavailable(message, "Check the source's address on the server, and whether it needs a login.")
    validator = Validator.of(source.location, response.headers)
    if response.status == 206:
        _check_range(response, part, piece, validator)
        return
    if piece.split:
        raise StartOver("the server sends the whole archive instead of a piece")
    if asked:
        line.entry.set(reason="the archive on the server changed, or the server can't go on in the middle of it")
    # A whole one, from the first byte on: whatever was there belongs to something else, or is sent once more.
    if part.done.spans or asked:
        await in_thread(part.reset, executor=line.writers)
        line.entry.have(0)
    piece.start, piece.position, piece.end = 0, 0, response.content_length
    part.size, part.validator = response.content_length, validator
    if part.size is not None:
        line.entry.set(size=part.size)


def _check_range(response: aiohttp.ClientResponse, part: Part, piece: Piece, validator: Validator) -> None:
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start, _, last = span.partition("-")
    if unit != "bytes" or not (start.isdecimal() and last.isdecimal()) or int(start) != piece.position:
        raise StartOver("the server answered with another range than it was asked for")
    if total.isdecimal() and part.size is not None and int(total) != part.size:
        raise StartOver("the archive on the server has another size now")
    known = part.validator
    if known is not None and known.url == validator.url and known.contradicts(validator):
        raise StartOver("the archive on the server changed")
    if piece.end is not None and int(last) >= piece.end and not piece.split:
        raise StartOver("the server answered with a longer range than it was asked for")


def _refusal(response: aiohttp.ClientResponse, source: Source, piece: Piece, pacer: Pacer) -> Exception:
    status, where = response.status, redact(source.location)
    if status in _AGAIN:
        retry_after = response.headers.get("Retry-After")
        if status in _BUSY:
            pacer.busy(min(backoff.seconds_of(retry_after) or 0.0, backoff.LONGEST_ASKED_FOR))
        return Again(SourceUnavailable(f"{where} answered {status}.", "Try again later."), retry_after)
    if status == 416:
        return StartOver("the archive on the server is shorter than it was")
    if status in (401, 403) and source.kind == "server":
        if status == 401:
            return NotSignedIn(
                f"The AYON server does not accept the key or token any more ({where}).", "Sign in again."
            )
        return AccessDenied(f"The AYON server does not let this user have {where}.", "Ask its administrator.")
    if status in (401, 403):
        return SourceUnavailable(f"{where} refuses us ({status}).", "Check the source's headers on the AYON server.")
    if status == 404:
        return SourceUnavailable(f"{where} is not there (404).", "Upload the archive to the server again.")
    return SourceUnavailable(f"{where} answered {status}.", "Check the source's address on the AYON server.")


def _truncated(url: str, piece: Piece) -> Truncated:
    of = "" if piece.end is None else f" of {piece.end:,}"
    message = f"{redact(url)}: the body was truncated after {piece.position:,}{of} bytes."
    return Truncated(message, "Try again; if it stays so, look at the server and the proxies before it.")


# --- the body -------------------------------------------------------------------------------------------------------


async def _read(response: aiohttp.ClientResponse, part: Part, piece: Piece, line: Line) -> None:
    writer = _Writer(part, piece.position, line.writers)
    content = response.content
    try:
        while piece.end is None or piece.position < piece.end:
            data = await content.readany()
            if not data:
                break
            # Our end may have moved: what lies behind it is another connection's by now.
            if piece.end is not None and piece.position + len(data) > piece.end:
                if part.size == piece.end and not piece.split:
                    raise TooLong(f"{redact(str(response.url))} sends more than the {piece.end:,} bytes it declared.")
                data = data[: piece.end - piece.position]
            piece.position += len(data)
            line.entry.add(len(data))
            await writer.take(data)
            await line.pacer.took(len(data))
            if len(data) < _SHORT_READ and not content.at_eof():
                await _breathe(response)
    finally:
        # What came is kept, whatever happens: a byte that arrived is not downloaded a second time.
        await writer.close()
    if piece.end is None:
        piece.end = part.size = piece.position  # sent without a length: where it ends it is whole
        line.entry.set(size=part.size)
    elif piece.position < piece.end:
        raise Again(_truncated(str(response.url), piece))


async def _breathe(response: aiohttp.ClientResponse) -> None:
    """Let the kernel collect what comes in small portions: waking up for each of them costs more than all else."""
    connection = response.connection
    if connection is None or connection.protocol is None:
        return
    protocol = connection.protocol
    protocol.pause_reading()
    try:
        await asyncio.sleep(_BREATH)
    finally:
        protocol.resume_reading()


class _Writer:
    """Collects bytes and writes them in a thread, about a MiB at a time, while the next ones arrive."""

    def __init__(self, part: Part, position: int, writers: Executor) -> None:
        self._part = part
        self._position = position
        self._writers = writers
        self._buffer = bytearray()
        self._since = time.monotonic()
        self._running: Future[None] | None = None

    async def take(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= CHUNK or time.monotonic() - self._since >= _FLUSH_SECONDS:
            await self._write()

    async def _write(self) -> None:
        await self._finish()
        data, position = self._buffer, self._position
        self._buffer, self._position, self._since = bytearray(), position + len(data), time.monotonic()
        self._running = asyncio.get_running_loop().run_in_executor(self._writers, self._part.write, [(position, data)])

    async def _finish(self) -> None:
        """Wait for the job that runs, also when this task is cancelled meanwhile."""
        running, self._running = self._running, None
        if running is not None:
            await ended(running)

    async def close(self) -> None:
        if self._buffer:
            await self._write()
        await self._finish()
