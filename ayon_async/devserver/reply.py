"""What the server is about to answer, as one immutable value.

A `Reply` can be well-behaved or, changed by a fault, broken in all the ways that networks and proxies break answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ayon_async.devserver.studio import Content


@dataclass(slots=True)
class Lane:
    """A way that lets only so many bytes a second pass, whoever sends them."""

    rate: float
    _free: float = 0.0

    def book(self, size: int, now: float) -> float:
        """When `size` more bytes are through, on the clock of `now`."""
        self._free = max(self._free, now) + size / self.rate
        return self._free


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an archive: `length` bytes from `start`."""

    content: Content
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer.

    Attributes:
        status: HTTP status.
        headers: Headers, without those that frame the body.
        body: What is sent.
        length: What `Content-Length` says; None for the body's true length.
        framing: `length`; `chunked`; or `close`, where only the end of the connection ends the body.
        stop_after: Bytes of the body after which `ending` happens; None for all of it, -1 for before the headers.
        ending: `normal`; `close` the connection; `reset` it; `stall` for ever.
        lane: What its bytes have to pass, or None for as fast as it goes.
        flip: Position in the body of one byte that is sent wrong, or None.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Slice = b""
    length: int | None = None
    framing: Literal["length", "chunked", "close"] = "length"
    stop_after: int | None = None
    ending: Literal["normal", "close", "reset", "stall"] = "normal"
    lane: Lane | None = None
    flip: int | None = None

    @property
    def size(self) -> int:
        """True length of the body in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    @property
    def well_behaved(self) -> bool:
        """True where nothing about how it is sent is out of the ordinary."""
        unchanged = self.length is None and self.stop_after is None and self.lane is None and self.flip is None
        return unchanged and self.framing == "length" and self.ending == "normal"

    def read(self) -> bytes:
        """The whole body, read from its file where it lies in one."""
        if isinstance(self.body, bytes):
            return self.body
        content, start, end = self.body.content, self.body.start, self.body.start + self.body.length
        if isinstance(content, bytes):
            return content[start:end]
        with content.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def json_reply(value: Any, status: int = 200) -> Reply:
    """An answer in compact JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Reply(status, {"Content-Type": "application/json"}, body)


def error_reply(status: int, detail: str, **more: Any) -> Reply:
    """An error in AYON's own shape."""
    return json_reply({"code": status, "detail": detail, **more}, status)
