"""The archive that is read, and the pace at which that is told and can be stopped."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, Protocol

from ayon_async.unpack import errors

MIB = 1 << 20
_PATIENCE = 0.5  # seconds until a reader that waits looks up


class Arrival(Protocol):
    """What is here of an archive that is still arriving.

    Attributes:
        size: Bytes of the whole archive.
        spans: Where the bytes are that are here, in order, each from its start to before its end.
    """

    size: int

    @property
    def spans(self) -> tuple[tuple[int, int], ...]: ...

    def has(self, start: int, end: int) -> bool:
        """Whether these bytes are here."""

    def wait(self, start: int, end: int, seconds: float) -> bool:
        """Wait until these bytes are here, or so many seconds have passed; False once nothing more comes."""


class Stop(Protocol):
    """What ends the work; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether the work shall end."""


class Source:
    """An open archive, read by position, so that several threads can read it at once.

    Args:
        name: What the caller calls the archive.
        archive: The open file.
        arrival: What is in it so far; None where it is whole.

    Attributes:
        name: As given.
        size: The archive's length in bytes.
    """

    def __init__(self, name: str, archive: BinaryIO, arrival: Arrival | None = None) -> None:
        self.name = name
        self._archive = archive
        self._arrival = arrival
        self._lock = threading.Lock()
        try:
            self._fd = archive.fileno()
        except io.UnsupportedOperation:  # not a file of the operating system
            self._fd = -1
        if arrival is not None:
            self.size = arrival.size
        else:
            self.size = os.fstat(self._fd).st_size if self._fd >= 0 else archive.seek(0, os.SEEK_END)

    def has(self, start: int, end: int) -> bool:
        """Whether these bytes can be read without waiting."""
        return self._arrival is None or self._arrival.has(start, end)

    @property
    def here(self) -> tuple[tuple[int, int], ...]:
        """Where the bytes are that can be read without waiting."""
        return ((0, self.size),) if self._arrival is None else self._arrival.spans

    @property
    def is_whole(self) -> bool:
        """Whether all of the archive is here."""
        return self.has(0, self.size)

    def wait(self, start: int, end: int) -> None:
        """Wait until these bytes are here, or it is time to look for others.

        Raises:
            Stopped: They won't come.
        """
        if self._arrival is not None and not self._arrival.wait(start, end, _PATIENCE):
            raise errors.Stopped

    def read(self, offset: int, size: int) -> bytes:
        """Exactly size bytes from offset.

        Raises:
            TruncatedArchive: There are fewer.
            OSError: They can't be read.
        """
        data = self.read_some(offset, size)
        if len(data) < size:
            raise errors.TruncatedArchive(self.name, f"ends at byte {offset + len(data):,}, in the middle")
        return data

    def read_some(self, offset: int, size: int) -> bytes:
        """Up to size bytes from offset, fewer only at the end of the archive."""
        end = min(offset + size, self.size)
        while not self.has(offset, end):
            self.wait(offset, end)
        data = self._read_once(offset, size)
        while len(data) < size and (more := self._read_once(offset + len(data), size - len(data))):
            data += more
        return data

    def _read_once(self, offset: int, size: int) -> bytes:
        if sys.platform != "win32" and self._fd >= 0:
            return os.pread(self._fd, size, offset)
        with self._lock:
            self._archive.seek(offset)
            return self._archive.read(size)


class Meter:
    """Tells how far the archive is read, about once a MiB, and ends the work when asked to.

    Args:
        size: The archive's length in bytes.
        on_progress: Called with the share that is read, from 0 to 1.
        stop: Looked at when the work may have to end.
    """

    def __init__(self, size: int, on_progress: Callable[[float], None] | None, stop: Stop | None) -> None:
        self._size = size
        self._on_progress = on_progress
        self._stop = stop
        self._next = MIB
        self._read = 0
        self._reading = threading.Lock()

    def read(self, count: int) -> None:
        """Note that so many bytes more are read, wherever they lie; several threads may.

        Raises:
            Stopped: The caller asked to stop.
        """
        with self._reading:
            self._read += count
            self.at(self._read)

    def at(self, position: int) -> None:
        """Note that the archive is read up to a position.

        Raises:
            Stopped: The caller asked to stop.
        """
        if position >= self._next:
            self._next = position + MIB
            if self._on_progress is not None:
                self._on_progress(position / self._size)
        self.check()

    def check(self) -> None:
        """End the work if the caller asked to.

        Raises:
            Stopped: The caller asked to stop.
        """
        if self._stop is not None and self._stop.is_set():
            raise errors.Stopped

    def finish(self) -> None:
        """Tell that all is done."""
        if self._on_progress is not None:
            self._on_progress(1.0)
