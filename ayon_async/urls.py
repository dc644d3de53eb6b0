"""Addresses: a server's URL in the one spelling that everything else relies on, origins, and texts without secrets."""

from __future__ import annotations

import functools
import ipaddress
import re

from yarl import URL

from ayon_async.errors import UsageError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*(?:%25\w+)?")
# A password may hold, against the rules, what ends a host; what follows a colon is no password where it is a port.
_USER = re.compile(r"//(?:[^/\s?#:@]*:(?!\d{1,5}[/?#])\S*|[^/\s?#]*)@")
_QUERY = re.compile(r"([?&][^=&#\s]*=)[^&#\s]+")
_BARE_QUERY = re.compile(r"(//[^\s?#]*\?)([^\s#]+)")
_FRAGMENT = re.compile(r"(//[^#\s]*#)\S+")


def normalize_url(text: str) -> str:
    """The server's URL in its one spelling: scheme, lower-case host, port where it is not the default, path prefix.

    A trailing slash and ``/api`` go, and so do a query and a fragment, which come along when an address is copied from
    a browser. Where the scheme is missing it is https, but http for this very machine and for addresses of private
    networks, which seldom have certificates.

    >>> normalize_url("ayon.example.com/")
    'https://ayon.example.com'
    >>> normalize_url("localhost:5000")
    'http://localhost:5000'
    >>> normalize_url("HTTPS://Pipeline.Example.com:443/ayon/api/")
    'https://pipeline.example.com/ayon'

    Raises:
        UsageError: The text is no address of a web server, or holds a name and password.
    """
    address = text.strip()
    guess = not _SCHEME.match(address)
    if guess:
        address = f"https://{address}"
    shown, hint = redact(text), "Give it as https://ayon.example.com or http://HOST:PORT."
    try:
        url = URL(address)
    except ValueError as error:
        raise UsageError(f"{shown!r} is no server URL: {error}", hint) from error
    if url.scheme not in ("http", "https"):
        raise UsageError(f"{shown!r} is no server URL: its scheme is {url.scheme}, not http or https.", hint)
    if url.raw_user is not None or url.raw_password is not None:
        hint = "Leave them out, and sign in with 'ayon-async login'."
        raise UsageError(f"The server URL {redact(address)!r} holds a user name or password.", hint)
    host = url.raw_host or ""
    if not _HOST.fullmatch(host) or host in ("http", "https"):
        raise UsageError(f"{shown!r} is no server URL: {host!r} is no host name.", hint)
    if guess and _is_near(host):
        url = URL(f"http{address.removeprefix('https')}")
    path = url.raw_path.rstrip("/")
    if path.endswith("/api"):
        path = path.removesuffix("/api").rstrip("/")
    return f"{url.origin()}{path}"


def _is_near(host: str) -> bool:
    """Whether the host is this machine or an address that is only used inside networks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_private
    except ValueError:
        return False


@functools.lru_cache(maxsize=1024)
def origin(url: str) -> str:
    """Scheme, host and port of an http(s) URL, for telling whether two URLs are the same server's.

    What is no such URL is its own origin and nothing else's.

    >>> origin("https://AYON.example.com:443/addons/maya?x=1")
    'https://ayon.example.com'
    """
    try:
        parts = URL(url)
        return str(parts.origin()) if parts.scheme in ("http", "https") else url
    except ValueError:
        return url


def redact(text: str) -> str:
    """A URL, or any text with URLs in it, without names and passwords, values in queries, and fragments.

    >>> redact("GET https://me:secret@example.com/a?token=123&x=1#top failed")
    'GET https://***@example.com/a?token=***&x=***#*** failed'
    >>> redact("http://me:se/cret@example.com and http://example.com:80/a/@b")
    'http://***@example.com and http://example.com:80/a/@b'
    """
    text = _USER.sub("//***@", text)
    text = _QUERY.sub(r"\1***", text)
    text = _BARE_QUERY.sub(lambda url: url[1] + "&".join(_without_bare(part) for part in url[2].split("&")), text)
    return _FRAGMENT.sub(r"\1***", text)


def _without_bare(part: str) -> str:
    """A part of a query that has no name is a value."""
    return part if "=" in part or not part else "***"
