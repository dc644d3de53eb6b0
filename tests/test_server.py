"""The client of an AYON server: what it asks, who it says it is, and what it says of answers that can't be used."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async import AyonServer, BundleChoice, __version__
from ayon_async.devserver import DevServer, recorded_studio, tiny_studio
from ayon_async.devserver.faults import Body, Busy, Fault, Redirect, Reset, Silence, Status, Truncated
from ayon_async.errors import (
    AccessDenied,
    AyonAsyncError,
    BundleError,
    InvalidAnswer,
    LoginFailed,
    NotSignedIn,
    ServerUnreachable,
)
from ayon_async.http import Timeouts
from studios import KEY, names_in, reached, signed_in, synced

DATA = Path(__file__).parent / "data" / "ayon-api"
JSON = "application/json"
CREDENTIALS = {"x-api-key", "authorization", "cookie"}


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as running:
        yield running


def sent(dev: DevServer) -> list[dict[str, str]]:
    """The headers of each request, their names in lower case."""
    return [{name.lower(): value for name, value in record.headers.items()} for record in dev.requests]


# --- what it asks -----------------------------------------------------------------------------------------------------


async def test_every_question_has_its_answer(dev: DevServer) -> None:
    async with signed_in(dev) as server:
        info = await server.info()
        assert info.user is not None
        assert (info.version, info.user.name) == ("1.16.0+DEVELOP", "artist")
        assert (await server.me()).name == "artist"
        bundles = await server.bundles()
        assert (bundles.production_bundle, bundles.staging_bundle, bundles.dev_bundles) == (
            "prod",
            "staging",
            ["dev-artist"],
        )
        assert {addon.name: set(addon.versions) for addon in await server.addons()} == {
            "core": {"1.0.0", "1.1.0"},
            "maya": {"1.0.0"},
            "nuke": {"1.0.0", "1.1.0"},
        }
        packages = await server.dependency_packages()
        assert {package.platform for package in packages} == {"windows", "linux", "darwin"}
        assert all(package.size and package.checksum for package in packages)
        own = await server.project_bundles("demo")
        assert (own.production, own.staging) == ("__project__demo__production", None)
        merged = await server.project_addons("prod", "__project__demo__production", "production")
        assert merged == {"core": "1.0.0", "maya": "1.0.0", "nuke": "1.1.0"}
        with pytest.raises(BundleError, match="no project 'nope'") as caught:
            await server.project_bundles("nope")
        assert caught.value.exit_code == 5


async def test_answers_of_a_real_server_are_understood() -> None:
    async with DevServer(recorded_studio(DATA)) as dev, signed_in(dev) as server:
        for path, file in (
            ("/api/info", "info_authenticated"),
            ("/api/users/me", "user_me"),
            ("/api/settings", "settings_summary"),
        ):
            dev.faults.add(path, Body((DATA / f"{file}.json").read_bytes(), JSON))
        info = await server.info()
        assert info.user is not None
        assert info.user.name == "admin"
        assert (await server.me()).name == "artist"
        summary = await server.project_addons("prod-2026-07", "__project__x", "production")
        assert summary == {"ayon_third_party": "1.3.0", "applications": "1.4.3", "blender": "1.1.7"}
        recorded = json.loads((DATA / "installers.json").read_bytes())["installers"]
        assert {one.filename for one in await server.installers()} == {one["filename"] for one in recorded}
        first = recorded[0]
        chosen = await server.installers(first["version"], first["platform"])
        assert {(one.version, one.platform) for one in chosen} == {(first["version"], first["platform"])}
        dev.faults.clear()
        dev.faults.add("/api/info", Body((DATA / "info_anonymous.json").read_bytes(), JSON))
        assert (await server.info()).user is None
        dev.faults.add("/api/auth/login", Body((DATA / "login.json").read_bytes(), JSON))
        assert await server.login("artist", "artist") == "<redacted>"


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/api", " {}/api/ ", "127.0.0.1:{port}"])
async def test_the_address_has_one_spelling(dev: DevServer, form: str) -> None:
    async with AyonServer(form.format(dev.url, port=dev.port), api_key=KEY) as server:
        assert server.url == dev.url
        assert (await server.me()).name == "artist"


async def test_it_says_what_it_is_and_wants_bytes_as_they_are(dev: DevServer) -> None:
    async with signed_in(dev, site_id="happy-llama") as server:
        await server.bundles()
    [headers] = sent(dev)
    assert headers["user-agent"] == f"ayon-async/{__version__}"
    assert headers["accept-encoding"] == "identity"
    assert headers["x-ayon-site-id"] == "happy-llama"
    assert headers["x-ayon-platform"] in ("windows", "linux", "darwin")
    assert headers["x-ayon-hostname"] == socket.gethostname()
    assert "referer" not in headers
    async with signed_in(dev) as server:
        await server.bundles()
    assert "x-ayon-site-id" not in sent(dev)[-1]


# --- who it says it is ------------------------------------------------------------------------------------------------


async def test_a_token_in_place_of_a_key_is_tried_once(dev: DevServer, tmp_path: Path) -> None:
    async with signed_in(dev) as server:
        token = await server.login("artist", "artist")
    dev.forget_requests()
    report = await synced(dev, tmp_path, key=token)
    assert report.ok
    first, *others = sent(dev)
    assert first["x-api-key"] == token
    assert all(other["authorization"] == f"Bearer {token}" and "x-api-key" not in other for other in others)
    assert reached(dev).count("/api/bundles") == 2


async def test_requests_that_are_refused_at_once_are_all_made_again(dev: DevServer) -> None:
    async with AyonServer(dev.url, token=KEY) as server:
        await asyncio.gather(*(server.me() for _ in range(4)))
    statuses = sorted(record.status for record in dev.requests)
    assert statuses == [200] * 4 + [401] * 4


async def test_a_key_in_place_of_a_token_is_tried_once(dev: DevServer) -> None:
    async with AyonServer(dev.url, token=KEY) as server:
        assert (await server.me()).name == "artist"
        await server.bundles()
    assert [record.status for record in dev.requests] == [401, 200, 200]


@pytest.mark.parametrize(
    ("options", "words", "requests"),
    [
        ({}, "wants to know who you are", 1),
        ({"api_key": "wrong"}, "does not accept the key or token", 2),
        ({"token": "0" * 64}, "does not accept the key or token", 2),
    ],
)
async def test_who_is_unknown_is_told_so(dev: DevServer, options: dict[str, str], words: str, requests: int) -> None:
    async with AyonServer(dev.url, **options) as server:  # type: ignore[arg-type]
        with pytest.raises(NotSignedIn, match=words) as caught:
            await server.bundles()
    assert caught.value.exit_code == 4
    assert "ayon-async login" in caught.value.hint
    assert len(dev.requests) == requests


async def test_login_and_logout(dev: DevServer) -> None:
    async with AyonServer(dev.url) as server:
        token = await server.login("artist", "artist")
        assert (await server.me()).name == "artist"
        await server.logout()
        with pytest.raises(NotSignedIn):
            await server.me()
    async with AyonServer(dev.url, token=token) as server:
        with pytest.raises(NotSignedIn):
            await server.me()


@pytest.mark.parametrize(
    ("name", "fault", "words"),
    [
        ("artist", None, "refuses the login of 'artist': Invalid login/password combination"),
        ("nobody", None, "refuses the login of 'nobody'"),
        ("farm", None, "Service users cannot log in"),
        ("artist", Status(403, "Too many failed login attempts"), "locked this address out"),
        ("artist", Status(503, "Rate limit exceeded"), "takes no more logins"),
    ],
)
async def test_a_login_is_never_tried_twice(dev: DevServer, name: str, fault: Fault | None, words: str) -> None:
    if fault is not None:
        dev.faults.add("/api/auth/login", fault)
    async with AyonServer(dev.url) as server:
        with pytest.raises(LoginFailed, match=words) as caught:
            await server.login(name, "open-sesame")
    assert caught.value.exit_code == 4
    assert "open-sesame" not in caught.value.message
    assert len(dev.requests) == 1


async def test_credentials_do_not_follow_a_redirect_to_another_origin(dev: DevServer, tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as other:
        dev.faults.add("/api/bundles", Redirect(f"{other.url}/api/bundles"))
        report = await synced(dev, tmp_path)
        assert isinstance(report.error, NotSignedIn)
        assert other.url in report.error.message + report.error.hint
        assert [record.status for record in other.requests] == [401]
        [headers] = sent(other)
        assert not CREDENTIALS & set(headers)
        assert not [name for name in headers if name.startswith("x-ayon")]


async def test_a_redirect_at_home_keeps_them_and_is_followed_five_times(dev: DevServer) -> None:
    dev.faults.add("/api/users/me", Redirect("/api/users/artist", 307))
    dev.faults.add("/api/bundles", Redirect())
    async with signed_in(dev) as server:
        assert (await server.me()).name == "artist"
        with pytest.raises(ServerUnreachable, match="more than 5 redirects") as caught:
            await server.bundles()
    assert caught.value.exit_code == 3
    assert len(dev.requests_to("/api/bundles")) == 6


# --- answers that can't be used ---------------------------------------------------------------------------------------

WRONG_ANSWERS: list[tuple[Fault, type[AyonAsyncError], int, str]] = [
    (Body(), InvalidAnswer, 3, "answered 200 with a web page: this is not an AYON server"),
    (Body(b"hello", "text/plain"), InvalidAnswer, 3, "answered 200 with something that is not JSON"),
    (Body(b"<h1>Bad gateway</h1>", "text/html", 502), InvalidAnswer, 3, "answered 502 with a web page"),
    (Body(b'{"bundles": [', JSON), InvalidAnswer, 3, "is not valid JSON"),
    (Body(b"", JSON), InvalidAnswer, 3, "is not valid JSON"),
    (Body(b"\xff\xfe", JSON), InvalidAnswer, 3, "is not valid JSON"),
    (Body(b"[]", JSON), InvalidAnswer, 3, "Expected `object`, got `array`"),
    (Body(b"{}", JSON), InvalidAnswer, 3, "missing required field `bundles`"),
    (Body(b'{"bundles": {}}', JSON), InvalidAnswer, 3, r"got `object` - at `\$.bundles`"),
    (Body(b'{"bundles": [{"name": 5}]}', JSON), InvalidAnswer, 3, r"at `\$.bundles\[0\].name`"),
    (
        Body(b'{"bundles": [{"name": "p", "addons": {"maya": 1.2}}]}', JSON),
        InvalidAnswer,
        3,
        r"got `float` - at `\$.bundles\[0\].addons\['maya'\]`",
    ),
    (Body(b"gone", "text/plain", 503), InvalidAnswer, 3, r"answered 503 with something that is not JSON\.$"),
    (Status(403, f"{KEY} is not for you"), AccessDenied, 4, r"this user: \*\*\* is not for you"),
    (Status(500, "Internal"), InvalidAnswer, 3, "answered 500: Internal"),
    (Status(404, "Nope"), InvalidAnswer, 3, "answered 404: Nope"),
    (Status(403, "Not for you"), AccessDenied, 4, "not allowed for this user: Not for you"),
    (Redirect("ftp://example.com/x"), ServerUnreachable, 3, "neither http nor https"),
    (Redirect("http://[broken"), ServerUnreachable, 3, "no URL"),
]


@pytest.mark.parametrize(("fault", "kind", "code", "words"), WRONG_ANSWERS)
async def test_a_wrong_answer_is_one_error_that_names_url_and_field(
    dev: DevServer, tmp_path: Path, fault: Fault, kind: type[AyonAsyncError], code: int, words: str
) -> None:
    dev.faults.add("/api/bundles", fault)
    report = await synced(dev, tmp_path)
    assert type(report.error) is kind
    assert report.exit_code == code
    assert f"{dev.url}/api/bundles" in report.error.message
    assert re.search(words, report.error.message), report.error.message
    assert report.error.hint
    assert report.items == ()
    assert not names_in(tmp_path)


@pytest.mark.parametrize("path", ["/api/addons", "/api/desktop/dependencyPackages", "/api/users/me"])
async def test_so_it_is_with_every_question_of_a_run(dev: DevServer, tmp_path: Path, path: str) -> None:
    dev.faults.add(path, Body(b'{"name": 1, "addons": 1, "packages": 1}', JSON))
    report = await synced(dev, tmp_path, BundleChoice(dev=True))
    assert isinstance(report.error, InvalidAnswer)
    assert f"{dev.url}{path}" in report.error.message
    assert "$." in report.error.message


async def test_what_gets_better_is_asked_again(dev: DevServer) -> None:
    dev.faults.add("/api/bundles", Busy(503, 0), attempts=1)
    dev.faults.add("/api/users/me", Reset(), attempts=1)
    dev.faults.add("/api/users/me", Status(500), attempts=2)
    dev.faults.add("/api/users/me", Status(520), attempts=3)
    dev.faults.add("/api/info", Truncated(5), attempts=1)
    async with signed_in(dev, retries=3) as server:
        assert (await server.bundles()).production_bundle == "prod"
        assert (await server.me()).name == "artist"
        assert (await server.info()).user is not None
    assert len(dev.requests) == 2 + 4 + 2


# --- no answer --------------------------------------------------------------------------------------------------------


async def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    begun = time.monotonic()
    async with AyonServer(f"http://127.0.0.1:{port}", api_key=KEY) as server:
        with pytest.raises(ServerUnreachable, match=f"No connection to http://127.0.0.1:{port}/api/bundles") as caught:
            await server.bundles()
    assert caught.value.exit_code == 3
    assert "Connect call" not in caught.value.message
    assert time.monotonic() - begun < 10


async def test_something_else_there() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    peer = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = peer.sockets[0].getsockname()[1]
    async with peer, AyonServer(f"http://127.0.0.1:{port}", api_key=KEY) as server:
        with pytest.raises(ServerUnreachable, match="does not speak HTTP") as caught:
            await server.bundles()
    assert caught.value.hint == "Check the port."


async def test_a_server_that_says_nothing_is_given_up(dev: DevServer) -> None:
    dev.faults.add("*", Silence(-1))
    async with signed_in(dev, timeouts=Timeouts(connect=0.2, silence=0.2)) as server:
        with pytest.raises(ServerUnreachable, match="No answer from") as caught:
            await server.bundles()
    assert "AYON_SERVER_TIMEOUT" in caught.value.hint


async def test_a_client_that_is_not_open_says_so(dev: DevServer) -> None:
    server: Any = AyonServer(dev.url)
    with pytest.raises(RuntimeError, match="async with"):
        await server.info()
