"""Named faults: everything that networks, proxies and servers do wrong, switched on by path and by attempt.

    server.faults.add("/addons/maya/*", Drop(after=1000), attempts=1)
    server.faults.add("*", Reset(), probability=0.3, seed=7)

A fault changes what is asked before it is answered (`before`), answers by itself (`instead`), or changes the answer
before it is sent (`after`).
"""

from __future__ import annotations

import gzip
import random
import secrets
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from fnmatch import fnmatchcase

from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.reply import Lane, Reply, Slice, error_reply


class Fault:
    """Something that goes wrong with one answer; the base changes nothing."""

    def before(self, ask: Ask) -> Ask:
        """What is asked, as the faulty server understands it."""
        return ask

    def instead(self, ask: Ask) -> Reply | None:
        """An answer in place of the right one, or None."""
        return None

    def after(self, reply: Reply, ask: Ask) -> Reply:
        """The right answer, broken."""
        return reply


# --- the connection ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drop(Fault):
    """The connection ends in order after this many bytes of the body; -1: without any answer."""

    after_bytes: int = 0

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, stop_after=self.after_bytes, ending="close")


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """The connection is reset after this many bytes of the body; -1: without any answer."""

    after_bytes: int = -1

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, stop_after=self.after_bytes, ending="reset")


@dataclass(frozen=True, slots=True)
class Silence(Fault):
    """Nothing more comes after this many bytes of the body, yet the connection stays; -1: not even headers come."""

    after_bytes: int = 0

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, stop_after=self.after_bytes, ending="stall")


@dataclass(frozen=True, slots=True)
class Slow(Fault):
    """The body comes at this many bytes a second on each connection: a cap, or a drip."""

    rate: float

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, lane=Lane(self.rate))


@dataclass(frozen=True, slots=True)
class Link(Fault):
    """All bodies together come at this many bytes a second, as over one slow line."""

    rate: float
    _lane: Lane = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lane", Lane(self.rate))

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, lane=self._lane)


# --- the body ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Truncated(Fault):
    """The body lacks its last bytes, and `Content-Length` does not say so; the connection ends in order."""

    missing: int = 1

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, stop_after=max(0, reply.size - self.missing), ending="close")


@dataclass(frozen=True, slots=True)
class Shortened(Fault):
    """The body lacks its last bytes, and `Content-Length` agrees: HTTP is content, the archive is not whole."""

    missing: int = 1

    def after(self, reply: Reply, ask: Ask) -> Reply:
        length = max(0, reply.size - self.missing)
        if isinstance(reply.body, Slice):
            return replace(reply, body=replace(reply.body, length=length))
        return replace(reply, body=reply.body[:length])


@dataclass(frozen=True, slots=True)
class TooLong(Fault):
    """More bytes follow the archive's last one, and `Content-Length` counts them."""

    extra: int = 1

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, body=reply.read() + b"\0" * self.extra)


@dataclass(frozen=True, slots=True)
class Corrupt(Fault):
    """One byte is wrong.

    Attributes:
        at: Position in what this answer sends; None for its middle.
        only_resumed: Leave answers alone that start at the archive's first byte.
    """

    at: int | None = None
    only_resumed: bool = False

    def after(self, reply: Reply, ask: Ask) -> Reply:
        resumed = isinstance(reply.body, Slice) and reply.body.start > 0
        if self.only_resumed and not resumed:
            return reply
        return replace(reply, flip=reply.size // 2 if self.at is None else self.at)


@dataclass(frozen=True, slots=True)
class Gzipped(Fault):
    """The body is gzip-encoded although nobody asked for it, as some proxies do."""

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(
            reply, headers={**reply.headers, "Content-Encoding": "gzip"}, body=gzip.compress(reply.read(), 1)
        )


# --- the headers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WrongLength(Fault):
    """`Content-Length` is off by this many bytes; the body is right and the connection ends after it."""

    by: int = 1

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, length=max(0, reply.size + self.by))


@dataclass(frozen=True, slots=True)
class NoLength(Fault):
    """Without `Content-Length`: only the end of the connection tells the end of the body."""

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, framing="close")


@dataclass(frozen=True, slots=True)
class Chunked(Fault):
    """Chunked, so that the length is not known before the end."""

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, framing="chunked")


@dataclass(frozen=True, slots=True)
class IgnoresRange(Fault):
    """Always the whole archive with status 200."""

    def before(self, ask: Ask) -> Ask:
        return replace(ask, range=None)


@dataclass(frozen=True, slots=True)
class WrongContentRange(Fault):
    """A partial answer says that it starts elsewhere, or that the archive has another size.

    Attributes:
        start_off: Added to the first and last position.
        size_off: Added to the archive's size.
    """

    start_off: int = 0
    size_off: int = 0

    def after(self, reply: Reply, ask: Ask) -> Reply:
        if reply.status != 206 or not isinstance(reply.body, Slice):
            return reply
        positions, _, size = reply.headers["Content-Range"].removeprefix("bytes ").partition("/")
        start, end = (int(position) + self.start_off for position in positions.split("-"))
        value = f"bytes {start}-{end}/{int(size) + self.size_off}"
        return replace(reply, headers={**reply.headers, "Content-Range": value})


@dataclass(frozen=True, slots=True)
class NewETag(Fault):
    """The validator is another one than before.

    Attributes:
        value: What the new one is made from; None for another one with every answer.
        heeds_if_range: Answer a range with an outdated `If-Range` by the whole archive, as is right; else by the range.
    """

    value: str | None = None
    heeds_if_range: bool = True

    def before(self, ask: Ask) -> Ask:
        salt = secrets.token_hex(8) if self.value is None else self.value
        return replace(ask, salt=salt, if_range=ask.if_range if self.heeds_if_range else None)


# --- another answer ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """An error in AYON's shape: 401, 403, 404, 500…"""

    code: int
    detail: str = "Error"

    def instead(self, ask: Ask) -> Reply:
        return error_reply(self.code, self.detail)


@dataclass(frozen=True, slots=True)
class Busy(Fault):
    """429 or 503.

    Attributes:
        code: Status.
        retry_after: Seconds that `Retry-After` asks to wait; None for no such header.
        as_date: Give them as an HTTP date, which counts whole seconds only.
    """

    code: int = 503
    retry_after: int | None = None
    as_date: bool = False

    def instead(self, ask: Ask) -> Reply:
        reply = error_reply(self.code, "Too many requests" if self.code == 429 else "Service unavailable")
        if self.retry_after is None:
            return reply
        date = formatdate(time.time() + self.retry_after, usegmt=True)
        value = date if self.as_date else str(self.retry_after)
        return replace(reply, headers={**reply.headers, "Retry-After": value})


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """To another place.

    Attributes:
        to: URL; `{path}` in it stands for the path asked for. The default leads back to where it came from: a loop.
        code: Status.
    """

    to: str = "{path}"
    code: int = 302

    def instead(self, ask: Ask) -> Reply:
        return Reply(self.code, {"Location": self.to.replace("{path}", ask.path)})


@dataclass(frozen=True, slots=True)
class Body(Fault):
    """This very answer, whatever was asked: HTML for a zip, broken JSON, a list where an object belongs."""

    body: bytes = b"<!doctype html><title>Sign in</title><p>Please sign in to the network.</p>"
    content_type: str = "text/html; charset=utf-8"
    status: int = 200

    def instead(self, ask: Ask) -> Reply:
        return Reply(self.status, {"Content-Type": self.content_type}, self.body)


# --- when -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Rule:
    """A fault and when it strikes; `hits` counts how often it did."""

    glob: str
    fault: Fault
    attempts: Container[int] | None
    probability: float
    seed: int
    probes: bool
    hits: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    def strikes(self, ask: Ask) -> bool:
        """Count the request, and tell whether the fault strikes it."""
        if not fnmatchcase(ask.path, self.glob) or (ask.is_probe and not self.probes):
            return False
        self._seen[ask.path] += 1
        attempt = self._seen[ask.path]
        struck = (self.attempts is None or attempt in self.attempts) and (
            self.probability >= 1 or random.Random(f"{self.seed} {ask.path} {attempt}").random() < self.probability
        )
        self.hits += struck
        return struck


@dataclass(slots=True)
class Faults:
    """The faults that are switched on; several may strike the same request, in the order they were added."""

    rules: list[Rule] = field(default_factory=list)

    def add(
        self,
        glob: str,
        fault: Fault,
        *,
        attempts: int | Container[int] | None = None,
        probability: float = 1.0,
        seed: int = 0,
        probes: bool = False,
    ) -> Rule:
        """Switch a fault on.

        Args:
            glob: Which paths, as decoded and without query; `*` stands for any characters, slashes too.
            fault: What goes wrong.
            attempts: Which requests to a path, counted from 1 for each path: one number, several (`{1, 3}`,
                `range(2, 1000)`), or None for all.
            probability: How likely each of these is struck. The dice fall the same way for the same seed, path and
                attempt, in whatever order requests come.
            seed: Another seed, other dice.
            probes: Count and strike requests for the first byte alone too, which clients send to learn a size.
        """
        rule = Rule(glob, fault, {attempts} if isinstance(attempts, int) else attempts, probability, seed, probes)
        self.rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Switch one fault off."""
        self.rules.remove(rule)

    def clear(self) -> None:
        """Switch all faults off."""
        self.rules.clear()

    def striking(self, ask: Ask) -> list[Fault]:
        """The faults that strike this request."""
        return [rule.fault for rule in self.rules if rule.strikes(ask)]
