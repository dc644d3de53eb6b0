"""Unpack a large archive while it still arrives, so that little is left to do when its last byte is here.

A studio's dependency package is most of a bundle's bytes: without this its unpacking begins when all else is done. What
is unpacked so is worth nothing until the whole archive is verified: whatever goes wrong before, it is thrown away, and
the archive is unpacked anew once it is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Self

from ayon_async.errors import AyonAsyncError
from ayon_async.threads import ended
from ayon_async.transfer import Arrival
from ayon_async.unpack import Stopped, Unpacked


class Ahead:
    """The unpacking of one archive that has not all arrived; a context manager, used in the loop's thread.

    Args:
        work: Unpacks; called in a thread with what is to be read, and what is set when it shall end.
        discard: Removes what was unpacked.
        thread: Where.
    """

    def __init__(
        self,
        work: Callable[[Arrival, threading.Event], Unpacked],
        discard: Callable[[], Awaitable[None]],
        thread: Executor,
    ) -> None:
        self._work = work
        self._discard = discard
        self._thread = thread
        self._stop = threading.Event()
        self._arrival: Arrival | None = None
        self._future: Future[Unpacked] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    def begin(self, arrival: Arrival) -> None:
        """Here is what can be read so far."""
        self._arrival = arrival
        self._future = self._thread.submit(self._work, arrival, self._stop)

    async def take(self) -> Unpacked | None:
        """What was unpacked, now that the archive is here and verified; None where that is still to be done."""
        if (
            self._future is None
            or (self._arrival is not None and self._arrival.has_ended)  # it read what was thrown away since
            or self._future.cancel()  # the thread is busy with another archive
        ):
            await self._end()
            return None
        try:
            unpacked = await ended(asyncio.wrap_future(self._future), self._stop)
        except (AyonAsyncError, Stopped):  # unpacking it anew says it again
            await self._end()
            return None
        self._future = None
        self._close()
        return unpacked

    async def _end(self) -> None:
        """End the work; nothing of it stays."""
        self._stop.set()
        if self._arrival is not None:
            self._arrival.end()
        future, self._future = self._future, None
        try:
            if future is not None and not future.cancel():
                try:
                    with contextlib.suppress(AyonAsyncError, Stopped):
                        await ended(asyncio.wrap_future(future))
                finally:
                    await self._discard()
        finally:
            self._close()

    def _close(self) -> None:
        if self._arrival is not None:
            self._arrival.file.close()
            self._arrival = None
