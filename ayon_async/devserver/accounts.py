"""Who may ask: logins, sessions, API keys, and the ban after too many bad passwords."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field

from aiohttp import web

from ayon_async.devserver.studio import Studio, User

_MAX_BAD_TRIES = 10
_MAX_LOGINS_A_MINUTE = 10
_TOKEN_LENGTH = 64


class Refused(Exception):
    """The server says no.

    Args:
        status: HTTP status of the answer.
        detail: What it says.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Accounts:
    """Sessions and login tries of one server.

    Attributes:
        ban_seconds: How long an address is locked out after ten bad passwords.
        throttled: Refuse more than ten logins a minute (a real server does, except on loopback).
        sessions: User names by token; an API key becomes a session when it is first used over HTTP.
    """

    ban_seconds: float = 600.0
    throttled: bool = False
    sessions: dict[str, str] = field(default_factory=dict)
    _bad_tries: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _banned_until: dict[str, float] = field(default_factory=dict)
    _logins: deque[float] = field(default_factory=deque)

    def login(self, studio: Studio, name: str, password: str, address: str) -> tuple[str, User]:
        """Check a password; returns a new token and its user.

        Raises:
            Refused: Wrong, banned, or too often.
        """
        now = time.monotonic()
        if self.throttled:
            self._logins.append(now)
            while self._logins[0] < now - 60:
                self._logins.popleft()
            if len(self._logins) > _MAX_LOGINS_A_MINUTE:
                raise Refused(503, "Rate limit exceeded. Try again later")
        if self._banned_until.get(address, 0.0) > now:
            raise Refused(403, "Too many failed login attempts")
        user = next((user for user in studio.users if user.name.lower() == name.strip().lower()), None)
        if user is not None and user.is_service:
            raise Refused(403, "Service users cannot log in")
        if user is None or user.password is None:
            raise Refused(403, "Invalid login/password combination")
        if user.password != password:
            self._count_bad_try(address, now)
            raise Refused(403, "Invalid login/password combination")
        self._bad_tries.pop(address, None)
        return self.open_session(user), user

    def open_session(self, user: User) -> str:
        """A new token for the user."""
        token = secrets.token_hex(_TOKEN_LENGTH // 2)
        self.sessions[token] = user.name
        return token

    def end_session(self, token: str | None) -> None:
        """Forget a token; an unknown one is fine."""
        if token is not None:
            self.sessions.pop(token, None)

    def end_all_sessions(self) -> None:
        """Forget every token, as when they expire."""
        self.sessions.clear()

    def user_of(self, studio: Studio, request: web.BaseRequest) -> User:
        """The user that the request's token or key belongs to.

        Raises:
            Refused: There is none, or it is not valid.
        """
        key = request.headers.get("X-Api-Key") or _credentials(request, "apikey")
        if key:
            user = next((user for user in studio.users if key in user.api_keys), None)
            if user is None:
                raise Refused(401, "Invalid session")
            self.sessions[key] = user.name
            return user
        token = token_of(request)
        if token is None:
            raise Refused(401, "Access token is missing")
        user = self.user_of_token(studio, token)
        if user is None:
            raise Refused(401, "Invalid session")
        return user

    def user_of_token(self, studio: Studio, token: str) -> User | None:
        """The user of a session, or None."""
        name = self.sessions.get(token)
        return next((user for user in studio.users if user.name == name), None)

    def _count_bad_try(self, address: str, now: float) -> None:
        self._bad_tries[address] += 1
        if self._bad_tries[address] >= _MAX_BAD_TRIES:
            self._banned_until[address] = now + self.ban_seconds
            del self._bad_tries[address]


def token_of(request: web.BaseRequest) -> str | None:
    """The access token that the request carries; one of a wrong length counts as none."""
    token = _credentials(request, "bearer")
    return token if token is not None and len(token) == _TOKEN_LENGTH else request.query.get("token")


def _credentials(request: web.BaseRequest, scheme: str) -> str | None:
    words = request.headers.get("Authorization", "").split()
    return words[1] if len(words) == 2 and words[0].lower() == scheme else None
