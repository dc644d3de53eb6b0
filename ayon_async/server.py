"""`AyonServer`: the REST client. It asks and decodes; what to do with the answers is decided elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp

from ayon_async import backoff, model
from ayon_async.errors import (
    AccessDenied,
    AyonAsyncError,
    BundleError,
    InvalidAnswer,
    LoginFailed,
    NotSignedIn,
    ServerError,
    ServerUnreachable,
)
from ayon_async.http import CONNECTION_ERRORS, HttpClient, Timeouts, Tls, explain
from ayon_async.settings import this_platform
from ayon_async.urls import normalize_url, origin, redact

T = TypeVar("T")
log = logging.getLogger(__name__)

_FIRST_ANSWER_SECONDS = 10.0
_FIRST_ANSWER_ATTEMPTS = 3
_LONG_WAIT = 2.0
_LONGEST_BODY = 256 << 20  # a studio's addons with all their versions are some MB
_SIGN_IN = "Sign in with 'ayon-async login', or set AYON_API_KEY."


class NewsClosed(ServerError):
    """The server ended the connection for news.

    Attributes:
        code: Its reason: 1012 where it restarts, 1000 also where it does not accept the token.
    """

    def __init__(self, url: str, code: int | None) -> None:
        super().__init__(f"{url} ended the connection for news (code {code}).", "It is opened again by itself.")
        self.code = code


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    is_json: bool
    retry_after: str | None
    elsewhere: str | None  # the origin that answered, where redirects led away from ours
    secrets: tuple[str, ...]  # what the request held, which an answer may repeat

    @property
    def detail(self) -> str:
        """What the server says of an error; only that, since answers about users hold password hashes."""
        try:
            detail = json.loads(self.body)["detail"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"status {self.status}"
        text = redact(str(detail))
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class AyonServer:
    """An AYON server; an async context manager.

    Args:
        url: Its address in any form that a person would type (see `urls.normalize_url`).
        api_key: An API key; when it is refused it is tried once as a token, which is what the launcher puts in the
            same variable.
        token: A token from a login, or an API key that is kept in its place: refused, it is tried once as a key.
        timeouts: Seconds for each step.
        tls: Further certificate authorities, a client certificate.
        retries: Further attempts of a request that failed in a way that can get better.
        site_id: The launcher's id of this machine, where it has one.
        on_wait: Told, in a sentence, of each long wait before a request is made again.

    Attributes:
        last_bundles: What `bundles` last said, for who looks on.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        token: str | None = None,
        timeouts: Timeouts | None = None,
        tls: Tls | None = None,
        retries: int = 8,
        site_id: str | None = None,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.url = normalize_url(url)
        self.retries = retries
        self.answered = False
        self._on_wait = on_wait
        self.last_bundles: model.Bundles | None = None
        about = {"X-ayon-platform": this_platform(), "X-ayon-hostname": socket.gethostname()}
        self._about = {**about, "X-ayon-site-id": site_id} if site_id else about
        self.http = HttpClient(self.url, timeouts=timeouts, tls=tls)
        self._credentials: list[dict[str, str]] = []  # what is still to be tried, the one in use first
        if token:
            self.use_token(token)
        elif api_key:
            self.use_key(api_key)

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.__aexit__(kind, error, trace)

    @property
    def private_headers(self) -> Mapping[str, str]:
        """Who we are, for this server's own origin only."""
        return {**self._about, **(self._credentials[0] if self._credentials else {})}

    @property
    def _secret(self) -> str:
        """The key or token in use, bare."""
        return next(iter(self._credentials[0].values())).removeprefix("Bearer ") if self._credentials else ""

    def use_key(self, key: str) -> None:
        """Ask with this API key from now on; see the class for what happens where it is refused."""
        self._credentials = [{"X-Api-Key": key}, {"Authorization": f"Bearer {key}"}]

    def use_token(self, token: str) -> None:
        """Ask with this token from now on; see the class for what happens where it is refused."""
        self._credentials = [{"Authorization": f"Bearer {token}"}, {"X-Api-Key": token}]

    # --- who is there -----------------------------------------------------------------------------------------------

    async def info(self) -> model.Info:
        """The server's version, and who we are where it knows us."""
        return await self._get("/api/info", model.Info)

    async def me(self) -> model.User:
        """The user we are signed in as."""
        return await self._get("/api/users/me", model.User)

    async def login(self, name: str, password: str) -> str:
        """Sign in and use the token from now on; never tried twice, since ten bad tries ban the address.

        Returns:
            The token.

        Raises:
            LoginFailed: The name or password is wrong, or the address is locked out.
        """
        path = "/api/auth/login"
        reply = await self._post(path, {"name": name, "password": password})
        detail = reply.detail
        if reply.status == 503 and reply.is_json:
            raise LoginFailed(f"{self.url} takes no more logins for now: {detail}", "Wait a minute.")
        if reply.status == 403 and "too many" in detail.lower():
            hint = "The server lets this address try again after ten minutes."
            raise LoginFailed(f"{self.url} has locked this address out: {detail}", hint)
        if reply.status in (400, 401, 403) and reply.is_json:
            raise LoginFailed(f"{self.url} refuses the login of '{name}': {detail}", "Check the name and the password.")
        if reply.status != 200 or not reply.is_json:
            raise self._unusable(reply, path)
        answer = model.decode(reply.body, model.Login, self.url + path)
        if not answer.token:
            raise LoginFailed(f"{self.url} gave no token: {answer.detail}", "Ask the studio's AYON administrator.")
        self._credentials = [{"Authorization": f"Bearer {answer.token}"}]
        return answer.token

    async def logout(self) -> None:
        """End the session that the token stands for."""
        reply = await self._post("/api/auth/logout")
        if reply.status not in (200, 204, 401):
            raise self._unusable(reply, "/api/auth/logout")

    # --- what should be installed -----------------------------------------------------------------------------------

    async def bundles(self) -> model.Bundles:
        """Every bundle, archived ones too, and which is production and staging."""
        self.last_bundles = await self._get("/api/bundles?archived=true", model.Bundles)
        return self.last_bundles

    async def addons(self) -> tuple[model.Addon, ...]:
        """Every addon with all its versions."""
        return tuple((await self._get("/api/addons?details=1", model.Addons)).addons)

    async def dependency_packages(self) -> tuple[model.DependencyPackage, ...]:
        """Every dependency package."""
        return tuple((await self._get("/api/desktop/dependencyPackages", model.DependencyPackages)).packages)

    async def installers(self, version: str | None = None, platform: str | None = None) -> tuple[model.Installer, ...]:
        """The launcher's installers, all or those of a version and platform."""
        query = urlencode({k: v for k, v in (("version", version), ("platform", platform)) if v})
        path = "/api/desktop/installers" + (f"?{query}" if query else "")
        return tuple((await self._get(path, model.Installers)).installers)

    async def project_bundles(self, project: str) -> model.ProjectBundles:
        """The names of the project's own bundles.

        Raises:
            BundleError: There is no such project.
        """
        path = f"/api/projects/{quote(project, safe='')}"
        missing = BundleError(f"{self.url} has no project '{project}'.", "Check the project's name.")
        return (await self._get(path, model.Project, missing=missing)).bundles

    async def project_addons(self, studio_bundle: str, project_bundle: str, variant: str) -> dict[str, str]:
        """Addon versions as they result from merging the project bundle over the studio's.

        Args:
            variant: `production` or `staging`: the server finds a project's bundle only as the one it uses it for.
        """
        query = {"summary": "true", "bundle_name": studio_bundle, "project_bundle_name": project_bundle}
        query |= {"variant": variant} if variant == "staging" else {}
        missing = BundleError(f"{self.url} has no project bundle '{project_bundle}'.", "Check the bundle's name.")
        summary = await self._get(f"/api/settings?{urlencode(query)}", model.SettingsSummary, missing=missing)
        return {addon.name: addon.version for addon in summary.addons}

    # --- where the bytes are ----------------------------------------------------------------------------------------

    def addon_url(self, name: str, version: str, filename: str) -> str:
        """Where the server keeps a file of an addon's client part."""
        return self.url + "/addons/" + "/".join(quote(part, safe="") for part in (name, version, "private", filename))

    def dependency_package_url(self, filename: str) -> str:
        """Where the server keeps a dependency package."""
        return f"{self.url}/api/desktop/dependencyPackages/{quote(filename, safe='')}"

    def path_url(self, path: str) -> str:
        """A path that the server named itself."""
        return f"{self.url}/{quote(path.lstrip('/'), safe='/%?=&')}"

    # --- news -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def news(self, topics: Iterable[str], silence: float) -> AsyncIterator[AsyncIterator[str]]:
        """What is told on the server's WebSocket: the topics of its messages, heart-beats included.

        A key or token is accepted there only after it was used in a request, and nothing tells that it was: the first
        message does.

        Args:
            topics: Beginnings of those that are wanted.
            silence: Seconds without a message after which the connection counts as dead.

        Raises:
            ServerUnreachable: There is no such connection, or it broke; also while the topics are read.
            NewsClosed: The server ended it; by the reading of the topics.
        """
        url = f"{self.url}/ws"
        try:
            async with self.http.websocket(url, silence=silence) as socket:
                await socket.send_json({"topic": "auth", "token": self._secret, "subscribe": [*topics]})
                yield _topics(socket, url)
        except CONNECTION_ERRORS as error:
            failure = explain(error, redact(url))
            raise ServerUnreachable(failure.message, failure.hint) from error

    # --- how we ask -------------------------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T], missing: AyonAsyncError | None = None) -> T:
        reply = await self._get_in_time(path)
        if missing is not None and reply.status == 404 and reply.is_json:
            raise missing
        if reply.status != 200 or not reply.is_json:
            raise self._unusable(reply, path)
        return model.decode(reply.body, kind, self._name(path))

    async def _get_in_time(self, path: str) -> _Reply:
        # Who raises the time-out above its default says that this server may take that long.
        silence = self.http.timeouts.silence
        patience = silence if silence > Timeouts().silence else _FIRST_ANSWER_SECONDS
        try:
            async with asyncio.timeout(None if self.answered else patience):
                return await self._get_again(path, backoff.LONGEST_ASKED_FOR if self.answered else patience)
        except TimeoutError as error:
            message = f"No answer from {self.url} within {patience:.0f} s."
            raise ServerUnreachable(message, "Check the address, the network and that the server runs.") from error

    async def _get_again(self, path: str, patience: float) -> _Reply:
        """Ask until there is an answer that a further try would not better, or that asks for too long a wait.

        Args:
            patience: The longest wait, in seconds, that a server may ask for.
        """
        attempt, url = 0, self._name(path)
        while True:
            attempt += 1
            last = attempt >= (self.retries + 1 if self.answered else _FIRST_ANSWER_ATTEMPTS)
            retry_after, used = None, self._credentials[:1]
            try:
                reply = await self._send("GET", path)
            except CONNECTION_ERRORS as error:
                failure = explain(error, url)
                if last or not failure.again:
                    raise ServerUnreachable(failure.message, failure.hint) from error
                reason = failure.message
            else:
                if reply.status == 401 and not reply.elsewhere and self._has_another_than(used):
                    continue
                asked_for = backoff.seconds_of(reply.retry_after)
                if last or not backoff.may_mend(reply.status) or (asked_for or 0) >= patience:
                    self.answered = self.answered or not backoff.may_mend(reply.status)
                    return reply
                reason, retry_after = f"{url} answered {reply.status}", reply.retry_after
            pause = backoff.delay(attempt, retry_after)
            log.info("%s; trying again in %.1f s", reason.rstrip("."), pause)
            if pause >= _LONG_WAIT:
                self._on_wait(f"{reason.rstrip('.')}; trying again in {pause:.0f} s.")
            await asyncio.sleep(pause)

    def _has_another_than(self, refused: list[dict[str, str]]) -> bool:
        """Whether there is still something to be tried; of requests that are refused at once the first gives it up."""
        if self._credentials[:1] == refused and len(self._credentials) > 1:
            self._credentials.pop(0)
        return self._credentials[:1] != refused

    async def _post(self, path: str, payload: dict[str, str] | None = None) -> _Reply:
        try:
            return await self._send("POST", path, payload)
        except CONNECTION_ERRORS as error:
            failure = explain(error, self._name(path))
            raise ServerUnreachable(failure.message, failure.hint) from error

    async def _send(self, method: str, path: str, payload: dict[str, str] | None = None) -> _Reply:
        url = self.url + path
        secrets = [value.removeprefix("Bearer ") for pair in self._credentials for value in pair.values()]
        secrets += [payload["password"]] if payload else []
        async with self.http.request(method, url, private=self.private_headers, json=payload) as response:
            answering = origin(str(response.url))
            return _Reply(
                status=response.status,
                body=await self._body(response),
                is_json=response.content_type == "application/json",
                retry_after=response.headers.get("Retry-After"),
                elsewhere=None if answering == self.http.home else answering,
                secrets=tuple(filter(None, secrets)),
            )

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, size = [], 0
        async for data in response.content.iter_any():
            pieces.append(data)
            size += len(data)
            if size > _LONGEST_BODY:
                message = f"The answer of {redact(str(response.url))} is longer than {_LONGEST_BODY:,} bytes."
                raise InvalidAnswer(message, "Check that the address is an AYON server's.")
        return b"".join(pieces)

    def _name(self, path: str) -> str:
        """The address as messages give it: without its query, which holds nothing that tells a person more."""
        return redact(self.url + path.partition("?")[0])

    def _unusable(self, reply: _Reply, path: str) -> AyonAsyncError:
        url = self._name(path)
        if reply.status == 401:
            if reply.elsewhere:
                hint = f"If that is the AYON server, use its address: {reply.elsewhere}"
                return NotSignedIn(f"{self.url} leads to {reply.elsewhere}, where no key or token is sent.", hint)
            if not self._credentials:
                return NotSignedIn(f"{self.url} wants to know who you are.", _SIGN_IN)
            return NotSignedIn(f"{self.url} does not accept the key or token (any more): {reply.detail}", _SIGN_IN)
        if reply.status == 403:
            hint = "Ask the studio's AYON administrator for access."
            return AccessDenied(f"{url} is not allowed for this user: {reply.detail}", hint)
        asked_for = backoff.seconds_of(reply.retry_after) if backoff.may_mend(reply.status) else None
        wish = "" if asked_for is None else f" and wants to be left alone for {asked_for:,.0f} s"
        if not reply.is_json:
            kind = "a web page" if reply.body.lstrip()[:1] == b"<" else "something that is not JSON"
            if reply.status >= 500:  # from a proxy, most likely, behind which the server is away for now
                hint = "Try again later, or look at the AYON server and the proxies before it."
                return InvalidAnswer(f"{url} answered {reply.status} with {kind}{wish}.", hint)
            hint = "Check the address: it must be the AYON server's own, without a page's path behind it."
            return InvalidAnswer(f"{url} answered {reply.status} with {kind}: this is not an AYON server.", hint)
        hint = "Try again later, or ask the studio's AYON administrator."
        return InvalidAnswer(f"{url} answered {reply.status}{wish}: {reply.detail}", hint)


async def _topics(socket: aiohttp.ClientWebSocketResponse, url: str) -> AsyncIterator[str]:
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        try:
            topic = json.loads(message.data)["topic"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # not as an AYON server speaks
        yield str(topic)
    raise NewsClosed(redact(url), socket.close_code)
