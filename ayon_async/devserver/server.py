"""An AYON server in this process: a real aiohttp server on a loopback port, behaving as AYON 1.16 does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from ayon_async.devserver.accounts import Accounts
from ayon_async.devserver.api import Api
from ayon_async.devserver.exchange import Ask, Exchange, RequestRecord
from ayon_async.devserver.faults import Faults
from ayon_async.devserver.news import News
from ayon_async.devserver.reply import Slice
from ayon_async.devserver.studio import Bundle, Studio
from ayon_async.devserver.wire import Wire

_KEEP_ALIVE = 2.0  # seconds that an idle connection stays open


class DevServer:
    """A server with a studio; use it as an async context manager, or `start` and `stop` it.

    A stopped server can be started again: it has the same port, studio, sessions and faults.

    Args:
        studio: What it has; read and swap it as `server.studio`.
        host: Address to listen at.
        port: Port to listen at; 0 for any free one.
        ssl: Makes it an https server.
        heartbeat: Seconds between heart-beats on the WebSocket.
        grace: Seconds until a WebSocket without a good token is closed.
        ban_seconds: How long ten bad passwords lock an address out.
        throttle_logins: Refuse more than ten logins a minute, as a real server does beyond loopback.

    Attributes:
        faults: What goes wrong; see `ayon_async.devserver.faults`.
        accounts: Sessions; `accounts.end_all_sessions()` makes every token expire.
        news: WebSocket listeners; `news.tell(topic)` sends any event.
    """

    def __init__(
        self,
        studio: Studio,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: SSLContext | None = None,
        heartbeat: float = 6.0,
        grace: float = 3.0,
        ban_seconds: float = 600.0,
        throttle_logins: bool = False,
    ) -> None:
        self.host = host
        self.port = port
        self.faults = Faults()
        self.accounts = Accounts(ban_seconds, throttle_logins)
        self.news = News(lambda token: self.accounts.user_of_token(self.studio, token) is not None, heartbeat, grace)
        self._ssl = ssl
        self._api = Api(studio, self.accounts, self.news)
        self._exchanges: list[Exchange] = []
        self._running: AsyncExitStack | None = None
        self._stopping = asyncio.Event()
        self._threads = ThreadPoolExecutor(thread_name_prefix="devserver")

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        self._stopping.clear()
        server = web.Server(self._handle, keepalive_timeout=_KEEP_ALIVE, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.2)
        async with AsyncExitStack() as stack:
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, self.host, self.port, ssl_context=self._ssl).start()
            self.port = runner.addresses[0][1]
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Stop listening and hang up; does nothing where it is stopped."""
        if self._running is None:
            return
        self._stopping.set()
        await self.news.close_all()
        await self._running.aclose()
        self._running = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        self._threads.shutdown()

    @property
    def url(self) -> str:
        """The server's URL, without a slash at the end."""
        return f"{'http' if self._ssl is None else 'https'}://{self.host}:{self.port}"

    @property
    def studio(self) -> Studio:
        """What the server has now."""
        return self._api.studio

    @studio.setter
    def studio(self, studio: Studio) -> None:
        self._api.studio = studio

    # --- what was asked -------------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request so far, in the order of arrival."""
        return [exchange.record() for exchange in self._exchanges]

    def requests_to(self, glob: str) -> list[RequestRecord]:
        """The requests to paths that match; `*` stands for any characters, slashes too."""
        return [record for record in self.requests if fnmatchcase(record.path, glob)]

    def bytes_asked(self, glob: str = "*") -> int:
        """Bytes of archives that answers to these paths promised."""
        return sum(record.asked for record in self.requests_to(glob))

    def bytes_sent(self, glob: str = "*") -> int:
        """Bytes of archives that were handed to connections for these paths."""
        return sum(record.bytes_sent for record in self.requests_to(glob) if record.asked)

    def forget_requests(self) -> None:
        """Start counting anew."""
        self._exchanges.clear()

    # --- what an administrator does -------------------------------------------------------------------------------

    async def promote(self, name: str) -> None:
        """Make a bundle the production bundle, with news.

        Raises:
            KeyError: There is no such bundle.
        """
        await self._api.change_bundle(name, {"isProduction": True})

    async def patch_bundle(self, name: str, patch: Mapping[str, Any]) -> None:
        """Change a bundle as `PATCH /api/bundles/{name}` does, with news.

        Raises:
            KeyError: There is no such bundle.
        """
        await self._api.change_bundle(name, patch)

    async def add_bundle(self, bundle: Bundle) -> None:
        """Create a bundle, with news."""
        await self._api.add_bundle(bundle)

    # --- answering ------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = Exchange.of(request)
        self._exchanges.append(exchange)
        try:
            return await self._exchange(request, exchange)
        finally:
            exchange.done = True

    async def _exchange(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        ask = Ask.of(request)
        faults = self.faults.striking(ask)
        for fault in faults:
            ask = fault.before(ask)
        reply = next((reply for fault in faults if (reply := fault.instead(ask)) is not None), None)
        if reply is None:
            if request.path == "/ws" and request.headers.get("Upgrade", "").lower() == "websocket":
                exchange.status = 101
                return await self.news.serve(request)
            reply = await self._api.answer(request, ask)
        exchange.asked = reply.size if isinstance(reply.body, Slice) else 0
        for fault in faults:
            reply = fault.after(reply, ask)
        exchange.status = reply.status
        return await Wire(request, self._threads, self._stopping, exchange.count).send(reply)
