"""Signing in and out against a real server: password, key, and the browser's way with a real HTTP client as browser."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import keyring
import pytest
from keyring.core import load_keyring

from ayon_async import AyonServer
from ayon_async.credentials import Credentials
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.errors import LoginFailed, NotSignedIn, ServerUnreachable
from ayon_async.signin import (
    SignedIn,
    sign_in_with_browser,
    sign_in_with_key,
    sign_in_with_password,
    sign_out,
    signed_in_already,
)


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(100)) as dev:
        yield dev


@pytest.fixture
async def server(dev: DevServer) -> AsyncIterator[AyonServer]:
    async with AyonServer(dev.url, retries=0) as server:
        yield server


@pytest.fixture
def credentials(tmp_path: Path) -> Iterator[Credentials]:
    before = keyring.get_keyring()
    keyring.set_keyring(load_keyring("keyring.backends.fail.Keyring"))
    yield Credentials(tmp_path / "config")
    keyring.set_keyring(before)


# --- password and key -----------------------------------------------------------------------------------------------


async def test_password(dev: DevServer, server: AyonServer) -> None:
    signed_in = await sign_in_with_password(server, "Artist", "artist")
    assert signed_in.user == "artist", "as the server spells it"
    assert signed_in.token in dev.accounts.sessions
    assert signed_in.token not in repr(signed_in)
    assert (await server.bundles()).production_bundle == "prod", "the token is in use"


async def test_a_wrong_password_is_tried_once(dev: DevServer, server: AyonServer) -> None:
    with pytest.raises(LoginFailed, match="refuses the login of 'artist'"):
        await sign_in_with_password(server, "artist", "wrong")
    assert len(dev.requests) == 1


async def test_key_and_token_that_is_called_a_key(dev: DevServer, server: AyonServer) -> None:
    assert await sign_in_with_key(server, "service-key") == SignedIn("farm", "service-key")
    token = dev.accounts.open_session(dev.studio.users[1])
    assert (await sign_in_with_key(server, token)).user == "artist"
    with pytest.raises(NotSignedIn):
        await sign_in_with_key(server, "junk")


async def test_a_kept_key_serves_as_a_token_does(dev: DevServer) -> None:
    async with AyonServer(dev.url, token="artist-key") as server:
        await server.bundles()
    async with AyonServer(dev.url, token="junk") as server:
        with pytest.raises(NotSignedIn):
            await server.bundles()


# --- keeping and forgetting -----------------------------------------------------------------------------------------


async def test_what_is_kept_is_found_and_ended(dev: DevServer, server: AyonServer, credentials: Credentials) -> None:
    signed_in = await sign_in_with_password(server, "artist", "artist")
    assert await signed_in_already(server, credentials) is None
    credentials.save(dev.url, signed_in.token)
    assert await signed_in_already(server, credentials) == signed_in

    dev.accounts.end_all_sessions()
    assert await signed_in_already(server, credentials) is None, "expired"
    dev.accounts.sessions[signed_in.token] = "artist"
    async with AyonServer(dev.url) as another:
        out = await sign_out(another, credentials)
    assert (out.found, out.error) == (True, None)
    assert signed_in.token not in dev.accounts.sessions, "the session is over on the server"
    assert credentials.load(dev.url) is None
    async with AyonServer(dev.url) as another:
        assert (await sign_out(another, credentials)).found is False
    assert len(dev.requests_to("/api/auth/logout")) == 1, "without a token there is nothing to say"


async def test_sign_out_forgets_the_token_even_if_the_server_is_gone(
    dev: DevServer, server: AyonServer, credentials: Credentials
) -> None:
    credentials.save(dev.url, (await sign_in_with_password(server, "artist", "artist")).token)
    await dev.stop()
    out = await sign_out(server, credentials)
    assert out.found is True
    assert isinstance(out.error, ServerUnreachable)
    assert credentials.load(dev.url) is None


# --- the browser ----------------------------------------------------------------------------------------------------


class Browser:
    """A person with a browser: `opened` is told the page's address, as `webbrowser.open` would be."""

    def __init__(self) -> None:
        self.address = ""
        self._there = threading.Event()

    def opened(self, address: str) -> None:
        self.address = address
        self._there.set()

    async def page(self) -> str:
        assert await asyncio.to_thread(self._there.wait, 10)
        return self.address

    async def answers_at(self) -> str:
        match = re.fullmatch(r"http://127\.0\.0\.1:\d+/\?auth_redirect=(http://localhost:\d+)", await self.page())
        assert match is not None
        return match[1]


async def get(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


async def test_browser_from_the_page_to_the_token(dev: DevServer, server: AyonServer) -> None:
    browser = Browser()
    waiting = asyncio.create_task(sign_in_with_browser(server, browser.opened))
    async with aiohttp.ClientSession() as session:
        form = {"name": "artist", "password": "artist"}
        async with session.post(await browser.page(), data=form) as response:
            left_with = await response.text()
    signed_in = await waiting
    assert signed_in.user == "artist"
    assert signed_in.token in dev.accounts.sessions
    assert f"You are signed in to {dev.url} as artist; close this page." in left_with
    assert signed_in.token not in left_with
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(await browser.answers_at())


async def test_stray_requests_are_no_answer(dev: DevServer, server: AyonServer) -> None:
    token = dev.accounts.open_session(dev.studio.users[1])
    browser = Browser()
    waiting = asyncio.create_task(sign_in_with_browser(server, browser.opened))
    here = await browser.answers_at()
    for path in ("/favicon.ico", "/", "/?token=", f"/other?token={token}", "/?token=a%20b"):
        assert (await get(here + path))[0] == 404, path
    assert (await get(f"{here}/?token={token}", Host="studio.example.com"))[0] == 404, "a name that leads here"
    assert (await get(f"{here}/?token={token}", **{"Sec-Fetch-Mode": "no-cors"}))[0] == 404, "an image's address"
    async with aiohttp.ClientSession() as session, session.post(f"{here}/?token={token}") as response:
        assert response.status == 404
    # A browser also opens connections before it knows what for.
    idle = socket.create_connection(("127.0.0.1", int(here.rpartition(":")[2])))
    assert not waiting.done()
    status, text = await get(f"{here}/?token={token}", **{"Sec-Fetch-Mode": "navigate"})
    assert (status, "as artist" in text) == (200, True)
    assert await waiting == SignedIn("artist", token)
    idle.close()


async def test_a_token_that_the_server_does_not_know_is_refused(server: AyonServer) -> None:
    browser = Browser()
    waiting = asyncio.create_task(sign_in_with_browser(server, browser.opened))
    _, text = await get(f"{await browser.answers_at()}/?token={'0' * 64}")
    assert "Not signed in" in text
    with pytest.raises(LoginFailed, match="does not accept the token"):
        await waiting


async def test_it_listens_on_loopback_only_and_not_for_ever(server: AyonServer) -> None:
    browser = Browser()
    waiting = asyncio.create_task(sign_in_with_browser(server, browser.opened, patience=0.5))
    port = int((await browser.answers_at()).rpartition(":")[2])
    if sys.platform == "linux":  # elsewhere this is no address of this machine
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)
    _, writer = await asyncio.open_connection("localhost", port)
    writer.close()
    with pytest.raises(LoginFailed, match="No answer came from the browser"):
        await waiting
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("localhost", port)


async def test_a_browser_that_never_comes_back_holds_nobody_up(server: AyonServer) -> None:
    left = threading.Event()
    with pytest.raises(LoginFailed):
        await sign_in_with_browser(server, lambda _: left.wait(30), patience=0.1)
    assert not left.is_set()
    left.set()


async def test_cancelling_closes_the_port(server: AyonServer) -> None:
    browser = Browser()
    waiting = asyncio.create_task(sign_in_with_browser(server, browser.opened))
    here = await browser.answers_at()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(here)
