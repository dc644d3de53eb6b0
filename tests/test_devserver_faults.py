"""Every named fault of the embedded server breaks an answer in the way it says."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession, ClientTimeout, TooManyRedirects

from ayon_async.devserver import DevServer, Studio, addon, noise, tiny_studio
from ayon_async.devserver.faults import (
    Body,
    Busy,
    Chunked,
    Corrupt,
    Drop,
    Fault,
    Gzipped,
    IgnoresRange,
    Link,
    NewETag,
    NoLength,
    Redirect,
    Reset,
    Shortened,
    Silence,
    Slow,
    Status,
    TooLong,
    Truncated,
    WrongContentRange,
    WrongLength,
)

ARCHIVE = "/addons/maya/1.0.0/private/client.zip"
WHOLE = noise(1_200_000)
SIZE = len(WHOLE)


def studio() -> Studio:
    return replace(tiny_studio(), addons={("maya", "1.0.0"): addon(WHOLE), ("nuke", "1.0.0"): addon(WHOLE)})


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(studio()) as running:
        yield running


@pytest.fixture
async def client(server: DevServer) -> AsyncIterator[ClientSession]:
    async with ClientSession(server.url, headers={"X-Api-Key": "artist-key"}, auto_decompress=False) as session:
        yield session


async def read(session: ClientSession, path: str = ARCHIVE, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and all that arrived of the body, even where the connection broke."""
    body = b""
    async with session.get(path, headers=headers, timeout=ClientTimeout(10)) as response:
        got = {name.lower(): value for name, value in response.headers.items()}
        try:
            async for piece in response.content.iter_any():
                body += piece
        except (ClientPayloadError, ConnectionError) as error:
            got["broken"] = type(error).__name__
        return response.status, got, body


@pytest.mark.parametrize("fault", [Drop(1000), Reset(1000), Truncated(SIZE - 1000)])
async def test_the_connection_breaks(server: DevServer, client: ClientSession, fault: Fault) -> None:
    server.faults.add(ARCHIVE, fault, attempts=1)
    status, headers, body = await read(client)
    assert (status, headers["content-length"]) == (200, str(SIZE))
    assert "broken" in headers
    assert WHOLE[:1000].startswith(body)
    if not isinstance(fault, Reset):  # a reset may overtake the bytes before it
        assert len(body) == 1000
    assert server.requests[-1].bytes_sent == 1000
    assert await whole(client)


async def whole(client: ClientSession) -> bool:
    status, headers, body = await read(client)
    return status == 200 and "broken" not in headers and body == WHOLE


async def test_no_answer_at_all(server: DevServer, client: ClientSession) -> None:
    for fault in (Drop(-1), Reset()):
        rule = server.faults.add(ARCHIVE, fault)
        with pytest.raises(ClientConnectionError):
            await read(client)
        server.faults.remove(rule)
    assert await whole(client)


async def test_silence(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Silence(5000))
    server.faults.add("/addons/nuke/*", Silence(-1))
    async with client.get(ARCHIVE) as response:
        assert await response.content.readexactly(5000) == WHOLE[:5000]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.read(1), 0.3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.get("/addons/nuke/1.0.0/private/client.zip"), 0.3)


async def test_an_answer_under_way_ends_with_the_server(tmp_path: Path) -> None:
    (tmp_path / "big.zip").write_bytes(bytes(50_000_000))
    big = replace(studio(), addons={("maya", "1.0.0"): addon(tmp_path / "big.zip")})
    async with DevServer(big) as server, ClientSession(server.url) as session:
        response = await session.get(ARCHIVE, headers={"X-Api-Key": "artist-key"})
        await response.content.readexactly(1000)
        started = time.monotonic()
        await server.stop()
        assert time.monotonic() - started < 2
        with pytest.raises((ClientPayloadError, ClientConnectionError)):
            await response.read()


async def test_a_stalled_answer_does_not_hold_up_the_stop() -> None:
    async with DevServer(studio()) as server, ClientSession(server.url, headers={"X-Api-Key": "artist-key"}) as session:
        server.faults.add("*", Silence(10))
        async with session.get(ARCHIVE) as response:
            assert await response.content.readexactly(10) == WHOLE[:10]
            started = time.monotonic()
            await server.stop()
            assert time.monotonic() - started < 2


async def test_slow(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Slow(2_400_000))
    started = time.monotonic()
    await asyncio.gather(*(read(client) for _ in range(4)))  # each connection has its own rate
    assert 0.4 < time.monotonic() - started < 1.6


async def test_one_link_for_all(server: DevServer, client: ClientSession) -> None:
    server.faults.add("*", Link(4_800_000))
    started = time.monotonic()
    bodies = await asyncio.gather(read(client), read(client))
    assert time.monotonic() - started > 0.4
    assert [body for _, _, body in bodies] == [WHOLE, WHOLE]


async def test_shortened_is_whole_for_http(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Shortened(10))
    status, headers, body = await read(client)
    assert (status, headers["content-length"], body) == (200, str(SIZE - 10), WHOLE[:-10])
    assert "broken" not in headers


async def test_too_long(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, TooLong(7))
    assert (await read(client))[2] == WHOLE + bytes(7)


async def test_corrupt(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Corrupt(600_000))
    body = (await read(client))[2]
    assert [at for at in range(SIZE) if body[at] != WHOLE[at]] == [600_000]


async def test_corrupt_only_in_a_resumed_part(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Corrupt(0, only_resumed=True))
    assert await whole(client)
    assert (await read(client, Range="bytes=0-"))[2] == WHOLE
    assert (await read(client, Range="bytes=5-"))[2] == bytes([WHOLE[5] ^ 0xFF]) + WHOLE[6:]


async def test_gzipped(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Gzipped())
    _, headers, body = await read(client)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == WHOLE


async def test_wrong_length(server: DevServer, client: ClientSession) -> None:
    rule = server.faults.add(ARCHIVE, WrongLength(3))
    _, headers, body = await read(client)
    assert (headers["content-length"], body) == (str(SIZE + 3), WHOLE)
    assert "broken" in headers
    server.faults.remove(rule)
    server.faults.add(ARCHIVE, WrongLength(-3))
    _, headers, body = await read(client)
    assert (headers["content-length"], body) == (str(SIZE - 3), WHOLE[:-3])


@pytest.mark.parametrize("fault", [NoLength(), Chunked()])
async def test_without_a_length(server: DevServer, client: ClientSession, fault: Fault) -> None:
    server.faults.add(ARCHIVE, fault)
    _, headers, body = await read(client)
    assert "content-length" not in headers
    assert headers.get("transfer-encoding") == ("chunked" if isinstance(fault, Chunked) else None)
    assert (body, "broken" in headers) == (WHOLE, False)


async def test_chunked_and_dropped(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Chunked())
    server.faults.add(ARCHIVE, Drop(700_000))
    _, headers, body = await read(client)
    assert "broken" in headers
    assert body == WHOLE[:700_000]


async def test_dropped_before_the_first_byte(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Chunked())
    server.faults.add(ARCHIVE, Drop(0))
    status, headers, body = await read(client)
    assert (status, body, "broken" in headers) == (200, b"", True)


async def test_ignores_range(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, IgnoresRange())
    assert (await read(client, Range="bytes=5-"))[::2] == (200, WHOLE)


async def test_wrong_content_range(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, WrongContentRange(start_off=2, size_off=1))
    status, headers, body = await read(client, Range="bytes=10-19")
    assert (status, headers["content-range"]) == (206, f"bytes 12-21/{SIZE + 1}")
    assert body == WHOLE[10:20]
    assert await whole(client)


async def test_new_etag(server: DevServer, client: ClientSession) -> None:
    old = (await read(client))[1]["etag"]
    rule = server.faults.add(ARCHIVE, NewETag("second upload"))
    status, headers, _ = await read(client, **{"Range": "bytes=5-", "If-Range": old})
    assert status == 200
    new = headers["etag"]
    assert new != old
    assert (await read(client, **{"Range": "bytes=5-", "If-Range": new}))[0] == 206
    server.faults.remove(rule)
    rule = server.faults.add(ARCHIVE, NewETag())
    assert len({(await read(client))[1]["etag"] for _ in range(3)}) == 3
    server.faults.remove(rule)
    server.faults.add(ARCHIVE, NewETag("third", heeds_if_range=False))
    assert (await read(client, **{"Range": "bytes=5-", "If-Range": old}))[0] == 206


async def test_status_and_busy(server: DevServer, client: ClientSession) -> None:
    server.faults.add("/api/bundles", Status(401, "Invalid session"))
    server.faults.add(ARCHIVE, Busy(429), attempts=1)
    server.faults.add(ARCHIVE, Busy(503, retry_after=2), attempts=2)
    server.faults.add(ARCHIVE, Busy(503, retry_after=5, as_date=True), attempts=3)
    assert (await read(client, "/api/bundles"))[::2] == (401, b'{"code":401,"detail":"Invalid session"}')
    status, headers, _ = await read(client)
    assert (status, headers.get("retry-after")) == (429, None)
    status, headers, _ = await read(client)
    assert (status, headers["retry-after"]) == (503, "2")
    _, headers, _ = await read(client)
    assert 3 < parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time() <= 5
    assert await whole(client)


async def test_redirects(server: DevServer, client: ClientSession) -> None:
    rule = server.faults.add(ARCHIVE, Redirect())
    with pytest.raises(TooManyRedirects):
        await read(client)
    server.faults.remove(rule)
    async with DevServer(studio()) as other:
        server.faults.add(ARCHIVE, Redirect(other.url + "{path}", 307))
        async with client.get(ARCHIVE, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (307, other.url + ARCHIVE)
        assert await whole(client)
        assert [record.path for record in other.requests] == [ARCHIVE]


async def test_a_sign_in_page_instead_of_a_zip(server: DevServer, client: ClientSession) -> None:
    server.faults.add(ARCHIVE, Body())
    status, headers, body = await read(client)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith(b"<!doctype html>")


async def test_attempts_are_counted_for_each_path_without_probes(server: DevServer, client: ClientSession) -> None:
    rule = server.faults.add("/addons/*", Status(500), attempts=range(2, 4))
    nuke = "/addons/nuke/1.0.0/private/client.zip"
    assert (await read(client, Range="bytes=0-0"))[0] == 206  # learning the size does not count
    assert [(await read(client))[0] for _ in range(4)] == [200, 500, 500, 200]
    assert [(await read(client, nuke))[0] for _ in range(2)] == [200, 500]
    assert rule.hits == 3
    server.faults.clear()
    server.faults.add("/addons/*", Status(500), probes=True)
    assert (await read(client, Range="bytes=0-0"))[0] == 500


async def test_dice_fall_the_same_way_for_the_same_seed(server: DevServer, client: ClientSession) -> None:
    async def outcomes(seed: int) -> list[int]:
        server.faults.clear()
        server.faults.add(ARCHIVE, Status(500), probability=0.3, seed=seed)
        return [(await read(client, Range="bytes=5-9"))[0] for _ in range(60)]

    first = await outcomes(1)
    assert first == await outcomes(1)
    assert first != await outcomes(2)
    assert 8 < first.count(500) < 30
