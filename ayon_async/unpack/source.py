"""The archive that is read, and the pace at which that is told and can be stopped."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

from ayon_async.unpack import errors

MIB = 1 << 20


class Source:
    """An open archive, read by position, so that several threads can read it at once.

    Args:
        name: What the caller calls the archive.
        archive: The open file.

    Attributes:
        name: As given.
        size: The archive's length in bytes.
    """

    def __init__(self, name: str, archive: BinaryIO) -> None:
        self.name = name
        self._archive = archive
        self._lock = threading.Lock()
        try:
            self._fd = archive.fileno()
        except io.UnsupportedOperation:  # not a file of the operating system
            self._fd = -1
        self.size = os.fstat(self._fd).st_size if self._fd >= 0 else archive.seek(0, os.SEEK_END)

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
        stop: Set by another thread when the work shall end.
    """

    def __init__(self, size: int, on_progress: Callable[[float], None] | None, stop: threading.Event | None) -> None:
        self._size = size
        self._on_progress = on_progress
        self._stop = stop
        self._next = MIB

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
