"""A tiny forward proxy: absolute URLs for http, CONNECT for https; it remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Proxy:
    """A proxy that runs.

    Attributes:
        port: Where it listens on this machine.
        heads: Request line and headers of what it was asked, in lower case.
        refuses: Status line that it answers everything with, or an empty string.
        passed: Bytes that went to clients, with the time at which they had gone.
    """

    port: int
    heads: list[str] = field(default_factory=list)
    refuses: str = ""
    passed: list[tuple[float, int]] = field(default_factory=list)


@asynccontextmanager
async def forward_proxy(buffer: int = 1 << 20) -> AsyncIterator[Proxy]:
    """A proxy on a free port.

    Args:
        buffer: Bytes that may wait in the system on their way to each client.
    """
    proxy = Proxy(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await _serve(proxy, reader, writer)
        writer.close()

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=listening)
    proxy.port = listening.getsockname()[1]
    async with server:
        yield proxy


async def _serve(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request; the connection is the target's from then on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    proxy.heads.append(head.lower())
    if proxy.refuses:
        writer.write(f"HTTP/1.1 {proxy.refuses}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return
    method, target, version = head.partition("\r\n")[0].split(" ")
    host, _, path = target.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    there, back = await asyncio.open_connection(name, int(port))
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        rest = head.partition("\r\n")[2].replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        back.write(f"{method} /{path} {version}\r\n{rest}".encode("latin-1"))
    await asyncio.gather(_pump(reader, back, []), _pump(there, writer, proxy.passed))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, passed: list[tuple[float, int]]) -> None:
    target.transport.set_write_buffer_limits(0)
    with contextlib.suppress(ConnectionError):
        while data := await source.read(16384):
            target.write(data)
            await target.drain()
            passed.append((time.monotonic(), len(data)))
    target.close()
