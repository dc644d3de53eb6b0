"""Work in threads that a cancelled task does not leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
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


class Lane(Executor):
    """Threads for many short pieces of work on files: one of them, and more only where they wait for the disk.

    What such work costs is mostly the interpreter's: several threads of it would keep one another waiting for the
    interpreter's lock at every call to the operating system, and bring less than one. On a slow disk, or one in the
    network, it is the other way round.

    Args:
        most: Threads at the most.
        name: What they are called.
        prepare: Called first in each of them.
    """

    _WAITS = 3.0
    """How many times as long as it computes the work takes, for each thread that is worth it; waiting for the lock, and
    for a processor, counts too."""
    _SEEN = 0.25
    """Seconds of work by which that is seen: some clocks of what a thread computes have steps of 16 ms."""

    def __init__(self, most: int, name: str, prepare: Callable[[], None] | None = None) -> None:
        self._most = most
        self._name = name
        self._prepare = prepare
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._changing = threading.Lock()
        self._is_open = True
        self._wall, self._worked = 0.0, 0.0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have the work done in one of the threads; what was given first begins first."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # handed on to who waits, whatever it is
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changing:
            if not self._is_open:
                raise RuntimeError("this lane was shut down")
            self._queue.put(run)
            try:
                self._grow()
            except RuntimeError:
                future.cancel()  # whoever asked is told that it is not done, so nobody may do it later
                raise
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads once what was given is done; nothing may be given any more."""
        with self._changing:
            self._is_open = False
            for _ in self._threads:
                self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _grow(self) -> None:
        """Start one more thread where what was seen so far says that it is worth it."""
        waits = self._wall / max(self._worked, 1e-6) / self._WAITS
        worth = 1 if self._wall < self._SEEN else max(1, min(self._most, int(waits)))
        if self._is_open and len(self._threads) < worth and not self._queue.empty():
            thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}")
            try:
                thread.start()
            except RuntimeError:  # the system has no more of them
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)

    def _work(self) -> None:
        if self._prepare is not None:
            self._prepare()
        while (run := self._queue.get()) is not None:
            wall, worked = time.perf_counter(), time.thread_time()
            run()
            wall, worked = time.perf_counter() - wall, time.thread_time() - worked
            with self._changing:
                self._wall, self._worked = self._wall + wall, self._worked + worked
                self._grow()
