"""One archive: its pieces, its tries, its sources; and in the end the verdict on every byte of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from ayon_async import backoff
from ayon_async.checksum import Checksum
from ayon_async.errors import (
    AccessDenied,
    ChecksumMismatch,
    ItemError,
    SourceUnavailable,
    StoreError,
    TooLong,
    TransferError,
    Truncated,
)
from ayon_async.locate import Archive, Source
from ayon_async.progress import Entry, Phase
from ayon_async.server import AyonServer
from ayon_async.threads import ended, in_thread
from ayon_async.transfer.arrival import Arrival
from ayon_async.transfer.copying import copy
from ayon_async.transfer.origins import Origins
from ayon_async.transfer.pacing import Pacer
from ayon_async.transfer.part import Part, Validator
from ayon_async.transfer.pieces import Pieces
from ayon_async.transfer.probe import Probe, probe
from ayon_async.transfer.stream import Failed, Line, Piece, StartOver, WrongSize, stream
from ayon_async.transfer.writer import Writer
from ayon_async.urls import redact

_WORTH_AHEAD = 16 << 20
"""Bytes of an archive that is worth being read before it is whole."""
_SLOW = 1.0
"""Seconds after which one that is still arriving is."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive that is here and, as far as its source attests anything, is what it should be.

    Attributes:
        part: Its file is open, and is the one that was hashed. Whoever got it closes it.
        size: Bytes.
        sha256: Of all the bytes.
        source: Where it came from.
        pieced: Whether it was put together: from an earlier run's bytes, several connections or several sources.
        validator: What its source says of its state, or None.
    """

    part: Part
    size: int
    sha256: Checksum
    source: Source
    pieced: bool
    validator: Validator | None


@dataclass(frozen=True, slots=True)
class Means:
    """What all downloads of a run share."""

    server: AyonServer
    pacer: Pacer
    writers: Executor
    origins: Origins
    retries: int


class Download:
    """One archive on its way.

    Args:
        archive: Where it may be had.
        part: Its part file, open, ours alone.
        entry: Its line in the ledger.
        means: What all downloads share.
        whole: Whether it must come in one answer.
        on_arrival: Gets the means to read it while it arrives, once it turns out to be large.
    """

    def __init__(
        self,
        archive: Archive,
        part: Part,
        entry: Entry,
        means: Means,
        *,
        whole: bool,
        on_arrival: Callable[[Arrival], None] | None,
    ) -> None:
        self._archive = archive
        self._part = part
        self._entry = entry
        self._means = means
        self.writer = Writer(part, means.writers)
        self._pieces = Pieces(part, means.pacer.climb.most)
        self._helpers: set[asyncio.Task[None]] = set()
        self._source = archive.sources[0]
        self._expected = archive.expected
        self._whole = whole
        self._splits = True  # until the source shows that it does not do them
        self._pieced = part.resumed
        self._on_arrival = on_arrival
        self._begun = time.monotonic()

    async def run(self) -> Fetched:
        """Bring it from the first source that gives it.

        Raises:
            TransferError, AccessDenied: No source gives it; the message has each one's reason.
            StoreError: It can't be written.
        """
        failures: list[TransferError | AccessDenied] = []
        for source in self._archive.sources:
            try:
                await self._change_to(source)
                await self._bring_verified()
                return self._fetched(source)
            except (TransferError, AccessDenied) as error:
                failures.append(error)
                self._entry.set(reason=error.message)
            finally:
                await self._settle()
        if len(failures) == 1:
            raise failures[0]
        chosen = next((error for error in failures if isinstance(error, AccessDenied)), failures[-1])
        reasons = " ".join(f"({number}) {error.message}" for number, error in enumerate(failures, 1))
        raise type(chosen)(f"None of the {len(failures)} sources gives the archive: {reasons}", chosen.hint)

    def _fetched(self, source: Source) -> Fetched:
        part, validator = self._part, self._part.validator
        of_source = validator if validator is not None and validator.url == source.location else None
        return Fetched(part, part.size or 0, part.checksum(), source, self._pieced, of_source)

    async def _change_to(self, source: Source) -> None:
        """Bytes of another source are kept only if one checksum will judge the whole."""
        if source is not self._archive.sources[0] and self._part.done.spans:
            if source.checksum is None or source.checksum != self._source.checksum:
                await self._start_over("another source")
            else:
                self._pieced = True
        self._source = source
        self._splits = True
        self._entry.set(source=redact(source.location))

    async def _start_over(self, reason: str) -> None:
        await self._settle()
        await self._in_writer(self._part.reset)
        self._pieced = False
        self._entry.set(reason=reason)
        self._entry.have(0)

    async def _settle(self) -> None:
        """End the further connections, and bring to disk what came."""
        while self._helpers:  # one that ends may make room for a new one
            helpers = set(self._helpers)
            for helper in helpers:
                helper.cancel()
            # However often this task is cancelled: they write into the file that is closed next.
            await ended(asyncio.ensure_future(asyncio.wait(helpers)))
        await self.writer.flush()

    # --- the verdict ------------------------------------------------------------------------------------------------

    async def _bring_verified(self) -> None:
        while True:
            await self._bring()
            await self._settle()  # the last byte is on disk, but its thread may still be hashing
            self._entry.set(phase=Phase.VERIFYING)
            await self._catch_up()
            error = self._verdict()
            if error is None:
                return
            pieced = self._pieced
            await self._start_over(error.message)
            if not pieced:
                raise error
            # What was put together may have been put together wrongly: once more, in one answer.
            self._whole = True

    def _verdict(self) -> TransferError | None:
        size, declared = self._part.size or 0, self._archive.size
        attested = self._source.checksum
        actual = self._part.checksum(attested.algorithm) if attested else None
        if actual == attested and (attested or declared in (None, size)):
            return None
        where = redact(self._source.location)
        if self._source.pin is not None and actual is not None:
            return self._source.pin.mismatch(f"What {where} gave", actual.digest)
        if declared is not None and size < declared:
            message = f"{where}: the body was truncated: {size:,} bytes came, the AYON server says {declared:,}."
            return Truncated(message, "Upload the archive again, or look at the proxies in between.")
        if declared is not None and size > declared:
            message = f"{where} sent {size:,} bytes, more than the {declared:,} that the AYON server says."
            return TooLong(message, "Upload the archive to the AYON server again.")
        assert attested is not None
        assert actual is not None
        message = (
            f"What {where} gave is not the archive that the AYON server means: its {actual.algorithm} is"
            f" {actual.digest}, expected {attested.digest}."
        )
        return ChecksumMismatch(message, "Ask the studio's AYON administrator to upload the archive again.")

    async def _catch_up(self) -> None:
        """Hash what is on disk and was not hashed yet, in order."""
        while self._part.is_behind and await self._in_writer(self._part.catch_up):
            pass

    # --- the bytes --------------------------------------------------------------------------------------------------

    async def _bring(self) -> None:
        if self._source.kind == "filesystem":
            await copy(
                self._source,
                self._part,
                self._entry,
                threads=self._means.writers,
                patience=self._means.server.http.timeouts.silence,
                start_over=self._start_over,
            )
            return
        await self._take_up()
        # Attempts are counted since the last byte that brought us further than we had ever been: a server that always
        # breaks off and can't go on in the middle is given up, one that gets a little further each time is not.
        attempt, best, too_long = 0, self._part.done.total, False
        while not self._part.complete:
            retry_after = None
            try:
                await self._fill()
                continue
            except StartOver as failure:
                await self._start_over(str(failure))
                error: TransferError = SourceUnavailable(f"{redact(self._source.location)}: {failure}.", "Sync again.")
            except WrongSize as failure:
                error = failure.error
                if isinstance(error, TooLong) and too_long:
                    raise error from failure
                too_long = isinstance(error, TooLong)
                await self._look_again()
            except Failed as failure:
                error, retry_after = failure.error, failure.retry_after
                if not failure.again:
                    raise error from failure
            if self._part.done.total > best:
                attempt, best = 0, self._part.done.total
            attempt += 1
            if attempt > self._means.retries:
                raise error
            self._check_origin()
            self._entry.set(phase=Phase.CONNECTING, attempt=attempt + 1, reason=error.message)
            await asyncio.sleep(backoff.delay(attempt, retry_after))

    def _check_origin(self) -> None:
        if self._source is not self._archive.sources[-1]:
            self._means.origins.check(self._source)

    async def _take_up(self) -> None:
        """Go on with what an earlier run or another source left, if it is still the same archive."""
        if not self._part.done.spans:
            return
        if self._part.complete and self._source.checksum is None:
            # Nothing is left to ask for, so no answer would tell that the archive changed meanwhile.
            now, known = await self._probe(), self._part.validator
            if now is not None and (now.size != self._part.size or known is None or known.contradicts(now.validator)):
                await self._start_over("the archive on the server changed")
                return
        self._entry.set(phase=Phase.VERIFYING, size=self._part.size)
        self._entry.have(self._part.done.total)
        await self._catch_up()

    async def _probe(self) -> Probe | None:
        async with self._means.pacer.connection(self._expected):
            return await probe(self._source, self._means.server)

    async def _look_again(self) -> None:
        """The size that is expected may be an old one; only the AYON server's own word on it stands, or a checksum."""
        if self._archive.size is None or self._source.checksum is not None:
            seen = await self._probe()
            self._expected = self._expected if seen is None or seen.size is None else seen.size

    async def _fill(self) -> None:
        """Ask for what nobody else brings, over one connection, until there is no such byte."""
        if not self._pieces.gaps():
            await asyncio.wait(self._helpers, return_when=asyncio.FIRST_COMPLETED)
            return
        async with self._means.pacer.connection(self._expected):
            self._check_origin()
            self._entry.set(phase=Phase.CONNECTING)
            while (piece := await self._next_piece()) is not None:
                try:
                    await self._stream(piece)
                finally:
                    self._pieces.drop(piece)

    async def _next_piece(self) -> Piece | None:
        if self._part.done.spans and (self._whole or not self._can_go_on) and not self._part.complete:
            await self._start_over("the source does not let one go on in the middle")
        if not self._pieces.gaps():
            return None
        if self._part.done.spans:
            self._pieced = True
        return self._pieces.take_first(split=bool(self._part.done.spans) and self._can_split)

    @property
    def _can_go_on(self) -> bool:
        """Whether bytes of this source can be told from those of another state of the archive."""
        validator = self._part.validator
        known = validator is not None and validator.url == self._source.location and validator.if_range is not None
        return known or self._source.checksum is not None

    @property
    def _can_split(self) -> bool:
        return self._splits and not self._whole and self._part.size is not None and self._can_go_on

    async def _stream(self, piece: Piece) -> None:
        source, pacer, origins = self._source, self._means.pacer, self._means.origins
        line = Line(self._means.server, pacer, self.writer, self._entry, self._expected, self._start_over)
        try:
            await stream(source, self._part, piece, line)
        except Failed as failure:
            origins.failed(source, brought=piece.position > piece.start)
            if failure.busy:
                asked_for = backoff.seconds_of(failure.retry_after)
                # Who asks for longer than it is waited for holds up nobody else.
                pacer.busy(asked_for if asked_for and failure.again else backoff.FIRST)
            elif failure.again:
                pacer.failed()
            raise
        else:
            origins.served(source)

    def tick(self) -> None:
        """Called now and then: write what waits, and let a reader begin where it is worth it and any piece can be had.

        Where an archive arrives faster than anybody reads it, the reader would only be in the way.
        """
        self.writer.tick()
        size, wait = self._part.size, time.monotonic() - self._begun
        if self._on_arrival is None or size is None or size < _WORTH_AHEAD or wait < _SLOW or not self._can_split:
            return
        offer, self._on_arrival, self._pieces.wants_end = self._on_arrival, None, True
        with contextlib.suppress(StoreError):  # no further file can be open: it is unpacked once it is here
            offer(self._part.reader())

    # --- helpers: further connections for the same archive ----------------------------------------------------------

    def size(self) -> int:
        """Bytes of the archive; 0 while they are not known."""
        return self._part.size or 0

    def largest_rest(self) -> int:
        """Bytes that a further connection could take over; 0 where it could not help."""
        return self._pieces.largest_rest() if self._can_split else 0

    def start_helper(self) -> None:
        """Let another connection, which the caller has taken from the pacer, bring the largest rest."""
        self._pieced = True
        piece = self._pieces.take_over()
        task = asyncio.create_task(self._help(piece))
        self._helpers.add(task)

        def ended(task: asyncio.Task[None]) -> None:  # also where it was cancelled before it began
            self._helpers.discard(task)
            self._pieces.drop(piece)
            self._means.pacer.release()

        task.add_done_callback(ended)

    async def _help(self, piece: Piece) -> None:
        try:
            await self._stream(piece)
        except Failed:
            pass  # the archive's own connection will ask for the same bytes
        except (StartOver, WrongSize, ItemError, AccessDenied):
            self._splits = False

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await in_thread(work, executor=self._means.writers)
