"""Work in threads that a cancelled task does not leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(
    work: Callable[[], T], *, executor: Executor | None = None, stop: threading.Event | None = None
) -> T:
    """Run the work in a thread; when this task is cancelled, wait for the thread before going on.

    What the thread writes is then still: its files can be removed or read.

    Args:
        executor: The loop's own one where None.
        stop: Set on cancellation, for work that looks at it.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if stop is not None:
            stop.set()
        while not future.done():
            # A second Ctrl-C does not make the thread end sooner.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # asked for, so that asyncio does not call it forgotten
        raise
