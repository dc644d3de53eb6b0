"""Short work on many values: what waits at the same time is done in one hop to a thread.

A hop there and back costs more than such work does, and the work itself may be had for less by the dozen.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from ayon_async.threads import ended

V = TypeVar("V")
R = TypeVar("R")


class Batches(Generic[V, R]):
    """Work that is done on several values in one go; made and used in the loop's thread.

    Args:
        work: Gets values and returns what became of each, in their order: a result, or the error to raise. Called in a
            thread.
        threads: Where. They end before the loop does.
        most: Values in one go: the first one's result waits for the last one's.
    """

    def __init__(
        self, work: Callable[[Sequence[V]], Sequence[R | BaseException]], threads: Executor, most: int
    ) -> None:
        self._work = work
        self._threads = threads
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._changing = threading.Lock()
        self._waiting: deque[tuple[V, asyncio.Future[R]]] = deque()
        self._runs = 0  # that were given to the threads and have not begun: at least as many as take all that waits

    async def do(self, value: V, stop: threading.Event | None = None) -> R:
        """Have the work done on this value too; when this task is cancelled, wait for the thread before going on.

        Args:
            stop: Set on cancellation, for work that looks at it.

        Raises:
            BaseException: What the work says of the value.
            RuntimeError: The system has no thread for it.
        """
        one = value, self._loop.create_future()
        with self._changing:
            self._waiting.append(one)
            is_due = len(self._waiting) > self._runs * self._most
            self._runs += is_due
        if is_due:
            try:
                self._threads.submit(self._run)
            except RuntimeError:
                with self._changing:
                    self._runs -= 1
                    if one in self._waiting:  # else it is being done already, in a thread that there was
                        self._waiting.remove(one)
                        raise
        return await ended(one[1], stop)

    def _run(self) -> None:
        with self._changing:
            self._runs -= 1
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        if not batch:  # its `submit` failed, but the threads had taken it up all the same
            return
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = self._work([value for value, _ in batch])
            if len(outcomes) != len(batch):
                raise AssertionError("not every value has an outcome")
        except BaseException as error:  # a fault of ours: handed on to all that wait for it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(_deliver, [future for _, future in batch], outcomes)


def call_each(works: Sequence[Callable[[], R]]) -> list[R | BaseException]:
    """Call them one after another; returns what each returned or raised."""
    outcomes: list[R | BaseException] = []
    for work in works:
        try:
            outcomes.append(work())
        except BaseException as error:  # handed on to who waits, whatever it is
            outcomes.append(error)
    return outcomes


def _deliver(futures: Sequence[asyncio.Future[R]], outcomes: Sequence[R | BaseException]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if isinstance(outcome, StopIteration):  # which no future takes
            future.set_exception(RuntimeError("the work ended too early"))
        elif isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
