"""A sync in a process of its own, which can be killed, and whose memory and time are its own."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty
from typing import Any

from ayon_async import AyonServer, Store, sync
from studios import KEY

SAMPLE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run in a process of its own came to.

    Attributes:
        states: Each item's state by what people call it.
        seconds: Wall time of the sync.
        cpu: Seconds of processor time, all threads.
        private: Bytes of private memory (`RssAnon`) at their most; 0 where the system does not tell.
        longest_step: Seconds of the loop thread's own processor time in its longest step.
    """

    states: dict[str, str]
    seconds: float
    cpu: float
    private: int
    longest_step: float


def _context() -> BaseContext:
    """Processes that start at once, from one that has imported everything; Windows starts each from nothing."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextlib.contextmanager
def started(url: str, folder: Path, **options: Any) -> Iterator[tuple[BaseProcess, Any]]:
    """A process that syncs, and the queue that it puts a `Ran` into; killed in the end where it still runs."""
    context: Any = _context()
    results = context.Queue()
    process = context.Process(target=_main, args=(url, folder, options, results), daemon=True)
    process.start()
    try:
        yield process, results
    finally:
        process.kill()
        process.join()


async def ran(url: str, folder: Path, **options: Any) -> Ran:
    """One sync in a process of its own, to its end."""
    with started(url, folder, **options) as (process, results):
        while True:
            try:
                result: Ran = await asyncio.to_thread(results.get, timeout=0.2)
            except Empty:
                assert process.is_alive(), "the process ended without a result"
            else:
                return result


def _main(url: str, folder: Path, options: dict[str, Any], results: Any) -> None:
    most = [_private()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            most[0] = max(most[0], _private())

    watching = threading.Thread(target=watch)
    watching.start()
    wall, cpu = time.monotonic(), time.process_time()
    states, longest = asyncio.run(_sync(url, folder, options))
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    done.set()
    watching.join()
    results.put(Ran(states, wall, cpu, most[0], longest))


async def _sync(url: str, folder: Path, options: dict[str, Any]) -> tuple[dict[str, str], float]:
    async with AyonServer(url, api_key=KEY) as server:
        with longest_step() as longest:
            report = await sync(server, Store.at(folder), **options)
    return {item.label: item.state for item in report.items}, longest[0]


@contextlib.contextmanager
def longest_step() -> Iterator[list[float]]:
    """Measure every step of this thread's event loop; the list has the longest one's processor time in seconds."""
    longest = [0.0]
    plain = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        try:
            plain(handle)
        finally:
            longest[0] = max(longest[0], time.thread_time() - before)

    asyncio.Handle._run = timed  # type: ignore[assignment, method-assign]
    try:
        yield longest
    finally:
        asyncio.Handle._run = plain  # type: ignore[method-assign]


def _private() -> int:
    try:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))
    except OSError:
        return 0
