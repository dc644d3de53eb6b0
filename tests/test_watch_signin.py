"""Signing in as a dialog does it: what is said of an address, three ways in, and the servers that it offers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest import mock

import aiohttp
import pytest

from ayon_async.cli.output import Output
from ayon_async.cli.setup import Setup, set_up
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.errors import InvalidAnswer, LoginFailed, NotSignedIn, ServerUnreachable, UsageError
from ayon_async.watch import sso
from ayon_async.watch.servers import remembered_servers
from cli_machine import Machine


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    with mock.patch.dict(os.environ, Machine(tmp_path).env, clear=True):
        yield set_up({}, Output(quiet=True))


async def test_an_address_as_people_type_it(setup: Setup, server: DevServer) -> None:
    found = await sso.find_server(setup, f"127.0.0.1:{server.port}/")
    assert (found.url, found.version) == (server.url, "1.16.0+DEVELOP")


async def test_what_is_no_server(setup: Setup, server: DevServer) -> None:
    with pytest.raises(UsageError):
        await sso.find_server(setup, "http://")
    with pytest.raises(InvalidAnswer):
        await sso.find_server(setup, f"{server.url}/some/page")
    await server.stop()
    with pytest.raises(ServerUnreachable):
        await sso.find_server(setup, server.url)


async def test_by_password(setup: Setup, server: DevServer) -> None:
    with pytest.raises(LoginFailed):
        await sso.password_sign_in(setup, server.url, "artist", "wrong")
    signed_in = await sso.password_sign_in(setup, server.url, "artist", "artist")
    assert signed_in.user == "artist"
    await sso.keep(setup, server.url, signed_in)
    kept = await asyncio.to_thread(setup.again().credentials.load, server.url)
    assert kept is not None
    assert kept.token == signed_in.token
    assert setup.again().settings.server == server.url


async def test_by_key(setup: Setup, server: DevServer) -> None:
    with pytest.raises(NotSignedIn):
        await sso.key_sign_in(setup, server.url, "wrong")
    assert (await sso.key_sign_in(setup, server.url, "artist-key")).user == "artist"


async def test_the_environment_s_key_is_for_its_own_server(
    setup: Setup, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AYON_API_KEY", "artist-key")
    monkeypatch.setenv("AYON_SERVER_URL", "https://ayon.example.com")
    await sso.find_server(setup.again(), server.url)
    assert server.accounts.sessions == {}, "it was told to nobody else"


async def test_by_browser(setup: Setup, server: DevServer) -> None:
    page, there = list[str](), threading.Event()

    def open_browser(address: str) -> None:
        page.append(address)
        there.set()

    waiting = asyncio.create_task(sso.browser_sign_in(setup, server.url, open_browser))
    assert await asyncio.to_thread(there.wait, 10)
    form = {"name": "artist", "password": "artist"}
    async with aiohttp.ClientSession() as session, session.post(page[0], data=form) as answer:
        assert answer.status == 200
    assert (await waiting).user == "artist"


def test_the_last_server_is_offered_first(setup: Setup) -> None:
    assert remembered_servers(setup.credentials) == ()
    for url in ("https://b.example.com", "https://a.example.com", "https://c.example.com", "https://b.example.com"):
        setup.credentials.remember(url)
    expected = ("https://b.example.com", "https://a.example.com", "https://c.example.com")
    assert remembered_servers(setup.credentials) == expected
