"""News over the WebSocket: topics, heart-beats, and closing on those who may not listen."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

_ALWAYS = ("server.started", "server.restart_requested", "heartbeat")
_RESTART = 1012
_CLOSING = 0.5  # seconds that a listener has to agree to the end


@dataclass(eq=False, slots=True)
class _Listener:
    socket: web.WebSocketResponse
    topics: tuple[str, ...] = ()
    authorized: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, topic: str) -> bool:
        """True where a subscribed prefix covers the topic."""
        return self.authorized.is_set() and (topic in _ALWAYS or "*" in self.topics or topic.startswith(self.topics))


@dataclass(slots=True)
class News:
    """Everybody who listens.

    Attributes:
        is_known: Tells whether a token is a session.
        heartbeat: Seconds between heart-beats.
        grace: Seconds that a listener has to give a good token.
    """

    is_known: Callable[[str], bool]
    heartbeat: float = 6.0
    grace: float = 3.0
    _listeners: set[_Listener] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def listening(self) -> int:
        """How many listeners are signed in."""
        return sum(listener.authorized.is_set() for listener in self._listeners)

    async def wait_for_listeners(self, count: int = 1) -> None:
        """Wait until so many listeners are signed in."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.listening >= count)

    async def serve(self, request: web.BaseRequest) -> web.WebSocketResponse:
        """Serve one WebSocket until it closes."""
        listener = _Listener(web.WebSocketResponse(timeout=_CLOSING))
        await listener.socket.prepare(request)
        self._listeners.add(listener)
        keeper = asyncio.create_task(self._keep(listener))
        try:
            async for message in listener.socket:
                if message.type is WSMsgType.TEXT:
                    await self._read(listener, message.data)
        finally:
            self._listeners.discard(listener)
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        return listener.socket

    async def tell(self, topic: str, description: str = "", summary: Mapping[str, Any] | None = None) -> None:
        """Send an event to all who subscribed to its topic."""
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        event = {
            "topic": topic,
            "id": uuid.uuid1().hex,
            "sender": None,
            "senderType": "api",
            "project": None,
            "user": "admin",
            "dependsOn": None,
            "description": description,
            "summary": dict(summary or {}),
            "status": "finished",
            "progress": 100,
            "store": True,
            "createdAt": now,
            "updatedAt": now,
        }
        for listener in [listener for listener in self._listeners if listener.wants(topic)]:
            await _send(listener, event)

    async def restart(self) -> None:
        """Announce a restart, then close every connection as a restarting server does."""
        await self.tell("server.restart_requested", "Server restart requested")
        await self.close_all()

    async def close_all(self) -> None:
        """Close every connection with the code for a restart."""
        await asyncio.gather(*(listener.socket.close(code=_RESTART) for listener in self._listeners))

    async def _keep(self, listener: _Listener) -> None:
        try:
            async with asyncio.timeout(self.grace):
                await listener.authorized.wait()
        except TimeoutError:
            await listener.socket.close(code=1000)
            return
        while True:
            await asyncio.sleep(self.heartbeat)
            await _send(listener, {"topic": "heartbeat"})

    async def _read(self, listener: _Listener, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            return
        if (
            not isinstance(message, dict)
            or message.get("topic") != "auth"
            or not self.is_known(str(message.get("token")))
        ):
            return
        listener.topics = tuple(str(topic) for topic in message.get("subscribe", ()))
        listener.authorized.set()
        async with self._changed:
            self._changed.notify_all()


async def _send(listener: _Listener, message: Mapping[str, Any]) -> None:
    with suppress(ConnectionError):
        await listener.socket.send_str(json.dumps(message))
