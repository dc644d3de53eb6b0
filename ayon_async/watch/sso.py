"""Signing in as a dialog does it: look whether there is a server, then one of three ways, then keep what came of it.

Each of these opens a connection of its own, since none survives the time that a person takes to answer. They run in any
event loop; afterwards `Watch.signed_in` is told.
"""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

from ayon_async.signin import (
    BROWSER_SECONDS,
    SignedIn,
    sign_in_with_browser,
    sign_in_with_key,
    sign_in_with_password,
)
from ayon_async.urls import normalize_url
from ayon_async.watch.setup import Setup


@dataclass(frozen=True, slots=True)
class Found:
    """An AYON server.

    Attributes:
        url: Its URL in the one spelling that everything else relies on.
        version: What it says of itself.
    """

    url: str
    version: str


async def find_server(setup: Setup, address: str) -> Found:
    """The AYON server at an address as a person types it.

    Raises:
        UsageError: That is no address.
        ServerUnreachable: Nothing answers there, or its certificate is not trusted.
        InvalidAnswer: What answers is no AYON server.
    """
    async with setup.server(url=normalize_url(address)) as server:
        return Found(server.url, (await server.info()).version)


async def password_sign_in(setup: Setup, url: str, name: str, password: str) -> SignedIn:
    """Sign in by name and password, with a single try; see `ayon_async.signin` for errors, as in the two below."""
    async with setup.server(url=url) as server:
        return await sign_in_with_password(server, name, password)


async def key_sign_in(setup: Setup, url: str, key: str) -> SignedIn:
    """Find out whose API key, or token, this is."""
    async with setup.server(url=url) as server:
        return await sign_in_with_key(server, key)


async def browser_sign_in(
    setup: Setup,
    url: str,
    open_browser: Callable[[str], object] = webbrowser.open,
    *,
    patience: float = BROWSER_SECONDS,
) -> SignedIn:
    """Let a person sign in on the server's own page, single sign-on included; cancel it to wait no longer."""
    async with setup.server(url=url) as server:
        return await sign_in_with_browser(server, open_browser, patience=patience)


async def keep(setup: Setup, url: str, signed_in: SignedIn) -> str:
    """Keep the token where the official launcher looks for it too; returns where that is, in words.

    Raises:
        AyonAsyncError: It could be kept nowhere.
    """
    return await asyncio.to_thread(setup.credentials.save, url, signed_in.token)
