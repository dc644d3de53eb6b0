"""Work in threads that a cancelled task does not leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(
    work: Callable[..., T], *args: object, executor: Executor | None = None, stop: threading.Event | None = None
) -> T:
    """Run the work in a thread; when this task is cancelled, wait for the thread before going on.

    Args:
        args: Of the work.
        executor: The loop's own one where None.
        stop: Set on cancellation, for work that looks at it.
    """
    return await ended(asyncio.get_running_loop().run_in_executor(executor, work, *args), stop)


async def ended(future: asyncio.Future[T], stop: threading.Event | None = None) -> T:
    """The result of a thread's work; when this task is cancelled, wait for the thread before going on.

    What the thread writes is then still: its files can be removed or read.
    """
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


async def abandonable(work: Callable[[], T], seconds: float) -> T:
    """Run the work in a thread of its own and give up on it after so many seconds.

    For what may hang in the operating system for ever, as a file on a dead mount does: no pool waits for the thread,
    and it does not keep the program from ending.

    Raises:
        TimeoutError: It took longer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        if not future.done():
            set_outcome()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # handed on to who waits, whatever it is
            outcome = functools.partial(future.set_exception, error)
        else:
            outcome = functools.partial(future.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop was closed long ago
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=run, daemon=True, name="abandonable").start()
    async with asyncio.timeout(seconds):
        return await future
