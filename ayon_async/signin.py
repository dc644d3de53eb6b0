"""Signing in to a server and out again: with a password, with a key, or with the server's own page in a browser.

Each way ends with a token that the server has accepted; `Credentials.save` keeps it where the official launcher looks.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ayon_async.credentials import Credentials
from ayon_async.errors import AyonAsyncError, LoginFailed, NotSignedIn
from ayon_async.server import AyonServer

if TYPE_CHECKING:  # a server is needed for the browser's answer only, and takes memory
    from aiohttp import web

BROWSER_SECONDS = 180.0
_PORT_TRIES = 10


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Someone whom the server knows.

    Attributes:
        user: The user's name on the server.
        token: The token or API key that stands for them.
    """

    user: str
    token: str = field(repr=False)


async def sign_in_with_password(server: AyonServer, name: str, password: str) -> SignedIn:
    """Sign in by name and password, with a single try.

    Args:
        server: Inside its ``async with`` block; it uses the new token from now on, as in the two other ways.

    Raises:
        LoginFailed: The name or password is wrong, or the address is locked out.
    """
    return await _verified(server, await server.login(name, password))


async def sign_in_with_key(server: AyonServer, key: str) -> SignedIn:
    """Find out whose API key, or token, this is.

    Raises:
        NotSignedIn: The server accepts it neither as a key nor as a token.
    """
    server.use_key(key)
    return SignedIn((await server.me()).name, key)


async def sign_in_with_browser(
    server: AyonServer,
    open_page: Callable[[str], object] = webbrowser.open,
    *,
    patience: float = BROWSER_SECONDS,
) -> SignedIn:
    """Let a person sign in on the server's own page, single sign-on included, and wait for its answer.

    The page leads the browser back to a port that is open on the loopback interface until then.

    Args:
        open_page: Shows the page at this address to the person; may take its time, it runs in a thread.
        patience: Seconds.

    Raises:
        LoginFailed: No answer came in time, or one with a token that the server does not accept.
        AyonAsyncError: No port could be opened.
    """
    answer: asyncio.Future[SignedIn] = asyncio.get_running_loop().create_future()
    async with _listening(server, answer) as port:
        page = f"{server.url}/?auth_redirect=http://localhost:{port}"
        # A browser that runs in the terminal comes back when the person leaves it: nobody may have to wait for it.
        threading.Thread(target=open_page, args=(page,), name="browser", daemon=True).start()
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError as error:
            message = f"No answer came from the browser within {patience / 60:g} minutes."
            raise LoginFailed(message, "Try again; AYON servers before 1.3.2 can't do this.") from error


async def signed_in_already(server: AyonServer, credentials: Credentials) -> SignedIn | None:
    """Whose token is kept for the server, the official launcher's login included; None where there is no valid one."""
    try:
        kept = await asyncio.to_thread(credentials.load, server.url)
        if kept is None:
            return None
        server.use_token(kept.token)
        return SignedIn((await server.me()).name, kept.token)
    except NotSignedIn:
        return None


async def _verified(server: AyonServer, token: str) -> SignedIn:
    """Who has this token, by the server's own word.

    Raises:
        LoginFailed: It knows nobody by that token.
    """
    server.use_token(token)
    user = (await server.info()).user
    if user is None:
        raise LoginFailed(f"{server.url} does not accept the token that came from its own login.", "Try again.")
    return SignedIn(user.name, token)


# --- signing out ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedOut:
    """What signing out did.

    Attributes:
        found: False where no token was kept.
        error: Why the server could not be told, or None; the token is forgotten here all the same.
        was_shared: True where the token was in the keyring's entry of the official launcher.
    """

    found: bool
    error: AyonAsyncError | None = None
    was_shared: bool = False


async def sign_out(server: AyonServer, credentials: Credentials) -> SignedOut:
    """End the session on the server and forget its token, which in the keyring is the official launcher's too.

    Raises:
        AyonAsyncError: The token could not be removed.
    """
    error: AyonAsyncError | None = None
    kept = None
    try:
        kept = await asyncio.to_thread(credentials.load, server.url)
        if kept is not None:
            server.use_token(kept.token)
            await server.logout()
    except AyonAsyncError as failure:
        error = failure
    found = await asyncio.to_thread(credentials.delete, server.url)
    return SignedOut(found, error, kept is not None and kept.origin == "keyring")


# --- the browser's answer -------------------------------------------------------------------------------------------


@asynccontextmanager
async def _listening(server: AyonServer, answer: asyncio.Future[SignedIn]) -> AsyncIterator[int]:
    """Take the one answer on a port of the loopback interface."""
    from aiohttp import web

    taken = False

    async def respond(request: web.BaseRequest) -> web.Response:
        nonlocal taken
        token = _token_in(request, port)
        if token is None or taken or answer.done():
            return _page(404, "Nothing here", f"This is where the answer of {server.url} to a login is waited for.")
        taken = True
        try:
            signed_in = await _verified(server, token)
        except AyonAsyncError as error:
            if not answer.done():
                answer.set_exception(error)
            return _page(200, "Not signed in", f"{error.message} You can close this page.")
        if answer.done():
            return _page(200, "Not signed in", "This came too late: nobody waits for it any more. Close this page.")
        answer.set_result(signed_in)
        return _page(200, "Signed in", f"You are signed in to {server.url} as {signed_in.user}; close this page.")

    # What is being answered when the wait is over is answered to its end.
    runner = web.ServerRunner(web.Server(respond, access_log=None), shutdown_timeout=2.0)
    sockets = _loopback_sockets()
    port = sockets[0].getsockname()[1]
    await runner.setup()
    try:
        for one in sockets:
            await web.SockSite(runner, one).start()
        yield port
    finally:
        await runner.cleanup()


def _loopback_sockets() -> list[socket.socket]:
    """Sockets of one free port at both loopback addresses: ``localhost`` may be either, and nobody else may have one.

    Raises:
        AyonAsyncError: There is no such port.
    """
    for _ in range(_PORT_TRIES):
        first = socket.create_server(("127.0.0.1", 0))
        try:
            return [first, socket.create_server(("::1", first.getsockname()[1]), family=socket.AF_INET6)]
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # no IPv6 here
                return [first]
            first.close()
    raise AyonAsyncError("There is no free port for the browser's answer.", "Sign in without --browser.")


def _token_in(request: web.BaseRequest, port: int) -> str | None:
    """The token where the request is a browser coming back from the server's page; None for everything else."""
    ours = request.host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}")
    shown = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"  # neither an image's address nor a script's
    if request.method != "GET" or request.path != "/" or not ours or not shown:
        return None
    token = request.query.get("token", "")
    return token if token.isascii() and token.isprintable() and token and " " not in token else None


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif; margin: 4em">
<h1>{title}</h1><p>{text}</p>
<script>history.replaceState(null, "", "/")</script>
</body></html>
"""


def _page(status: int, title: str, text: str) -> web.Response:
    """What the browser shows; the token goes from its address line and history."""
    import html  # late: it knows two thousand names of letters, of which few processes need one

    from aiohttp import web

    body = _PAGE.format(title=html.escape(title), text=html.escape(text))
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Connection": "close"}
    return web.Response(status=status, text=body, content_type="text/html", headers=headers)
