"""Unpacks a zip: member by member in the order in which they lie in the file, each from its own span of bytes.

A member's span ends where the next one begins. Its header, data and descriptor have to fill the span exactly: so
members can't overlap, and nothing can hide between them.

The spans go in batches of about a MiB to whoever unpacks: the thread that was called and one more where one is free, or
this process and another one. Of an archive that is still arriving those go first that are here.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from ayon_async import deflate
from ayon_async.unpack import errors
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.folder import Folder
from ayon_async.unpack.links import Links
from ayon_async.unpack.names import Names
from ayon_async.unpack.result import Member, Unpacked
from ayon_async.unpack.source import MIB, Meter, Source
from ayon_async.unpack.zip_directory import Entry, read_directory
from ayon_async.unpack.zip_members import AT_ONCE, HEADER, Reader, Span

if TYPE_CHECKING:
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")
_LONGEST_TARGET = 4096  # bytes of a link's target
WORTH_HELP = 8
"""Batches: a smaller rest is unpacked before another thread or process has begun."""
_WORTH_A_THREAD = 8 << 10
"""Compressed bytes of an average member that are worth another thread: with fewer, two wait for the interpreter's lock
more than they work (with 0.5 KB it took 1.5 times as long, with 4 KB 1.1 times, with 14 KB 0.6 times)."""


class Helpers(Protocol):
    """Threads that may help with a large archive; any executor is such."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T] | None:
        """Have it done as soon as a thread is free; None where they have other work now: ask again later."""


class Team(Protocol):
    """The processes that unpack one archive; each has the same batches."""

    def claim(self, batches: int, withheld: int) -> tuple[int, int] | None:
        """Which batches are ours, from the first to before the last, or None where there are no more.

        At the first call all folders are made.

        Args:
            batches: How many there are.
            withheld: The mode bits that are withheld from what is made here.
        """

    def join(self) -> tuple[list[Member], dict[str, str]]:
        """Wait until the others have ended: what they wrote, and where links are to lead by their part."""


def unpack_zip(
    source: Source, folder: Folder, budget: Budget, meter: Meter, helpers: Helpers | None, team: Team | None
) -> Unpacked:
    """Unpack a zip.

    Args:
        helpers: Has a thread that may help with a large archive.
        team: Lets another process do so instead.

    Raises:
        UnpackError: One of its subclasses.
        Stopped: The caller asked to stop.
        OSError: The archive can't be read or the folder not be written.
    """
    spans = _plan(source, budget)
    work = _Work(source, folder, meter, spans)
    if team is None or not work.is_large:
        work.run(helpers)
    else:
        for path in _folders(spans):
            folder.make(path)
        work.run_in(team)
        helped, targets = team.join()
        work.members.update((member.path, member) for member in helped)
        work.targets.update(targets)
    links = Links(source.name, budget, meter)
    for span in spans:
        if span.entry.is_link:
            links.add(span.path, work.targets[span.path])
    made, copies = links.make(folder)
    members = (work.members[span.path] for span in spans if span.path in work.members)
    return Unpacked((*members, *copies), tuple(made), content_checked=True)


def help_unpack_zip(
    source: Source, folder: Folder, budget: Budget, meter: Meter, team: Team
) -> tuple[list[Member], dict[str, str]]:
    """Unpack a part of a zip that another process has begun with; what was written, and where links are to lead.

    Raises:
        UnpackError: One of its subclasses.
        Stopped: The caller asked to stop.
        OSError: The archive can't be read or the folder not be written.
    """
    spans = _plan(source, budget)
    folder.know(_folders(spans))
    work = _Work(source, folder, meter, spans)
    work.run_in(team)
    return list(work.members.values()), work.targets


class _Work:
    """An archive's members, of which several threads take what is next.

    Attributes:
        members: The files that were written, by their paths.
        targets: Where the links are to lead, by their paths.
    """

    def __init__(self, source: Source, folder: Folder, meter: Meter, spans: list[Span]) -> None:
        self._source = source
        self._folder = folder
        self._meter = meter
        self._batches = list(_batches(spans))
        self._is_coarse = source.size >= _WORTH_A_THREAD * len(spans)
        self._taking = threading.Lock()
        self.members: dict[str, Member] = {}
        self.targets: dict[str, str] = {}

    def run(self, helpers: Helpers | None) -> None:
        """Unpack everything, with the help of another thread once all of a large archive is here."""
        if not self._is_coarse:
            helpers = None
        helping: list[Future[None]] = []
        try:
            reader = Reader(self._source, self._meter)
            while self._batches:
                if helpers is not None and not helping and self.is_large and self._source.is_whole:
                    future = helpers.submit(self._help)
                    helping += [future] if future is not None else []
                self._unpack_next(reader)
        finally:
            self._end()
            failures = [future.exception() for future in helping if not future.cancel()]
        for failure in failures:
            if failure is not None:
                raise failure

    def run_in(self, team: Team) -> None:
        """Unpack what the team leaves to us."""
        batches = self._batches
        reader = Reader(self._source, self._meter)
        while (ours := team.claim(len(batches), self._folder.withheld)) is not None:
            for batch in batches[slice(*ours)]:
                self._meter.check()
                self._unpack_batch(reader, batch)

    @property
    def is_large(self) -> bool:
        """Whether it is worth that another one helps."""
        return len(self._batches) >= WORTH_HELP

    def _help(self) -> None:
        try:
            reader = Reader(self._source, self._meter)
            while self._batches:
                self._unpack_next(reader)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Leave nothing to be taken: where something is wrong, nobody needs the rest."""
        with self._taking:  # another thread may just be looking for what is next
            self._batches.clear()

    def _unpack_next(self, reader: Reader) -> None:
        batch = self._take()
        if batch is None:
            self._meter.check()
        else:
            self._unpack_batch(reader, batch)

    def _unpack_batch(self, reader: Reader, batch: list[Span]) -> None:
        reader.until = batch[-1].end
        for span in batch:
            self._unpack(reader, span)
        reader.tell()

    def _take(self) -> list[Span] | None:
        """The first members that can be read now; None where it was waited for some in vain, or there are no more."""
        with self._taking:
            for start, end in self._source.here:
                number = bisect.bisect_left(self._batches, start, key=_start)
                if number < len(self._batches) and _needed(self._batches[number])[1] <= end:
                    return self._batches.pop(number)
            first = self._batches[0] if self._batches else None
        if first is not None:
            self._source.wait(*_needed(first))
        return None

    def _unpack(self, reader: Reader, span: Span) -> None:
        entry = span.entry
        pieces = reader.content(span)
        if entry.is_folder:
            _check_crc(self._source, entry, deflate.crc32(b"".join(pieces)))
            self._folder.make(span.path)
        elif entry.is_link:
            self.targets[span.path] = _read_target(self._source, entry, pieces)
        else:
            member = self._folder.write(span.path, pieces, executable=bool(entry.mode & 0o111))
            _check_crc(self._source, entry, member.crc32)
            self.members[span.path] = member


def _folders(spans: list[Span]) -> list[str]:
    """Every folder that a member is or lies in, each after those that it lies in itself."""
    found: dict[str, None] = {}
    for span in spans:
        path = span.path if span.entry.is_folder else span.path.rpartition("/")[0]
        missing = []
        while path and path not in found:
            missing.append(path)
            path = path.rpartition("/")[0]
        found.update(dict.fromkeys(reversed(missing)))
    return list(found)


def _start(batch: list[Span]) -> int:
    return batch[0].entry.offset


def _needed(batch: list[Span]) -> tuple[int, int]:
    """What has to be here before the work on a batch begins: of a large member, which is streamed, the first MiB."""
    start, end = batch[0].entry.offset, batch[-1].end
    return start, end if end - start <= AT_ONCE else start + MIB


def _batches(spans: list[Span]) -> Iterator[list[Span]]:
    """Members that lie one after the other, about a MiB of the archive at a time."""
    batch: list[Span] = []
    for span in spans:
        if batch and span.end - batch[0].entry.offset > MIB:
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def _plan(source: Source, budget: Budget) -> list[Span]:
    """Every member with its place, all that the directory alone can tell checked."""
    entries, directory = read_directory(source, budget)
    names = Names(source.name, budget.limits)
    starts = [*(entry.offset for entry in entries), directory]
    if starts[0]:
        raise errors.HiddenData(source.name, f"has {starts[0]:,} bytes before its first member")
    spans = []
    for entry, end in zip(entries, starts[1:], strict=True):
        path = (names.add_folder if entry.is_folder else names.add_file)(entry.name)
        budget.count_bytes(entry.size)
        if entry.is_link and entry.size > _LONGEST_TARGET:
            raise errors.BrokenLink(source.name, f"is a link with a target of {entry.size:,} bytes", entry.name)
        if entry.offset + HEADER.size + len(entry.raw_name) + entry.packed_size > end:
            raise errors.OverlappingMembers(source.name, "shares bytes with the next member", entry.name)
        spans.append(Span(entry, path, end))
    return spans


def _read_target(source: Source, entry: Entry, pieces: Iterable[bytes | memoryview]) -> str:
    target = b"".join(pieces)
    _check_crc(source, entry, deflate.crc32(target))
    try:
        return target.decode()
    except UnicodeDecodeError:
        raise errors.BrokenLink(source.name, "is a link with a target that is not UTF-8", entry.name) from None


def _check_crc(source: Source, entry: Entry, crc: int) -> None:
    if crc != entry.crc32:
        problem = f"is damaged: its CRC-32 is {crc:08x} and should be {entry.crc32:08x}"
        raise errors.CrcMismatch(source.name, problem, entry.name)
