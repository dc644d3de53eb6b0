"""An archive that is still arriving, for a reader in another thread that begins with what is here."""

from __future__ import annotations

import threading
from typing import BinaryIO

from ayon_async.transfer.ranges import Ranges


class Arrival:
    """What is here of an archive; that it is right is known only once the whole is.

    Attributes:
        file: Open for reading, with a position of its own; who got the arrival closes it.
        size: Bytes of the whole archive.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self._here = Ranges()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, here: Ranges) -> None:
        """All these bytes are on disk now."""
        with self._changed:
            self._here = here
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more comes, or what came is not kept: whoever reads has to stop."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def has_ended(self) -> bool:
        """Whether what was read so far is of no use."""
        return self._ended

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Where the bytes are that are here."""
        return self._here.spans

    def has(self, start: int, end: int) -> bool:
        """Whether these bytes are here."""
        return any(first <= start and end <= last for first, last in self._here.spans)

    def wait(self, start: int, end: int, seconds: float) -> bool:
        """Wait until these bytes are here, or so many seconds have passed; False once nothing more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.has(start, end), seconds)
            return not self._ended
