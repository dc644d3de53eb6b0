"""One archive: its pieces, its tries, its sources; and in the end the verdict on every byte of it."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from ayon_async import backoff
from ayon_async.checksum import Checksum
from ayon_async.errors import AccessDenied, ChecksumMismatch, SourceUnavailable, TooLong, TransferError, Truncated
from ayon_async.locate import Archive, Source
from ayon_async.progress import Entry, Phase
from ayon_async.server import AyonServer
from ayon_async.threads import abandonable, in_thread
from ayon_async.transfer.origins import Origins
from ayon_async.transfer.pacing import Pacer
from ayon_async.transfer.part import Part, Validator
from ayon_async.transfer.stream import Again, Line, Piece, StartOver, stream
from ayon_async.urls import redact

SMALLEST_SPLIT = 256 * 1024
"""Bytes that are worth a connection of their own."""
_WORTH_SECONDS = 0.25
_COPY = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive that is here and, as far as its source attests anything, is what it should be.

    Attributes:
        file: Open for reading; the one that was hashed. Whoever got it closes it.
        path: Where it lies.
        size: Bytes.
        sha256: Of all the bytes.
        source: Where it came from.
        pieced: Whether it was put together: from an earlier run's bytes, several connections or several sources.
        validator: What its source says of its state, or None.
    """

    file: BinaryIO
    path: Path
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
        splits: Whether several connections may bring it.
    """

    def __init__(self, archive: Archive, part: Part, entry: Entry, means: Means, *, splits: bool) -> None:
        self._archive = archive
        self._part = part
        self._entry = entry
        self._means = means
        self._pieces: list[Piece] = []
        self._helpers: set[asyncio.Task[None]] = set()
        self._source = archive.sources[0]
        self._splits = splits
        self._pieced = part.resumed
        self._copied: Validator | None = None  # of a file that was copied; nobody can go on with such a part

    async def run(self) -> Fetched:
        """Bring it from the first source that gives it.

        Raises:
            TransferError, AccessDenied: No source gives it; the message has each one's reason.
            StoreError: It can't be written.
        """
        failures: list[TransferError | AccessDenied] = []
        for source in self._archive.sources:
            last = source is self._archive.sources[-1]
            try:
                await self._change_to(source)
                await self._bring_verified(last=last)
                return self._fetched(source)
            except (TransferError, AccessDenied) as error:
                failures.append(error)
                self._entry.set(reason=error.message)
            finally:
                await self._dismiss_helpers()
        if len(failures) == 1:
            raise failures[0]
        chosen = next((error for error in failures if isinstance(error, AccessDenied)), failures[-1])
        reasons = " ".join(f"({number}) {error.message}" for number, error in enumerate(failures, 1))
        raise type(chosen)(f"None of the {len(failures)} sources gives the archive: {reasons}", chosen.hint)

    def _fetched(self, source: Source) -> Fetched:
        part, validator = self._part, self._copied or self._part.validator
        of_source = validator if validator is not None and validator.url == source.location else None
        return Fetched(part.file, part.path, part.size or 0, part.checksum(), source, self._pieced, of_source)

    async def _change_to(self, source: Source) -> None:
        """Bytes of another source are kept only if one checksum will judge the whole."""
        if source is not self._archive.sources[0] and self._part.done.spans:
            if source.checksum is None or source.checksum != self._source.checksum:
                await self._start_over("another source")
            else:
                self._pieced = True
        self._source = source
        self._entry.set(source=redact(source.location))

    async def _start_over(self, reason: str) -> None:
        await self._dismiss_helpers()
        await self._in_writer(self._part.reset)
        self._pieces.clear()
        self._pieced = False
        self._entry.set(reason=reason)
        self._entry.have(0)

    # --- the verdict ------------------------------------------------------------------------------------------------

    async def _bring_verified(self, *, last: bool) -> None:
        while True:
            await self._bring(last=last)
            self._entry.set(phase=Phase.VERIFYING)
            await self._catch_up()
            error = self._verdict()
            if error is None:
                return
            pieced = self._pieced
            await self._start_over(error.message)
            if not pieced:
                raise error
            # What was put together may have been put together wrongly: once more, whole, over one connection.
            self._splits = False

    def _verdict(self) -> TransferError | None:
        where, size, declared = redact(self._source.location), self._part.size or 0, self._archive.size
        if declared is not None and size < declared:
            message = f"{where}: the body was truncated: {size:,} bytes came, the AYON server says {declared:,}."
            return Truncated(message, "Upload the archive again, or look at the proxies in between.")
        attested = self._source.checksum
        if attested is None:
            if declared is not None and size > declared:
                message = f"{where} sent {size:,} bytes, more than the {declared:,} that the AYON server says."
                return TooLong(message, "Upload the archive to the AYON server again.")
            return None
        actual = self._part.checksum(attested.algorithm)
        if actual == attested:
            return None
        message = (
            f"What {where} gave is not the archive that the AYON server means: its {actual.algorithm} is"
            f" {actual.digest}, expected {attested.digest}."
        )
        return ChecksumMismatch(message, "Ask the studio's AYON administrator to upload the archive again.")

    async def _catch_up(self) -> None:
        """Hash what is on disk and was not hashed yet, in order."""
        while await self._in_writer(self._part.catch_up):
            pass

    # --- the bytes --------------------------------------------------------------------------------------------------

    async def _bring(self, *, last: bool) -> None:
        if self._source.kind == "filesystem":
            await self._copy(Path(self._source.location))
            return
        if self._part.size is not None:
            self._entry.set(size=self._part.size)
        self._entry.have(self._part.done.total)
        await self._catch_up()
        # Attempts are counted since the last byte that brought us further than we had ever been: a server that always
        # breaks off and can't go on in the middle is given up, one that gets a little further each time is not.
        attempt, best = 0, self._part.done.total
        while not self._part.complete:
            piece = await self._next_piece()
            if piece is None:
                await asyncio.wait(self._helpers, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                async with self._means.pacer.connection():
                    await self._stream(piece)
            except Again as failure:
                error, retry_after = failure.error, failure.retry_after
            except StartOver as failure:
                await self._start_over(str(failure))
                error, retry_after = Truncated(f"{redact(self._source.location)}: {failure}.", "Try again."), None
            else:
                continue
            if self._part.done.total > best:
                attempt, best = 0, self._part.done.total
            attempt += 1
            given_up = not last and self._means.origins.given_up(self._source)
            if given_up or attempt > self._means.retries:
                raise error
            self._entry.set(phase=Phase.CONNECTING, attempt=attempt + 1, reason=error.message)
            await asyncio.sleep(backoff.delay(attempt, retry_after))

    async def _next_piece(self) -> Piece | None:
        """What the main connection asks for next; None while helpers bring all that is missing."""
        gaps = self._gaps()
        if not gaps:
            return None
        if self._part.done.spans and not self._can_go_on:
            await self._start_over("the source does not let one go on in the middle")
            gaps = self._gaps()
        return Piece.of(*gaps[0])

    @property
    def _can_go_on(self) -> bool:
        """Whether bytes of this source can be told from those of another state of the archive."""
        validator = self._part.validator
        return self._source.checksum is not None or (validator is not None and validator.if_range is not None)

    def _gaps(self) -> tuple[tuple[int, int | None], ...]:
        """What is neither here nor on its way."""
        size = self._part.size
        if size is None:
            return () if self._pieces else ((0, None),)
        taken = self._part.done
        for piece in self._pieces:
            taken = taken.add(piece.start, size if piece.end is None else piece.end)
        return taken.missing(size)

    async def _stream(self, piece: Piece) -> None:
        server, source = self._means.server, self._source
        private = server.private_headers if source.kind == "server" else source.headers
        self._pieces.append(piece)
        try:
            line = Line(server.http, private, self._means.pacer, self._means.writers, self._entry)
            await stream(source, self._part, piece, line)
        except Again:
            self._means.origins.failed(source, brought=piece.position > piece.start)
            self._means.pacer.failed()
            raise
        else:
            self._means.origins.served(source)
        finally:
            if piece in self._pieces:
                self._pieces.remove(piece)

    # --- helpers: further connections for the same archive ----------------------------------------------------------

    def largest_rest(self) -> int:
        """Bytes that a further connection could take over; 0 where it could not help."""
        return max((gap[1] - gap[0] for gap in self._splittable()), default=0)

    def start_helper(self) -> None:
        """Let another connection, which the caller has taken from the pacer, bring the second half of the rest."""
        start, end = max(self._splittable(), key=lambda gap: gap[1] - gap[0])
        for piece in self._pieces:
            if piece.end == end:
                piece.end = start
        self._pieced = True
        task = asyncio.create_task(self._help(Piece.of(start, end, split=True)))
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _splittable(self) -> list[tuple[int, int]]:
        """The second half of each piece on its way that would take its connection long enough."""
        if not self._splits or not self._can_go_on or self._part.size is None:
            return []
        halves = []
        for piece in self._pieces:
            if piece.end is None or piece.seconds_left < _WORTH_SECONDS:
                continue
            middle = piece.end - (piece.end - piece.position) // 2
            if piece.end - middle >= SMALLEST_SPLIT:
                halves.append((middle, piece.end))
        return halves

    async def _help(self, piece: Piece) -> None:
        try:
            await self._stream(piece)
        except StartOver:
            self._splits = False
        except (Again, TransferError, AccessDenied):
            return  # the main connection asks for the same bytes and meets what there is to meet
        finally:
            self._means.pacer.release()

    async def _dismiss_helpers(self) -> None:
        helpers = set(self._helpers)
        for helper in helpers:
            helper.cancel()
        outcomes = await asyncio.gather(*helpers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome  # a full disk, say

    # --- files ------------------------------------------------------------------------------------------------------

    async def _copy(self, path: Path) -> None:
        """Take the archive from a file, which may lie on a mount that never answers."""
        silence = self._means.server.http.timeouts.silence
        if self._part.done.spans:
            await self._start_over("another source")
        position = 0
        try:
            file = await abandonable(lambda: path.open("rb", buffering=0), silence)
            try:
                state = await abandonable(lambda: os.fstat(file.fileno()), silence)
                self._part.size, self._copied = state.st_size, Validator.of_file(path, state)
                self._entry.set(size=self._part.size, phase=Phase.DOWNLOADING)
                while data := await abandonable(lambda: file.read(_COPY), silence):
                    await self._in_writer(functools.partial(self._part.write, [(position, data)]))
                    position += len(data)
                    self._entry.add(len(data))
            finally:
                await abandonable(file.close, silence)
        except TimeoutError as error:
            message = f"{path} did not answer within {silence:.0f} s."
            raise SourceUnavailable(message, "Check that the share is there.") from error
        except OSError as error:
            message = f"{path} can't be read: {error.strerror or error}."
            raise SourceUnavailable(message, "Check that the share is there.") from error
        self._part.size = position

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await in_thread(work, executor=self._means.writers)
