"""HTTP as this project speaks it: one session, one TLS context, one rule for redirects and for who gets credentials.

Both the REST client and the transfers stand on `HttpClient`. It follows redirects itself, because credentials (ours, a
source's own headers, the client certificate) must stay with the origin they were meant for: aiohttp would carry
``X-Api-Key`` along to any host.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from ayon_async.errors import SettingsError
from ayon_async.threads import abandonable
from ayon_async.urls import origin, redact
from ayon_async.version import __version__

MAX_REDIRECTS = 5
_KEEP_ALIVE = 1.5
_PROXY_SECONDS = 5.0  # between looks for the proxy, which take long: its settings may change in a long run
_CLOSING = 0.5  # seconds that the other side has to agree to the end of a WebSocket
_LONGEST_MESSAGE = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Failures that a new try may mend; all that aiohttp and the operating system raise for a broken connection.
CONNECTION_ERRORS = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class RedirectRefused(aiohttp.ClientError):
    """A redirect that we do not follow: too many, from https down to http, or to something that is no URL."""


class Disconnected(aiohttp.ClientConnectionError):
    """The connection ended before there was an answer."""


class RequestRefused(aiohttp.ClientError):
    """A request that can't be made: its address or its headers can't be put on the wire."""


class ProxyUnusable(aiohttp.ClientError):
    """What is named as proxy is no address."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each step; there is no limit on the whole.

    Attributes:
        connect: Until a connection stands.
        silence: Without a single byte on a connection.
    """

    connect: float = 15.0
    silence: float = 30.0


@dataclass(frozen=True, slots=True)
class Tls:
    """What is trusted besides the system's own store, and how we show who we are.

    Attributes:
        ca_file: PEM file with further certificate authorities.
        cert_file: PEM file with our certificate and key, shown to the home origin only.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A connection error in words.

    Attributes:
        message: What happened, at which URL (secrets redacted).
        hint: What to do next.
        again: True where a further try may succeed.
    """

    message: str
    hint: str
    again: bool


class HttpClient:
    """Requests to any origin; an async context manager.

    Args:
        home: URL of the AYON server; the client certificate is shown to its origin alone.
        timeouts: See `Timeouts`.
        tls: See `Tls`.
        headers: Sent with every request to any origin; nothing secret.
    """

    def __init__(
        self, home: str, *, timeouts: Timeouts | None = None, tls: Tls | None = None, headers: Mapping[str, str] = {}
    ) -> None:
        self.home = origin(home)
        self.timeouts = timeouts or Timeouts()
        self._tls = tls or Tls()
        self._headers = {"User-Agent": f"ayon-async/{__version__}", "Accept-Encoding": "identity", **headers}
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._proxies: dict[str, tuple[float, str | None]] = {}  # by origin, with when they were looked for

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Transfers bound their own number; the pool must not queue a REST call behind sixteen archives.
            # AYON servers close idle connections after two seconds: none is used again that is about to be closed.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                # to `connect` belong finding the host, the proxy and the TLS handshake
                total=None,
                connect=self.timeouts.connect,
                sock_read=self.timeouts.silence,
            ),
            auto_decompress=False,
            headers=self._headers,
            middlewares=(_once,),
            skip_auto_headers=("Content-Type",),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        private: Mapping[str, str] = {},
        json: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The final answer to a request, redirects followed, whatever its status.

        Args:
            headers: Sent on every hop.
            private: Sent only until a redirect leaves the first URL's origin.
            json: Body of a POST.

        Raises:
            aiohttp.ClientError, OSError, asyncio.TimeoutError: See `explain`.
        """
        if self._session is None:
            raise RuntimeError("HttpClient is used outside its 'async with' block")
        at_home = True
        first = origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            at_home = at_home and origin(url) == first
            try:
                response = await self._session.request(
                    method,
                    _parse(url),
                    headers={**headers, **(private if at_home else {})},
                    json=json,
                    allow_redirects=False,
                    proxy=await self._proxy(url),
                    ssl=self._context(url, at_home),
                )
            except ValueError as error:
                if isinstance(error, aiohttp.ClientError):
                    raise
                raise RequestRefused(redact(str(error))) from error
            location = response.headers.get("Location") if response.status in _REDIRECTS else None
            if location is None:
                try:
                    yield response
                finally:
                    # An answer that was not read to its end takes its connection along.
                    response.release() if response.content.at_eof() else response.close()
                return
            response.close()
            url = _redirected(url, location)
            if json is not None and origin(url) != first:
                # A password, say: it stays with the origin it was meant for, and no answer counts but that one's.
                raise RedirectRefused(f"a redirect to {origin(url)}, to where nothing is posted")
            if response.status == 303 and method != "HEAD":
                method, json = "GET", None
        raise RedirectRefused(f"more than {MAX_REDIRECTS} redirects, the last one to {redact(url)}")

    @asynccontextmanager
    async def websocket(self, url: str, *, silence: float) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket at an address of http or https; no redirect is followed.

        Args:
            silence: Seconds without a message after which receiving fails.

        Raises:
            aiohttp.ClientError, OSError, asyncio.TimeoutError: See `explain`.
        """
        if self._session is None:
            raise RuntimeError("HttpClient is used outside its 'async with' block")
        async with self._session.ws_connect(
            _parse(url),
            proxy=await self._proxy(url),
            ssl=self._context(url, True),
            timeout=aiohttp.ClientWSTimeout(ws_receive=silence, ws_close=_CLOSING),
            max_msg_size=_LONGEST_MESSAGE,
        ) as socket:
            yield socket

    async def _proxy(self, url: str) -> str | None:
        name, now = origin(url), time.monotonic()
        since, proxy = self._proxies.get(name, (-_PROXY_SECONDS, None))
        if now - since >= _PROXY_SECONDS:
            # Windows and macOS look up the host's address to tell whether it is an exception.
            proxy = await abandonable(lambda: proxy_for(url), self.timeouts.connect)
            self._proxies[name] = now, proxy
        return proxy

    def _context(self, url: str, at_home: bool) -> ssl.SSLContext | bool:
        if not url.startswith("https:"):
            return True
        with_certificate = at_home and self._tls.cert_file is not None and origin(url) == self.home
        if with_certificate not in self._contexts:
            self._contexts[with_certificate] = _make_context(self._tls, with_certificate)
        return self._contexts[with_certificate]


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Ask once: aiohttp itself would ask again where there is no answer, but how often is not for it to decide."""
    try:
        response = await send(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise Disconnected(_reason(error)) from error
    if response.status in _REDIRECTS and "Upgrade" in request.headers:
        # aiohttp itself would follow it, and who answers there would be told the token.
        response.close()
        raise RedirectRefused("a redirect, where a WebSocket was asked for")
    return response


def _make_context(tls: Tls, with_certificate: bool) -> ssl.SSLContext:
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, file in (("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")), ("the CA file", tls.ca_file)):
        if file:
            try:
                context.load_verify_locations(cafile=file)
            except (OSError, ssl.SSLError) as error:
                message = f"The certificates in {file} ({name}) can't be read: {error}"
                raise SettingsError(message, "Name a PEM file with one or more certificates.") from error
    if with_certificate and tls.cert_file is not None:
        try:
            context.load_cert_chain(tls.cert_file)
        except (OSError, ssl.SSLError) as error:
            message = f"The client certificate {tls.cert_file} can't be read: {error}"
            raise SettingsError(
                message, "Name a PEM file with the certificate and its key, without a password."
            ) from error
    return context


def _parse(url: str) -> URL:
    """The URL with every character as it stands, since it may be signed; one that people wrote is quoted."""
    return URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)


def _redirected(url: str, location: str) -> str:
    try:
        target = _parse(url).join(_parse(location))
        _ = target.port  # which is looked at only now
    except ValueError as error:
        raise RedirectRefused(f"a redirect to something that is no URL: {redact(location)}") from error
    if target.scheme not in ("http", "https") or not target.host:
        raise RedirectRefused(f"a redirect to {redact(str(target))}, which is neither http nor https")
    if url.startswith("https:") and target.scheme == "http":
        raise RedirectRefused(f"a redirect from https down to {redact(str(target))}")
    return str(target.with_fragment(None))


def proxy_for(url: str) -> str | None:
    """The proxy that the environment or the system names for the URL, or None.

    Raises:
        ProxyUnusable: It is no address.
    """
    parts = _parse(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    # With its port, since exceptions may name one.
    if not proxy or urllib.request.proxy_bypass(f"{parts.host}:{parts.port}"):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        usable = bool(URL(proxy).host and URL(proxy).port)
    except ValueError:
        usable = False
    if not usable:
        raise ProxyUnusable(redact(proxy))
    return proxy


def explain(error: BaseException, url: str) -> Failure:
    """Say in words why a request to the URL got no answer."""
    where = redact(url)
    match error:
        case ProxyUnusable():
            hint = "Check HTTP_PROXY and HTTPS_PROXY: in a password, / ? # @ : are written as %2F %3F %23 %40 %3A."
            return Failure(f"The proxy that is named for {where} is no usable address: {error}.", hint, False)
        case RedirectRefused():
            return Failure(f"{where} answered with {error}", "Check the address and the proxies before it.", False)
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return Failure(f"The certificate of {where} is not trusted: {_reason(error)}", _tls_hint(str(error)), False)
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Failure(f"No secure connection to {where}: {_reason(error)}", _tls_hint(str(error)), False)
        case RequestRefused():
            return Failure(
                f"{where} can't be asked: {error}", "Check the address, and the headers meant for it.", False
            )
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Failure(f"{where} is no usable address.", "Check it for typing errors.", False)
        case aiohttp.ClientConnectorDNSError():
            return Failure(
                f"The host of {where} was not found: {_reason(error)}", "Check the name and the network.", True
            )
        case TimeoutError():
            return Failure(f"No answer from {where} in time.", "Check the network, or raise AYON_SERVER_TIMEOUT.", True)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return Failure(
                f"The proxy before {where} fails: {_reason(error)}", "Check HTTP_PROXY and HTTPS_PROXY.", True
            )
        case aiohttp.ClientConnectorError():
            return Failure(
                f"No connection to {where}: {_reason(error)}", "Check the address and that the server runs.", True
            )
        case Disconnected() if url.startswith("https:"):
            hint = "Check the network. A server that wants a client certificate hangs up like this: see AYON_CERT_FILE."
            return Failure(f"{where} hung up without an answer.", hint, True)
        case Disconnected() | aiohttp.ClientOSError() | aiohttp.ClientPayloadError():
            return Failure(f"The connection to {where} broke: {_reason(error)}", "Check the network.", True)
        case aiohttp.ClientResponseError():
            return Failure(
                f"What answers at {where} does not speak HTTP as it should: {_reason(error)}", "Check the port.", True
            )
    return Failure(f"The request to {where} failed: {_reason(error)}", "Check the network.", True)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or str(error)
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        # Instead of its reason, asyncio tells how it called the socket.
        if error.errno and error.strerror.startswith("Connect call failed"):
            return os.strerror(error.errno)
        return error.strerror
    return redact(str(error)) or type(error).__name__


def _tls_hint(text: str) -> str:
    strict = ("key usage", "basic constraints", "authority key identifier", "not marked critical")
    if sys.version_info >= (3, 13) and any(word in text.lower() for word in strict):
        return (
            "Python 3.13 and newer hold certificates to the letter of RFC 5280, and the studio's certificate authority"
            " does not meet it: have the authority's certificate issued anew, or run with Python 3.12."
        )
    if "wrong version number" in text.lower():
        return "The server seems to speak plain http on this port: try http:// instead of https://."
    if "expired" in text.lower():
        return "Check this computer's clock; if it is right, the studio's administrator has to renew the certificate."
    if "mismatch" in text.lower():
        return "Check the address: the certificate is for another one."
    return "Where the studio has a certificate authority of its own, name its PEM file in AYON_CA_FILE."
