"""The server's web page: signing in with a browser, and what every unknown path shows."""

from __future__ import annotations

import html
from urllib.parse import urlsplit

from aiohttp import web

from ayon_async.devserver.accounts import Accounts, Refused
from ayon_async.devserver.reply import Reply
from ayon_async.devserver.studio import Studio

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>AYON</title></head><body>
<h1>AYON</h1><p>{message}</p>
<form method="post">
<label>Name <input name="name" autocomplete="username" autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button>
</form></body></html>
"""


def sign_in_page(message: str = "") -> Reply:
    """The page with its form, which is sent back to the address that it was opened at."""
    return Reply(200, _HTML, _PAGE.replace("{message}", html.escape(message)).encode())


async def sign_in_post(accounts: Accounts, studio: Studio, request: web.BaseRequest) -> Reply:
    """Check what the form sent; where it is right, lead to `auth_redirect` with the token."""
    form = await request.post()
    try:
        name, password = str(form.get("name", "")), str(form.get("password", ""))
        token, _ = accounts.login(studio, name, password, request.remote or "")
    except Refused as refused:
        return sign_in_page(refused.detail)
    target = request.query.get("auth_redirect")
    if target is None:
        return sign_in_page("Signed in.")
    if urlsplit(target).hostname not in _LOOPBACK:
        return sign_in_page("Only this computer can be signed in this way.")
    separator = "&" if urlsplit(target).query else "?"
    return Reply(303, {"Location": f"{target}{separator}token={token}"})
