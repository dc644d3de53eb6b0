"""Bodies received straight into buffers: over connections that serve again, break, fall silent or send too much."""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from authority import Authority
from ayon_async.transfer.body import Collected, Direct, Portion, body_of
from ayon_async.transfer.part import Part
from ayon_async.transfer.writer import CHUNK, Writer

CONTENT = random.Random(6).randbytes(3 * CHUNK + 12_345)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)


class Peer:
    """Answers every request with the same bytes, in portions, and counts the connections that it was asked over."""

    def __init__(self, portions: list[bytes], *, closes: bool = False) -> None:
        self._portions = portions
        self._closes = closes
        self.url = ""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for portion in self._portions:
                    writer.write(portion)
                    await writer.drain()
                if self._closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has enough
        writer.close()

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
        """It listens meanwhile."""
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=tls) as server:
            scheme = "http" if tls is None else "https"
            self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            yield self


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """With aiohttp's own connection pool."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


async def receive(
    response: aiohttp.ClientResponse, *, silence: float = 30, taken: bytearray | None = None, pause: float | None = None
) -> bytes:
    """The whole body; what came before an error is in `taken`."""
    taken = bytearray() if taken is None else taken
    with body_of(response, silence=silence, new_buffer=lambda size: bytearray(min(size, CHUNK))) as body:
        while portion := await body.next():
            taken += portion.view
            if pause is not None:
                await body.pause(pause)
        assert body.at_end
    return bytes(taken)


def feed(body: Direct, data: bytes, count: int) -> None:
    """As a transport does, so many bytes at a time."""
    while data:
        buffer = body.get_buffer(-1)
        taken = min(len(buffer), len(data), count)
        buffer[:taken] = data[:taken]
        body.buffer_updated(taken)
        data = data[taken:]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("pause", [None, 0.0, 0.001])
async def test_a_connection_serves_again(
    client: aiohttp.ClientSession, tmp_path: Path, encrypted: bool, pause: float | None
) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=str(authority.file))
    async with Peer([HEAD, CONTENT]).running(authority.serve() if encrypted else None) as peer:
        for _ in range(3):
            async with client.get(peer.url, ssl=trust) as response:
                assert await receive(response, pause=pause) == CONTENT
        async with client.get(peer.url, ssl=trust) as response:
            assert await response.read() == CONTENT  # aiohttp's own way, over a connection that went ours before
    assert peer.connections == 1


async def test_what_is_left_of_a_body_is_not_taken_for_the_next_answer(client: aiohttp.ClientSession) -> None:
    async with Peer([HEAD, CONTENT]).running() as peer:
        for _ in range(2):
            async with client.get(peer.url) as response:
                with body_of(response, silence=30, new_buffer=bytearray) as body:
                    portion = await body.next()
                    assert bytes(portion.view) == CONTENT[: len(portion)]
    assert peer.connections == 2


async def test_more_than_was_declared(client: aiohttp.ClientSession) -> None:
    async with Peer([HEAD, CONTENT + CONTENT[:1000]]).running() as peer, client.get(peer.url) as response:
        assert await receive(response) == CONTENT


@pytest.mark.parametrize("count", [1, 300_000, 1 << 19, CHUNK])
async def test_a_transport_that_goes_on_though_it_was_told_to_pause(client: aiohttp.ClientSession, count: int) -> None:
    """As that of Windows does with what it had received already; and with more than was declared."""
    async with Peer([HEAD]).running() as peer:
        for _ in range(2):
            async with client.get(peer.url) as response:
                with body_of(response, silence=30, new_buffer=lambda size: bytearray(min(size, CHUNK))) as body:
                    assert isinstance(body, Direct)
                    taken, left = bytearray(), CONTENT[: -10 * count] or CONTENT
                    feed(body, left, CHUNK)
                    feed(body, CONTENT[len(left) :] + b"more", count)
                    while portion := await body.next():
                        taken += portion.view
                    assert taken == CONTENT
    assert peer.connections == 2


async def test_what_came_before_a_break_comes_first(client: aiohttp.ClientSession) -> None:
    taken = bytearray()
    async with Peer([HEAD, CONTENT[:-1]], closes=True).running() as peer, client.get(peer.url) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await receive(response, taken=taken)
    assert taken == CONTENT[:-1]


async def test_silence(client: aiohttp.ClientSession) -> None:
    taken = bytearray()
    async with Peer([HEAD, CONTENT[:-1]]).running() as peer, client.get(peer.url) as response:
        with pytest.raises(aiohttp.SocketTimeoutError):
            await receive(response, silence=0.2, taken=taken)
    assert taken == CONTENT[:-1]


@pytest.mark.parametrize(
    ("portions", "closes"),
    [
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(CONTENT), CONTENT, b"\r\n0\r\n\r\n"],
            False,
        ),
        ([b"HTTP/1.1 200 OK\r\n\r\n", CONTENT], True),
    ],
    ids=["chunked", "until the connection ends"],
)
async def test_no_declared_length(client: aiohttp.ClientSession, portions: list[bytes], closes: bool) -> None:
    async with Peer(portions, closes=closes).running() as peer, client.get(peer.url) as response:
        with body_of(response, silence=30, new_buffer=bytearray) as body:
            assert isinstance(body, Collected)
        assert await receive(response, pause=0.0) == CONTENT


@pytest.mark.parametrize("length", [0, 1, 500])
async def test_a_body_that_is_here_with_its_head(client: aiohttp.ClientSession, length: int) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + CONTENT[:length]
    async with Peer([answer]).running() as peer:
        for _ in range(3):
            async with client.get(peer.url) as response:
                assert await receive(response, pause=0.0) == CONTENT[:length]
    assert peer.connections == 1


async def test_buffers_are_used_again_once_they_are_written(tmp_path: Path) -> None:
    part = Part(tmp_path / "maya.part", {"sha256"})
    part.size = 3 * CHUNK
    with ThreadPoolExecutor(1) as threads:
        writer = Writer(part, threads)
        made: list[bytearray] = []
        for number in range(3):
            buffer = writer.new_buffer(part.size - number * CHUNK)
            made.append(buffer)
            first = number * CHUNK
            buffer[:] = CONTENT[first : first + CHUNK]
            for begin, end in ((0, 1000), (1000, 300_000), (300_000, CHUNK)):
                await writer.take(first + begin, Portion(buffer, begin, end))
            await writer.flush()
    assert made[0] is made[1] is made[2]
    assert part.complete
    assert (tmp_path / "maya.part").read_bytes() == CONTENT[: 3 * CHUNK]
    assert part.checksum().digest == hashlib.sha256(CONTENT[: 3 * CHUNK]).hexdigest()
    part.close()


async def test_bytes_in_the_middle_of_a_buffer_do_not_let_go_of_it(tmp_path: Path) -> None:
    """The rest of it is still to come."""
    part = Part(tmp_path / "maya.part", {"sha256"})
    with ThreadPoolExecutor(1) as threads:
        writer = Writer(part, threads)
        buffer = writer.new_buffer(2 * CHUNK)
        await writer.take(0, Portion(buffer, 0, CHUNK - 1))
        await writer.flush()
        assert writer.new_buffer(2 * CHUNK) is not buffer
    part.close()
