"""How an answer goes over the wire: as aiohttp sends it, or byte for byte where it is broken on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

from aiohttp import web

from ayon_async.devserver.reply import Reply

_PIECE = 512 * 1024  # bytes a thread reads at once
_TICK = 0.05  # seconds between the pieces of a slowed answer


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
            async with aclosing(self._pieces(reply)) as pieces:
                async for piece in pieces:
                    if self.stopping.is_set():
                        self._hang_up(reset=False)
                        return
                    self.count(len(piece))
                    await response.write(piece)
        await response.write_eof()

    async def _send_badly(self, reply: Reply) -> None:
        """Write the bytes past aiohttp, which would insist on correct framing; the connection ends with it."""
        try:
            if reply.stop_after != -1:
                await self._write(_head(reply))
                await self._write_body(reply)
            if reply.ending == "stall":
                await self._stall()
        finally:
            self._hang_up(reset=reply.ending == "reset")

    async def _write_body(self, reply: Reply) -> None:
        clock = asyncio.get_running_loop().time
        sent = 0
        async with aclosing(self._parts(reply)) as parts:
            async for part in parts:
                data = _flipped(part, reply.flip, sent)
                sent += len(data)
                if reply.lane is not None:
                    await self._pause(reply.lane.book(len(data), clock()) - clock())
                self.count(len(data))
                await self._write(b"%x\r\n%b\r\n" % (len(data), data) if reply.framing == "chunked" else data)
        if reply.framing == "chunked" and reply.ending == "normal":
            await self._write(b"0\r\n\r\n")

    async def _parts(self, reply: Reply) -> AsyncGenerator[bytes]:
        """The body up to where it stops, in pieces as small as its pace needs."""
        left = reply.size if reply.stop_after is None else reply.stop_after
        step = _PIECE if reply.lane is None else max(1, int(reply.lane.rate * _TICK))
        async with aclosing(self._pieces(reply)) as pieces:
            async for piece in pieces:
                for start in range(0, len(piece), step):
                    if not left:
                        return
                    part = piece[start : start + min(step, left)]
                    left -= len(part)
                    yield part

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

    async def _pieces(self, reply: Reply) -> AsyncGenerator[bytes]:
        """The body, read from its file in a thread where it lies in one."""
        body = reply.body
        if isinstance(body, bytes) or isinstance(body.content, bytes):
            view = memoryview(reply.read())
            for start in range(0, len(view), _PIECE):
                yield bytes(view[start : start + _PIECE])
            return
        run = asyncio.get_running_loop().run_in_executor
        file = await run(self.threads, _open_at, body.content, body.start)
        try:
            left = body.length
            while left and (piece := await run(self.threads, file.read, min(_PIECE, left))):
                left -= len(piece)
                yield piece
        finally:
            file.close()


def _open_at(path: Path, start: int) -> IO[bytes]:
    file = path.open("rb", buffering=0)
    file.seek(start)
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
