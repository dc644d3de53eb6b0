"""One connection: ask for a piece of an archive and pass on what comes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from ayon_async import backoff
from ayon_async.errors import (
    AccessDenied,
    AyonAsyncError,
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
from ayon_async.transfer.body import body_of, limit_kernel
from ayon_async.transfer.pacing import Pacer
from ayon_async.transfer.part import Part, Validator
from ayon_async.transfer.probe import number, private_headers
from ayon_async.transfer.writer import Writer
from ayon_async.urls import origin, redact

_SHORT_READ = 1 << 16
_BREATH = 0.01
"""Seconds that a slow connection rests after a short read, so that the kernel collects what comes in small portions:
waking up for each costs more than all else. One that brings more than a short read in that time is not slow."""
_BUSY = frozenset({429, 503})
_WEB_PAGES = frozenset({"text/html", "application/xhtml+xml"})


class Failed(Exception):
    """The connection failed, or the server is in trouble.

    Attributes:
        error: What to say when there is no further try.
        again: Whether a further try may mend it.
        busy: Whether the server asked for less (429, 503).
        retry_after: Its ``Retry-After``, if it gave one.
    """

    def __init__(
        self, error: TransferError, *, again: bool = True, busy: bool = False, retry_after: str | None = None
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.again = again
        self.busy = busy
        self.retry_after = retry_after


class WrongSize(Exception):
    """The source sends the whole archive, with another length than was expected.

    Attributes:
        error: What to say when it stays so.
    """

    def __init__(self, error: TransferError) -> None:
        super().__init__(error.message)
        self.error = error


class StartOver(Exception):
    """What is there can't be gone on with: the archive changed, or the server does not do ranges."""


@dataclass(slots=True, eq=False)
class Piece:
    """A range that one connection works on.

    Attributes:
        start: Where it begins.
        position: The next byte that is expected.
        end: Where to stop; None until the size is known. It may become smaller while bytes come.
        split: Whether it is brought by a further connection, besides the archive's own.
        since: When the work on it began, by the monotonic clock.
        is_open: Whether it was asked for without an end, as the whole archive is.
    """

    start: int
    position: int
    end: int | None
    split: bool
    since: float
    is_open: bool = False

    @classmethod
    def of(cls, start: int, end: int | None, *, split: bool = False) -> Piece:
        """A piece of which nothing is there yet."""
        return cls(start, start, end, split, time.monotonic())

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        return (self.position - self.start) / max(time.monotonic() - self.since, 1e-6)

    @property
    def seconds_left(self) -> float:
        """How long its connection will need for the rest, by what it did so far."""
        if self.end is None or self.position == self.start:
            return 0.0
        return (self.end - self.position) / self.rate

    def is_whole(self, size: int | None) -> bool:
        """Whether it is the whole archive, to be asked for without a range."""
        return not self.split and self.position == 0 and self.end in (None, size)


@dataclass(frozen=True, slots=True)
class Line:
    """What a connection works with.

    Attributes:
        server: The AYON server, and through it the network.
        pacer: Told of every byte, and says when to wait.
        writer: Where the bytes go.
        entry: Who is told.
        expected: The whole archive's size as it is known so far, or None.
        start_over: Throws away what is there, for the reason given; no other connection brings anything afterwards.
    """

    server: AyonServer
    pacer: Pacer
    writer: Writer
    entry: Entry
    expected: int | None
    start_over: Callable[[str], Awaitable[None]]


async def stream(source: Source, part: Part, piece: Piece, line: Line) -> None:
    """Bring the piece; whatever came of it is in the part when this ends, however it ends.

    Raises:
        Failed: The connection broke, or can't be had.
        WrongSize: The archive has another size than was expected.
        StartOver: The rest can't be had as a range.
        TransferError: The source does not give it.
        AccessDenied: The AYON server refuses us.
        StoreError: It can't be written.
    """
    url, ranged = source.location, not piece.is_whole(part.size)
    headers = _range_headers(part, piece, url) if ranged else {}
    private = private_headers(source, line.server)
    try:
        async with line.server.http.request("GET", url, headers=headers, private=private) as response:
            _check(response, source, line, ranged=ranged)
            validator = Validator.of(url, response.headers)
            if response.status == 206:
                _check_range(response, part, piece, validator)
            else:
                await _begin_whole(response, part, piece, line, validator, ranged=ranged)
            line.entry.set(phase=Phase.DOWNLOADING)
            await _read(response, part, piece, line)
    except aiohttp.ClientPayloadError as error:
        raise _truncated(url, piece) from error
    except CONNECTION_ERRORS as error:
        failure = explain(error, url)
        raise Failed(SourceUnavailable(failure.message, failure.hint), again=failure.again) from error


def _range_headers(part: Part, piece: Piece, url: str) -> dict[str, str]:
    last = "" if piece.end is None or piece.end == part.size else str(piece.end - 1)
    headers = {"Range": f"bytes={piece.position}-{last}"}
    # A validator is its URL's own: of another source's state it says nothing.
    if part.validator is not None and part.validator.url == url and part.validator.if_range:
        headers["If-Range"] = part.validator.if_range
    return headers


# --- what the answer's head says ------------------------------------------------------------------------------------


def _check(response: aiohttp.ClientResponse, source: Source, line: Line, *, ranged: bool) -> None:
    if response.status == 416 and ranged:
        raise StartOver("the archive on the server is shorter than it was")
    if response.status not in (200, 206) or (response.status == 206 and not ranged):
        raise _refusal(response, source, line)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        where = redact(source.location)
        message = f"{where} sends the archive encoded ({encoding}), although it was asked for as it is."
        raise SourceUnavailable(message, "Turn off compression of archives on that server or proxy.")
    if response.content_type in _WEB_PAGES:
        message = f"{redact(source.location)} sends a web page instead of an archive."
        raise SourceUnavailable(message, "Check the source's address on the server, and whether it needs a login.")


def _refusal(response: aiohttp.ClientResponse, source: Source, line: Line) -> Exception:
    status, where = response.status, redact(source.location)
    if backoff.may_mend(status):
        retry_after = response.headers.get("Retry-After")
        seconds = backoff.seconds_of(retry_after)
        wish = "" if seconds is None else f" and wants to be left alone for {seconds:,.0f} s"
        again = seconds is None or seconds <= backoff.LONGEST_ASKED_FOR
        error = SourceUnavailable(f"{where} answered {status}{wish}.", "Try again later.")
        return Failed(error, again=again, busy=status in _BUSY, retry_after=retry_after)
    if status in (401, 403) and source.kind == "server" and origin(str(response.url)) == line.server.http.home:
        return _denial(status, where)
    if status in (401, 403):
        return SourceUnavailable(f"{where} refuses us ({status}).", "Check the source's headers on the AYON server.")
    if status == 404:
        return SourceUnavailable(f"{where} is not there (404).", "Upload the archive to the server again.")
    return SourceUnavailable(f"{where} answered {status}.", "Check the source's address on the AYON server.")


def _denial(status: int, where: str) -> AyonAsyncError:
    if status == 401:
        message = f"The AYON server does not accept the key or token any more ({where})."
        return NotSignedIn(message, "Sign in again.")
    return AccessDenied(f"The AYON server does not let this user have {where}.", "Ask its administrator.")


def _check_range(response: aiohttp.ClientResponse, part: Part, piece: Piece, validator: Validator) -> None:
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    start, _, last = span.partition("-")
    if unit != "bytes" or number(start) != piece.position or number(last) is None:
        raise StartOver("the server answered with another range than it was asked for")
    if total.isdecimal() and number(total) != part.size:
        raise StartOver("the archive on the server has another size now")
    if part.validator is None or part.validator.url != validator.url:
        part.validator = validator  # a checksum judges what several sources bring
    elif part.validator.contradicts(validator):
        raise StartOver("the archive on the server changed")


async def _begin_whole(
    response: aiohttp.ClientResponse, part: Part, piece: Piece, line: Line, validator: Validator, *, ranged: bool
) -> None:
    """From the first byte on: whatever was there belongs to something else, or is sent once more."""
    if piece.split:
        raise StartOver("the server sends the whole archive instead of a piece")
    length = response.content_length
    _check_size(response, length, line.expected)
    piece.start = piece.position = 0
    piece.end = None  # nobody takes from it while it is thrown away
    if ranged or part.done.spans:
        await line.start_over("the archive on the server changed, or the server can't go on in the middle of it")
    piece.end = part.size = length
    piece.is_open = True
    part.validator = validator
    if length is not None:
        line.entry.set(size=length)


def _check_size(response: aiohttp.ClientResponse, size: int | None, expected: int | None) -> None:
    if size is None or expected is None or size == expected:
        return
    where = redact(str(response.url))
    if size < expected:
        message = f"{where}: the body was truncated: it has {size:,} bytes, not {expected:,}."
        raise WrongSize(Truncated(message, "Look at the server and the proxies before it."))
    message = f"{where} sends {size:,} bytes, more than the {expected:,} that the archive should have."
    raise WrongSize(TooLong(message, "Upload the archive to the AYON server again."))


def _truncated(url: str, piece: Piece) -> Failed:
    of = "" if piece.end is None else f" of {piece.end:,}"
    message = f"{redact(url)}: the body was truncated after {piece.position:,}{of} bytes."
    return Failed(Truncated(message, "Try again; if it stays so, look at the server and the proxies before it."))


# --- the body -------------------------------------------------------------------------------------------------------


async def _read(response: aiohttp.ClientResponse, part: Part, piece: Piece, line: Line) -> None:
    pacer, writer = line.pacer, line.writer
    if pacer.buffer is not None:
        limit_kernel(response, pacer.buffer)
    try:
        with body_of(response, silence=line.server.http.timeouts.silence, new_buffer=writer.new_buffer) as body:
            while piece.end is None or piece.position < piece.end:
                came = await body.next()
                if not came:
                    break
                pause = pacer.took(len(came))
                # What lies behind our end is another connection's: the end has moved, or the server sends too much.
                ours = came if piece.end is None else came.first(piece.end - piece.position)
                line.entry.add(len(came), len(ours))
                piece.position += len(ours)
                await writer.take(piece.position - len(ours), ours)
                if piece.end is None and line.expected is not None and piece.position > line.expected:
                    break  # without a declared length it might go on for ever
                ended = piece.position == piece.end or body.at_end
                if len(ours) < _SHORT_READ and not ended and piece.rate < _SHORT_READ / _BREATH:
                    pause = max(pause, _BREATH)
                # Also at its end a piece waits for what it took: small archives come in one go.
                if pause > 0:
                    await body.pause(pause)
    finally:
        # What came is kept, whatever happens: a byte that arrived is not downloaded a second time.
        await writer.flush()
    if piece.end is None:
        _check_size(response, piece.position, line.expected)
        piece.end = part.size = piece.position  # sent without a length: where it ends it is whole
        line.entry.set(size=part.size)
    elif piece.position < piece.end:
        raise _truncated(str(response.url), piece)
