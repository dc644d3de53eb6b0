"""The embedded server answers as a real AYON server does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from ayon_async.devserver import ARTIST, DevServer, Studio, addon, noise, package, tiny_studio, zip_bytes

ARCHIVE = "/addons/maya/1.0.0/private/client.zip"
KEY = {"X-Api-Key": "artist-key"}
ADMIN_KEY = {"X-Api-Key": "admin-key"}


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(), heartbeat=0.1, grace=2) as running:
        yield running


@pytest.fixture
async def client(server: DevServer) -> AsyncIterator[ClientSession]:
    async with ClientSession(server.url, headers=KEY) as session:
        yield session


@pytest.fixture
async def anyone(server: DevServer) -> AsyncIterator[ClientSession]:
    async with ClientSession(server.url) as session:
        yield session


async def get(session: ClientSession, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with session.get(path, headers=headers) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def json_of(session: ClientSession, path: str, **headers: str) -> Any:
    async with session.get(path, headers=headers) as response:
        return await response.json()


async def token_of(session: ClientSession) -> str:
    async with session.post("/api/auth/login", json={"name": "artist", "password": "artist"}) as response:
        assert response.status == 200
        token = (await response.json())["token"]
        assert isinstance(token, str)
        return token


def archive_of(server: DevServer) -> bytes:
    content = server.studio.addons["maya", "1.0.0"].files["client.zip"]
    assert isinstance(content, bytes)
    return content


# --- who you are ------------------------------------------------------------------------------------------------------


async def test_info_names_the_user_only_with_valid_credentials(anyone: ClientSession) -> None:
    token = await token_of(anyone)
    assert len(token) == 64
    assert "user" not in await json_of(anyone, "/api/info")
    assert "user" not in await json_of(anyone, "/api/info", Authorization="Bearer " + "0" * 64)
    for credentials in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": "ApiKey artist-key"},
        {"X-Api-Key": "artist-key"},
    ):
        assert (await json_of(anyone, "/api/info", **credentials))["user"]["name"] == "artist"
        assert (await json_of(anyone, "/api/users/me", **credentials))["name"] == "artist"


@pytest.mark.parametrize(
    ("credentials", "detail"),
    [
        ({}, "Access token is missing"),
        ({"Authorization": "Bearer short"}, "Access token is missing"),
        ({"Authorization": "Bearer " + "0" * 64}, "Invalid session"),
        ({"X-Api-Key": "wrong"}, "Invalid session"),
    ],
)
@pytest.mark.parametrize("path", ["/api/bundles", "/api/users/me", ARCHIVE])
async def test_refuses_who_is_not_signed_in(
    anyone: ClientSession, path: str, credentials: dict[str, str], detail: str
) -> None:
    status, headers, body = await get(anyone, path, **credentials)
    assert status == 401
    assert headers["content-type"] == "application/json"
    assert body == b'{"code":401,"detail":"%b"}' % detail.encode()


async def test_logout_and_expiry_end_sessions(server: DevServer, anyone: ClientSession) -> None:
    first, second = await token_of(anyone), await token_of(anyone)
    async with anyone.post("/api/auth/logout", headers={"Authorization": f"Bearer {first}"}) as response:
        assert response.status == 200
    assert (await get(anyone, "/api/bundles", Authorization=f"Bearer {first}"))[0] == 401
    assert (await get(anyone, "/api/bundles", Authorization=f"Bearer {second}"))[0] == 200
    server.accounts.end_all_sessions()
    assert (await get(anyone, "/api/bundles", Authorization=f"Bearer {second}"))[0] == 401


async def login(session: ClientSession, **body: str) -> tuple[int, str]:
    async with session.post("/api/auth/login", json=body) as response:
        return response.status, (await response.json())["detail"]


async def test_ten_bad_passwords_ban_the_address() -> None:
    async with DevServer(tiny_studio(), ban_seconds=1) as server, ClientSession(server.url) as session:
        for _ in range(10):
            assert await login(session, name="artist", password="no") == (403, "Invalid login/password combination")
        assert await login(session, name="artist", password="artist") == (403, "Too many failed login attempts")
        await asyncio.sleep(1.1)
        assert await login(session, name="artist", password="artist") == (200, "Logged in as artist")


async def test_other_refused_logins(anyone: ClientSession) -> None:
    assert await login(anyone, name="nobody", password="x") == (403, "Invalid login/password combination")
    assert await login(anyone, name="farm", password="x") == (403, "Service users cannot log in")
    status, detail = await login(anyone, name="artist")
    assert (status, detail) == (400, "Request validation error in [POST] /api/auth/login")
    async with anyone.post("/api/auth/login", data=b"{") as response:
        assert (response.status, (await response.json())["traceback"]) == (400, "0: JSON decode error")


async def test_throttled_logins_are_503_after_ten_a_minute() -> None:
    async with DevServer(tiny_studio(), throttle_logins=True) as server, ClientSession(server.url) as session:
        for _ in range(10):
            assert (await login(session, name="artist", password="artist"))[0] == 200
        assert await login(session, name="artist", password="artist") == (503, "Rate limit exceeded. Try again later")


async def test_browser_sign_in_leads_to_the_loopback_with_a_token(anyone: ClientSession) -> None:
    page = "/?auth_redirect=http://localhost:5999"
    status, headers, body = await get(anyone, page)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<form" in body
    async with anyone.post(page, data={"name": "artist", "password": "no"}, allow_redirects=False) as response:
        assert (response.status, "Invalid login" in await response.text()) == (200, True)
    async with anyone.post(page, data={"name": "artist", "password": "artist"}, allow_redirects=False) as response:
        assert response.status == 303
        target, token = response.headers["Location"].split("?token=")
    assert target == "http://localhost:5999"
    assert (await json_of(anyone, "/api/info", Authorization=f"Bearer {token}"))["user"]["name"] == "artist"
    elsewhere = "/?auth_redirect=http://example.com"
    async with anyone.post(elsewhere, data={"name": "artist", "password": "artist"}) as response:
        assert response.status == 200


# --- what should be installed -----------------------------------------------------------------------------------------


async def test_bundles_addons_and_packages(client: ClientSession) -> None:
    bundles = await json_of(client, "/api/bundles")
    assert (bundles["productionBundle"], bundles["stagingBundle"]) == ("prod", "staging")
    assert bundles["devBundles"] == ["dev-artist"]
    addons = (await json_of(client, "/api/addons?details=1"))["addons"]
    assert [one["name"] for one in addons] == ["core", "maya", "nuke"]
    entry = addons[0]["versions"]["1.1.0"]
    assert entry["clientSourceInfo"] == [{"type": "server", "filename": "client.zip"}]
    assert "clientSourceInfo" not in (await json_of(client, "/api/addons"))["addons"][0]["versions"]["1.1.0"]
    packages = (await json_of(client, "/api/desktop/dependencyPackages"))["packages"]
    assert {one["platform"] for one in packages} == {"windows", "linux", "darwin"}


async def test_installers_are_filtered(server: DevServer, client: ClientSession) -> None:
    wanted = package("AYON-1.5.5-linux.tar.gz", b"an installer", version="1.5.5")
    other = package("AYON-1.5.4-linux.tar.gz", b"another", version="1.5.4")
    server.studio = replace(server.studio, installers=(wanted, other))
    listed = (await json_of(client, "/api/desktop/installers?version=1.5.5&platform=linux"))["installers"]
    assert [one["filename"] for one in listed] == [wanted.filename]
    assert (await get(client, f"/api/desktop/installers/{wanted.filename}"))[2] == b"an installer"


async def test_a_project_bundle_is_merged_over_the_studio_bundle(server: DevServer, client: ClientSession) -> None:
    project = await json_of(client, "/api/projects/demo")
    name = project["data"]["bundle"]["production"]
    path = f"/api/settings?summary=true&bundle_name=prod&project_bundle_name={name}"
    summary = await json_of(client, path)
    assert summary["bundleName"] == name
    assert summary["projectName"] == "demo"
    assert {one["name"]: one["version"] for one in summary["addons"]} == {
        "core": "1.0.0",
        "maya": "1.0.0",
        "nuke": "1.1.0",
    }
    assert summary["inheritedAddons"] == ["core", "maya"]
    # what may not be overridden stays, what is null goes, what is unknown stays
    await server.patch_bundle(name, {"addons": {"nuke": "9.9.9", "core": "1.1.0"}})
    bundle = server.studio.bundle(name)
    assert bundle is not None
    fixed = replace(server.studio.addons["core", "1.1.0"], project_can_override=False)
    removed = replace(bundle, addons={**bundle.addons, "maya": None})
    server.studio = replace(
        server.studio,
        addons={**server.studio.addons, ("core", "1.1.0"): fixed},
        bundles=tuple(removed if one.name == name else one for one in server.studio.bundles),
    )
    versions = {one["name"]: one["version"] for one in (await json_of(client, path))["addons"]}
    assert versions == {"core": "1.0.0", "nuke": "1.0.0"}


async def test_a_project_bundle_is_found_only_for_its_variant(client: ClientSession) -> None:
    path = "/api/settings?summary=true&bundle_name=staging&project_bundle_name=__project__demo__production"
    assert (await get(client, path))[0] == 200
    assert (await get(client, path + "&variant=staging"))[0] == 404


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/doesnotexist", 404, "API endpoint /api/doesnotexist not found"),
        ("/addons/maya/1.0.0/whatever", 404, "Addon endpoint /addons/maya/1.0.0/whatever not found"),
        ("/addons/nope/1.0.0/private/client.zip", 404, "Addon nope does not exist"),
        ("/addons/maya/9.9.9/private/client.zip", 404, "Addon maya version 9.9.9 does not exist"),
        ("/addons/maya/1.0.0/private/nope.zip", 404, "File not found"),
        ("/addons/maya/1.0.0/private/..%2f..%2fpackage.py", 404, "Invalid file path"),
        ("/api/desktop/dependencyPackages/nope.zip", 404, "File not found"),
        ("/api/desktop/installers/nope.exe", 404, "File not found"),
        ("/api/projects/nope", 404, "Project 'nope' not found"),
    ],
)
async def test_errors(server: DevServer, client: ClientSession, path: str, status: int, detail: str) -> None:
    from yarl import URL

    async with client.get(URL(server.url + path, encoded=True)) as response:
        answer = await response.json()
        assert (response.status, answer["code"], answer["detail"]) == (status, status, detail)


async def test_an_unknown_path_is_the_web_page(anyone: ClientSession) -> None:
    status, headers, _ = await get(anyone, "/nothing/here")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")


# --- where the bytes are ----------------------------------------------------------------------------------------------


async def test_download(server: DevServer, client: ClientSession) -> None:
    status, headers, body = await get(client, ARCHIVE, **{"Accept-Encoding": "gzip, br"})
    assert (status, body) == (200, archive_of(server))
    assert headers["content-type"] == "application/zip"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-length"] == str(len(body))
    assert "content-encoding" not in headers
    again = await get(
        client, ARCHIVE, **{"If-None-Match": headers["etag"], "If-Modified-Since": headers["last-modified"]}
    )
    assert (again[0], again[2]) == (200, body)


async def test_head_is_404(client: ClientSession) -> None:
    for path in (ARCHIVE, "/api/info", "/"):
        async with client.head(path) as response:
            assert response.status == 404
    async with client.head(ARCHIVE) as response:
        assert response.headers["Content-Length"] == str(58 + 2 * len(ARCHIVE) + 1)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-100", -100, None),
        ("bytes=0-99999999", 0, None),
        ("bytes=0-99,100-199", 0, 200),
    ],
)
async def test_single_ranges(server: DevServer, client: ClientSession, asked: str, start: int, end: int | None) -> None:
    whole = archive_of(server)
    status, headers, body = await get(client, ARCHIVE, Range=asked)
    assert (status, body) == (206, whole[start:end])
    first = start % len(whole)
    assert headers["content-range"] == f"bytes {first}-{first + len(body) - 1}/{len(whole)}"


async def test_ranges_from_a_file(server: DevServer, client: ClientSession, tmp_path: Path) -> None:
    whole = noise(1_500_000)
    (tmp_path / "big.zip").write_bytes(whole)
    server.studio = replace(server.studio, addons={("maya", "1.0.0"): addon(tmp_path / "big.zip")})
    assert (await get(client, ARCHIVE))[2] == whole
    assert (await get(client, ARCHIVE, Range="bytes=700000-1400000"))[2] == whole[700000:1400001]
    etag = (await get(client, ARCHIVE, Range="bytes=0-0"))[1]["etag"]
    (tmp_path / "big.zip").write_bytes(whole)  # the same bytes, uploaded again
    assert (await get(client, ARCHIVE, Range="bytes=0-0"))[1]["etag"] != etag


@pytest.mark.parametrize("asked", ["bytes={size}-", "bytes={size}-99999999", "bytes=-{more}"])
async def test_ranges_outside_are_416(server: DevServer, client: ClientSession, asked: str) -> None:
    size = len(archive_of(server))
    status, headers, body = await get(client, ARCHIVE, Range=asked.format(size=size, more=size + 10))
    assert (status, headers["content-range"], body) == (416, f"*/{size}", b"")


async def test_malformed_ranges_are_400(client: ClientSession) -> None:
    status, headers, body = await get(client, ARCHIVE, Range="bytes=abc")
    assert (status, headers["content-type"], len(body)) == (400, "text/plain; charset=utf-8", 37)
    assert (await get(client, ARCHIVE, Range="items=0-1"))[0] == 400
    assert (await get(client, ARCHIVE, Range="bytes=9-3"))[0] == 400


async def test_disjoint_ranges_are_broken_as_on_a_real_server(server: DevServer, client: ClientSession) -> None:
    whole = noise(533_935)
    server.studio = replace(server.studio, addons={("maya", "1.0.0"): addon(whole)})
    status, headers, body = await get(client, ARCHIVE, Range="bytes=0-9,100-109")
    assert (status, headers["content-type"], headers["content-length"]) == (206, "application/zip", "241")
    assert headers["content-range"].startswith("multipart/byteranges; boundary=")
    assert whole[100:110] in body


async def test_if_range(server: DevServer, client: ClientSession) -> None:
    _, headers, _ = await get(client, ARCHIVE)
    for validator, expected in (
        (headers["etag"], 206),
        (headers["last-modified"], 206),
        ('"bad"', 200),
        ("Sun, 22 Nov 2020 17:00:22 GMT", 200),
    ):
        status, _, body = await get(client, ARCHIVE, **{"Range": "bytes=0-99", "If-Range": validator})
        assert (status, len(body)) == (expected, 100 if expected == 206 else len(archive_of(server)))


async def test_a_source_with_a_path_of_its_own(server: DevServer, client: ClientSession) -> None:
    server.studio = replace(server.studio, files={"/addons/maya/maya.zip": b"here", "/static/maya.zip": b"open"})
    assert (await get(client, "/addons/maya/maya.zip", Range="bytes=1-2"))[2] == b"er"
    async with ClientSession(server.url) as anyone:
        assert (await get(anyone, "/addons/maya/maya.zip"))[0] == 401
        assert (await get(anyone, "/static/maya.zip"))[2] == b"open"


async def test_idle_connections_are_closed_after_two_seconds(server: DevServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /api/info HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    started = time.monotonic()
    await asyncio.wait_for(reader.read(), 10)
    assert 1.5 < time.monotonic() - started < 6
    writer.close()


# --- news -------------------------------------------------------------------------------------------------------------


async def next_event(socket: ClientWebSocketResponse) -> Any:
    """The next message that is no heart-beat."""
    while (message := await socket.receive_json(timeout=5)) == {"topic": "heartbeat"}:
        pass
    return message


async def test_promotion_is_news_to_subscribers(server: DevServer, anyone: ClientSession) -> None:
    token = await token_of(anyone)
    async with anyone.ws_connect("/ws") as deaf, anyone.ws_connect("/ws") as socket:
        await socket.send_json({"topic": "auth", "token": token, "subscribe": ["bundle"]})
        await deaf.send_json({"topic": "auth", "token": token, "subscribe": ["settings"]})
        await server.news.wait_for_listeners(2)
        async with anyone.patch("/api/bundles/staging", json={"isProduction": True}, headers=ADMIN_KEY) as response:
            assert response.status == 204
        event = await next_event(socket)
        assert event["topic"] == "bundle.updated"
        assert event["summary"]["name"] == "staging"
        assert event["summary"]["changedFields"] == ["isProduction"]
        assert (await socket.receive_json(timeout=5)) == {"topic": "heartbeat"}
        await server.news.tell("settings.changed")
        assert (await next_event(deaf))["topic"] == "settings.changed"
    bundles = await json_of(anyone, "/api/bundles", **KEY)
    assert bundles["productionBundle"] == bundles["stagingBundle"] == "staging"
    assert [one["name"] for one in bundles["bundles"] if one["isProduction"]] == ["staging"]


async def test_only_an_administrator_promotes(client: ClientSession) -> None:
    async with client.patch("/api/bundles/staging", json={"isProduction": True}) as response:
        assert (response.status, (await response.json())["detail"]) == (403, "Only admins can patch bundles")


async def test_promotion_by_action_and_new_bundles(server: DevServer, anyone: ClientSession) -> None:
    async with anyone.post("/api/bundles/prod", json={"action": "promote"}, headers=ADMIN_KEY) as response:
        assert response.status == 400
    async with anyone.post("/api/bundles/staging", json={"action": "promote"}, headers=ADMIN_KEY) as response:
        assert response.status == 204
    new = {"name": "next", "addons": {"core": "1.1.0"}, "isStaging": True}
    async with anyone.post("/api/bundles", json=new, headers=ADMIN_KEY) as response:
        assert response.status == 201
    production, staging = server.studio.production(), server.studio.staging()
    assert production is not None
    assert staging is not None
    assert (production.name, staging.name) == ("staging", "next")


async def closed_with(session: ClientSession, token: str) -> int | None:
    async with session.ws_connect("/ws") as socket:
        await socket.send_json({"topic": "auth", "token": token, "subscribe": ["bundle"]})
        message = await socket.receive(timeout=5)
        return socket.close_code if message.type is WSMsgType.CLOSE else None


async def test_an_api_key_opens_the_websocket_only_after_http() -> None:
    async with DevServer(tiny_studio(), heartbeat=0.1, grace=0.5) as server, ClientSession(server.url) as session:
        codes = await asyncio.gather(closed_with(session, "0" * 64), closed_with(session, "artist-key"))
        assert [*codes] == [1000, 1000]
        await get(session, "/api/users/me", **KEY)
        assert await closed_with(session, "artist-key") is None


async def test_restart_closes_with_1012(server: DevServer, anyone: ClientSession) -> None:
    token = await token_of(anyone)
    async with anyone.ws_connect("/ws") as socket:
        await socket.send_json({"topic": "auth", "token": token, "subscribe": []})
        await server.news.wait_for_listeners()
        restart = asyncio.create_task(server.news.restart())
        assert (await next_event(socket))["topic"] == "server.restart_requested"
        assert (await socket.receive(timeout=5)).type is WSMsgType.CLOSE
        assert socket.close_code == 1012
        await restart


# --- the server itself ------------------------------------------------------------------------------------------------


async def test_requests_are_recorded(server: DevServer, client: ClientSession) -> None:
    size = len(archive_of(server))
    await get(client, ARCHIVE)
    await get(client, ARCHIVE, Range="bytes=100-")
    await get(client, "/api/bundles?archived=1")
    first, second, third = server.requests
    assert (first.method, first.path, first.status, first.range, first.asked) == ("GET", ARCHIVE, 200, None, size)
    assert (second.status, second.range, second.asked, second.bytes_sent) == (206, "bytes=100-", size - 100, size - 100)
    assert (third.path_qs, third.asked, third.headers["x-api-key"]) == ("/api/bundles?archived=1", 0, "artist-key")
    assert server.bytes_asked("/addons/*") == server.bytes_sent() == 2 * size - 100
    server.forget_requests()
    assert server.requests == []


async def test_a_stopped_server_starts_again_at_the_same_port(server: DevServer, anyone: ClientSession) -> None:
    token = await token_of(anyone)
    url = server.url
    await server.stop()
    async with ClientSession() as session:
        with pytest.raises(OSError, match="onnect"):
            await session.get(f"{url}/api/info")
        await server.start()
        assert server.url == url
        async with session.get(f"{url}/api/bundles", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 200


async def test_an_empty_studio_serves() -> None:
    async with DevServer(Studio(users=(ARTIST,))) as server, ClientSession(server.url, headers=KEY) as session:
        assert (await json_of(session, "/api/bundles"))["productionBundle"] is None
        assert await json_of(session, "/api/addons?details=1") == {"addons": []}
        with pytest.raises(WSServerHandshakeError):
            await session.ws_connect("/api/info")


def test_zip_bytes_are_the_same_every_time() -> None:
    files: dict[str, bytes | str] = {"folder/": "", "folder/a.txt": "a", "b.bin": b"b" * 100}
    assert zip_bytes(files) == zip_bytes(files)
