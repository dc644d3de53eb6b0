"""The part: an archive that is still arriving, with a sidecar that lets another run, or another process, go on with it.

The sidecar never says more than what was written. What it says was there before this run is hashed from disk before it
is trusted; everything else is hashed as it is written, as long as it arrives in order.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

import msgspec

from ayon_async import fs
from ayon_async.checksum import Checksum, Hasher
from ayon_async.disk_error import explain
from ayon_async.errors import StoreError
from ayon_async.transfer.arrival import Arrival
from ayon_async.transfer.ranges import Ranges

_READ = 1 << 20
_READS = 4
"""Times `_READ` that one write may hash of what came out of order, so that it keeps up but no write takes long."""


class Validator(msgspec.Struct, frozen=True):
    """What tells one state of a file at a URL from another (RFC 9110, 8.8).

    Attributes:
        url: The URL that gave it.
        etag: Strong entity tag, or None: a weak one can't be used for ranges.
        modified: ``Last-Modified``, or None.
    """

    url: str
    etag: str | None = None
    modified: str | None = None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str]) -> Validator:
        """What an answer's headers say."""
        etag, modified = _readable(headers.get("ETag")), _readable(headers.get("Last-Modified"))
        return cls(url, None if etag is None or etag.startswith("W/") else etag, modified)

    @classmethod
    def of_file(cls, path: Path, state: os.stat_result) -> Validator:
        """What the file system says of a file."""
        tag = f'"{state.st_mtime_ns:x}-{state.st_size:x}"'
        return cls(str(path), tag, formatdate(state.st_mtime, usegmt=True))

    @property
    def if_range(self) -> str | None:
        """The value for ``If-Range``, or None where there is nothing to compare."""
        return self.etag or self.modified

    def contradicts(self, other: Validator) -> bool:
        """Whether the two can't be of the same state; what either does not say is no contradiction."""
        if self.etag is not None and other.etag is not None:
            return self.etag != other.etag
        return self.modified is not None and other.modified is not None and self.modified != other.modified


def _readable(value: str | None) -> str | None:
    """A header's value, or None where it holds bytes that are no text: they can neither be kept nor sent back."""
    return value if value is not None and value.isascii() else None


class _Sidecar(msgspec.Struct, frozen=True):
    size: int
    ranges: list[tuple[int, int]]
    validator: Validator
    item: str | None = None  # the name of its folder


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_DECODER = msgspec.json.Decoder(_Sidecar)


class Part:
    """One part file, open; what touches the disk is called in threads, one at a time.

    Such methods raise StoreError where the disk fails.

    Args:
        path: Where it lies; private, in a private folder. Only who holds the part's lease opens it.
        algorithms: By which the archive's checksum is attested, if it is.
        item: Name of the folder of the item that it is collected for, by which it is found once that is in its place.

    Attributes:
        done: What is on disk.
        size: Of the whole archive, once known.
        validator: Of the state that the bytes belong to, once known.
        resumed: Whether some of it was there before this run.
        is_saved: Whether another run could go on with it.
        in_memory: Whether nothing of it is on disk.
    """

    in_memory = False

    def __init__(self, path: Path, algorithms: Set[str], item: str | None = None) -> None:
        self.path = path
        self._item = item
        self._algorithms = algorithms
        self._sidecar = path.with_suffix(".json")
        self._lock = threading.Lock()
        with _explained(path):
            self.file = self._open()
        self.done = Ranges()
        self.size: int | None = None
        self.validator: Validator | None = None
        self._hashed = 0
        self._hasher = Hasher(*algorithms)
        self._arrival: Arrival | None = None
        self.is_saved = False
        self._load()
        self.resumed = bool(self.done.spans)

    def _open(self) -> BinaryIO:
        return os.fdopen(fs.open_part(self.path), "r+b", buffering=0)

    def _load(self) -> None:
        try:
            kept = _DECODER.decode(fs.read(self._sidecar))
            done = Ranges.of(kept.ranges)
        except (OSError, ValueError):  # msgspec's errors are ValueErrors
            return
        there = os.fstat(self.file.fileno()).st_size
        if kept.size >= 0 and (not done.spans or done.spans[-1][1] <= min(there, kept.size)):
            self.done, self.size, self.validator = done, kept.size, kept.validator
            self.is_saved = True

    @property
    def complete(self) -> bool:
        """Whether every byte is on disk."""
        return self.size is not None and self.done.total == self.size

    def reader(self) -> Arrival:
        """For a reader that begins before all is here; the size has to be known. There is one at a time."""
        assert self.size is not None
        with _explained(self.path):
            # The very file that is hashed, whatever the name means by now. Windows needs a position of its own for it,
            # and lets nobody exchange a file that is open.
            fd = fs.open_to_read(self.path) if sys.platform == "win32" else os.dup(self.file.fileno())
            file = os.fdopen(fd, "rb", buffering=0)
        self._arrival = Arrival(file, self.size)
        self._arrival.put(self.done)
        return self._arrival

    def reset(self) -> None:
        """Begin anew with nothing."""
        self.done, self.size, self.validator, self.resumed = Ranges(), None, None, False
        self.end_reader()
        self._hashed, self._hasher, self.is_saved = 0, Hasher(*self._algorithms), False
        with _explained(self.path):
            self._empty()

    def _empty(self) -> None:
        fs.remove(self._sidecar)
        self.file.truncate(0)

    def write(self, chunks: Iterable[tuple[int, Sequence[bytes | memoryview]]]) -> None:
        """Write chunks, given in pieces, each at its position, and note that they are there; hash what is next."""
        for start, pieces in sorted(chunks, key=lambda chunk: chunk[0]):
            for piece in pieces:
                end = start + len(piece)
                with _explained(self.path):
                    self._put(piece, start)
                self.done = self.done.add(start, end)
                if start == self._hashed:
                    self._hasher.update(piece)
                    self._hashed = end
                start = end
        if self._arrival is not None:
            self._arrival.put(self.done)  # first: who reads would wait for ever for bytes of which no sidecar tells
        if self.is_saved or not self.complete:  # what came at once is not worth a sidecar: see `save`
            self.save()
        for _ in range(_READS):
            if not self.catch_up():
                break

    def _put(self, piece: bytes | memoryview, position: int) -> None:
        fs.write_at(self.file.fileno(), piece, position, self._lock)

    def _get(self, count: int, position: int) -> bytes:
        return fs.read_at(self.file.fileno(), count, position)

    def save(self) -> None:
        """Bring the sidecar up to date, where there is anything that another run could go on with.

        Writing does it, but for an archive that came whole in one go: who is killed before it is in its place loses no
        more of it than of a larger one. Who gives it up otherwise saves it.
        """
        if self.size is None or self.validator is None or not self.done.spans:
            return
        content = _Sidecar(self.size, list(self.done.spans), self.validator, self._item)
        with _explained(self.path):
            fs.write_atomic(self._sidecar, msgspec.json.encode(content), 0o600, flushed=False)
        self.is_saved = True

    @property
    def is_behind(self) -> bool:
        """Whether something on disk is next in order and was not hashed."""
        return self._hashed < self.done.front

    def catch_up(self) -> bool:
        """Hash up to 1 MiB that is on disk and next in order; False when there is no such byte."""
        count = min(self.done.front - self._hashed, _READ)
        if count <= 0:
            return False
        with _explained(self.path):
            data = self._get(count, self._hashed)
        if len(data) < count:
            raise StoreError(f"The part {self.path} became shorter while it was read.", "Sync again.")
        self._hasher.update(data)
        self._hashed += count
        return True

    def checksum(self, algorithm: str = "sha256") -> Checksum:
        """The digest of the whole, once it is complete and caught up."""
        return self._hasher.checksum(algorithm)

    def end_reader(self) -> None:
        """Tell the reader that it read in vain."""
        if self._arrival is not None:
            self._arrival.end()
            self._arrival = None

    def close(self) -> None:
        """Close the file; the part stays."""
        self.end_reader()
        self.file.close()


class Outgrown(StoreError):
    """An archive that was said to be small is not."""


class SmallPart(Part):
    """A part that is only in memory: for an archive that is here in a moment, files and leases cost more than it does.

    Who is killed loses it, which is less than may be lost of a large one that was not written yet; who gives it up
    copies it to one on disk. What `Part` says of the disk is here said of memory. Its methods raise `Outgrown` where it
    becomes large.
    """

    MOST = 64 << 10
    """Bytes that it takes."""
    in_memory = True

    def _open(self) -> BinaryIO:
        return io.BytesIO()

    def _load(self) -> None:
        """There is nothing from before."""

    def _empty(self) -> None:
        self.file.seek(0)
        self.file.truncate()

    def _put(self, piece: bytes | memoryview, position: int) -> None:
        if position + len(piece) > self.MOST:
            raise Outgrown(f"What comes for {self.path} is larger than it should be.", "Sync again.")
        self.file.seek(position)
        self.file.write(piece)

    def _get(self, count: int, position: int) -> bytes:
        self.file.seek(position)
        return self.file.read(count)

    def save(self) -> None:
        """Nothing of it stays, see `copy_to`."""

    def copy_to(self, part: Part) -> None:
        """Leave what is here in an empty part on disk, if another run could go on with it."""
        part.size, part.validator = self.size, self.validator
        part.write((start, [self._get(end - start, start)]) for start, end in self.done.spans)
        part.save()


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def remove_part(path: Path) -> None:
    """Remove a part with its sidecar. Sidecars that were being written when a process was killed are swept later.

    Raises:
        StoreError: They can't be removed.
    """
    with _explained(path):
        fs.remove(path.with_suffix(".json"))
        fs.remove(path)


def detach_part(path: Path) -> None:
    """Give a part a file of its own: a former writer may come back and write on into the one that it has open.

    Where it can't be copied it is gone.

    Raises:
        StoreError: It can't even be removed.
    """
    temporary = fs.temporary_name(path)
    try:
        source = fs.open_to_read(path)
        try:
            fd = fs.open_new(temporary, 0o600)
            try:
                fs.copy(source, fd)
            finally:
                os.close(fd)
        finally:
            os.close(source)
        fs.replace(temporary, path)
    except OSError:
        with _explained(path):
            fs.remove(temporary)
        remove_part(path)
