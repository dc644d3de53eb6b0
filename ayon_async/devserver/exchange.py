"""One request as the server sees it, and as tests read it afterwards."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Ask:
    """The part of a request that decides which bytes are answered; faults may change it before it is answered.

    Attributes:
        method: HTTP method.
        path: Decoded path, without the query.
        range: The `Range` header, or None.
        if_range: The `If-Range` header, or None.
        salt: Goes into the ETag; another one makes another ETag of the same file.
    """

    method: str
    path: str
    range: str | None = None
    if_range: str | None = None
    salt: str = ""

    @classmethod
    def of(cls, request: web.BaseRequest) -> Ask:
        """What the request asks for."""
        headers = request.headers
        return cls(request.method, request.path, headers.get("Range"), headers.get("If-Range"))

    @property
    def is_probe(self) -> bool:
        """True where only the first byte is asked for, to learn the size."""
        return self.range == "bytes=0-0"

    @property
    def is_resumed(self) -> bool:
        """True where the range starts behind the first byte."""
        return self.range is not None and not self.range.startswith("bytes=0-")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and what became of it.

    Attributes:
        method: HTTP method.
        path: Decoded path, without the query.
        path_qs: Path and query as they came.
        headers: The request's headers; their names are matched in any case.
        range: The `Range` header, or None.
        status: Status of the answer; 0 while there is none.
        asked: Bytes of an archive that the answer promised; 0 for any other answer.
        bytes_sent: Bytes of the body that were handed to the connection so far.
        started: `time.monotonic()` of the request.
        done: True when the answer has ended, one way or another.
    """

    method: str
    path: str
    path_qs: str
    headers: Mapping[str, str]
    range: str | None
    status: int = 0
    asked: int = 0
    bytes_sent: int = 0
    started: float = field(default_factory=time.monotonic)
    done: bool = False


@dataclass(slots=True)
class Exchange:
    """The running count of one exchange, of which `record` is the view that tests get."""

    begun: RequestRecord
    status: int = 0
    asked: int = 0
    bytes_sent: int = 0
    done: bool = False

    @classmethod
    def of(cls, request: web.BaseRequest) -> Exchange:
        """The exchange that a request begins."""
        headers = request.headers
        begun = RequestRecord(request.method, request.path, request.path_qs, headers, headers.get("Range"))
        return cls(begun)

    def count(self, sent: int) -> None:
        """Add to the bytes sent."""
        self.bytes_sent += sent

    def record(self) -> RequestRecord:
        """The exchange as it stands now."""
        return replace(self.begun, status=self.status, asked=self.asked, bytes_sent=self.bytes_sent, done=self.done)
