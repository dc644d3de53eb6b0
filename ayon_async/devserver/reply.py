"""What the server is about to answer, as one immutable value, and how it goes over the wire.

A `Reply` can be well-behaved or, changed by a fault, broken in all the ways that networks and proxies break answers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from aiohttp import web

from ayon_async.devserver.studio import Content

_PIECE = 512 * 1024  # bytes a thread reads at once
_TICK = 0.05  # seconds between the pieces of a slowed answer


@dataclass(slots=True)
class Lane:
    """A way that lets only so many bytes a second pass, whoever sends them."""

    rate: float
    _free: float = 0.0

    def book(self, size: int, now: float) -> float:
        """When `size` more bytes are through, on the clock of `now`."""
        self._free = max(self._free, now) + size / self.rate
        return self._free


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an archive: `length` bytes from `start`."""

    content: Content
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: Headers, without those that frame the body.
        body: What is sent.
        length: What `Content-Length` says; None for the body's true length.
        framing: `length`; `chunked`; or `close`, where only the end of the connection ends the body.
        stop_after: Bytes of the body after which `ending` happens; None for all of it, -1 for before the headers.
        ending: `normal`; `close` the connection; `reset` it; `stall` for ever.
        lane: What its bytes have to pass, or None for as fast as it goes.
        flip: Position in the body of one byte that is sent wrong, or None.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""
    length: int | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    stop_after: int | None = None
    ending: Literal["normal", "close", "reset", "stall"] = "normal"
    lane: Lane | None = None
    flip: int | None = None

    @property
    def size(self) -> int:
        """True length of the body in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    @property
    def well_behaved(self) -> bool:
        """True where nothing about how it is sent is out of the ordinary."""
        unchanged = self.length is None and self.stop_after is None and self.lane is None and self.flip is None
        return unchanged and self.framing == "length" and self.ending == "normal"

    def read(self) -> bytes:
        """The whole body, read from its file where it lies in one."""
        if isinstance(self.body, bytes):
            return self.body
        content, start, end = self.body.content, self.body.start, self.body.start + self.body.length
        if isinstance(content, bytes):
            return content[start:end]
        with content.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def json_reply(value: Any, status: int = 200) -> Reply:
    """An answer in compact JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, {"Content-Type": "application/json"}, body)


def error_reply(status: int, detail: str, **more: Any) -> Reply:
    """An error in AYON's own shape."""
    return json_reply({"code": status, "detail": detail, **more}, status)


@dataclass(slots=True)
class Wire:
    """The sending end of one exchange.

    Attributes:
        request: What is answered.
        threads: Where files are read.
        stopping: Set when the server stops, which ends every stall.
        count: Called with the number of body bytes before they are written.
    """

    request: web.BaseRequest
    threads: Executor
    stopping: asyncio.Event
    count: Callable[[int], None]

    async def send(self, reply: Reply) -> web.StreamResponse:
        """Send the reply; a client that went away meanwhile is no error."""
        response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
        with suppress(ConnectionError):
            if reply.well_behaved:
                await self._send_well(reply, response)
            else:
                await self._send_badly(reply)
        return response

    async def _send_well(self, reply: Reply, response: web.StreamResponse) -> None:
        response.content_length = reply.size
        await response.prepare(self.request)
        if self.request.method != "HEAD":
            async for piece in self._pieces(reply):
                if self.stopping.is_set():
                    self._hang_up(reset=False)
                    return
                self.count(len(piece))
                await response.write(piece)
        await response.write_eof()

    async def _send_badly(self, reply: Reply) -> None:
        """Write the bytes past aiohttp, which would insist on correct framing; the connection ends with it."""
        if reply.stop_after != -1:
            await self._write(_head(reply))
            await self._write_body(reply)
        if reply.ending == "stall":
            await self._stall()
        self._hang_up(reset=reply.ending == "reset")

    async def _write_body(self, reply: Reply) -> None:
        clock = asyncio.get_running_loop().time
        sent = 0
        limit = reply.size if reply.stop_after is None else reply.stop_after
        async for piece in self._pieces(reply):
            step = len(piece) if reply.lane is None else max(1, int(reply.lane.rate * _TICK))
            for start in range(0, len(piece), step):
                data = _flipped(piece[start : start + min(step, limit - sent)], reply.flip, sent)
                sent += len(data)
                if reply.lane is not None:
                    await self._pause(reply.lane.book(len(data), clock()) - clock())
                self.count(len(data))
                await self._write(b"%x\r\n%b\r\n" % (len(data), data) if reply.framing == "chunked" else data)
                if sent == limit:
                    break
            if sent == limit:
                break
        if reply.framing == "chunked" and reply.ending == "normal":
            await self._write(b"0\r\n\r\n")

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the server runs."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), max(0, seconds))

    async def _write(self, data: bytes) -> None:
        transport = self.request.transport
        if transport is None or transport.is_closing() or self.stopping.is_set():
            raise ConnectionResetError("the client went away")
        transport.write(data)
        await self.request.writer.drain()

    async def _stall(self) -> None:
        """Say nothing more until the client gives up or the server stops."""
        while not self.stopping.is_set() and self.request.transport is not None:
            await self._pause(_TICK)

    def _hang_up(self, reset: bool) -> None:
        transport = self.request.transport
        if transport is None:
            return
        if reset:
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        body = reply.body
        if isinstance(body, bytes):
            if body:
                yield body
            return
        if isinstance(body.content, bytes):
            view = memoryview(body.content)[body.start : body.start + body.length]
            for start in range(0, len(view), _PIECE):
                yield bytes(view[start : start + _PIECE])
            return
        run = asyncio.get_running_loop().run_in_executor
        file = await run(self.threads, _open_at, body)
        try:
            left = body.length
            while left and (piece := await run(self.threads, file.read, min(_PIECE, left))):
                left -= len(piece)
                yield piece
        finally:
            file.close()


def _open_at(body: Slice) -> Any:
    assert not isinstance(body.content, bytes)
    file = body.content.open("rb", buffering=0)
    file.seek(body.start)
    return file


def _head(reply: Reply) -> bytes:
    headers = {**reply.headers}
    if reply.framing == "length":
        headers["Content-Length"] = str(reply.size if reply.length is None else reply.length)
    elif reply.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    if reply.ending == "normal":
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _flipped(piece: bytes, flip: int | None, offset: int) -> bytes:
    """The piece, with all bits of the byte at `flip` turned where that byte lies in it."""
    if flip is None or not offset <= flip < offset + len(piece):
        return piece
    at = flip - offset
    return piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
