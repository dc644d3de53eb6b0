"""Background work yields to the artist: patient threads, and one archive unpacked at once unless somebody looks on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ayon_async import Phase, Snapshot, unpacking
from ayon_async.devserver import DevServer, client_zip
from ayon_async.effort import Effort
from ayon_async.transfer.pacing import Throttle
from ayon_async.unpack import unpack
from cli_machine import Machine
from studios import studio, synced
from watching import until, watching

LABELS = [f"addon{number} 1.0.0" for number in range(6)]


class Recorded:
    """How many archives were unpacked at once at the most, and how patient the threads were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        self.nice: Counter[int] = Counter()
        self._now = 0
        self._lock = threading.Lock()
        monkeypatch.setattr(unpacking, "unpack", self._record)

    def _record(self, *arguments: Any, **how: Any) -> Any:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            if sys.platform == "linux":
                self.nice[os.getpriority(os.PRIO_PROCESS, threading.get_native_id())] += 1
        time.sleep(0.03)  # that two can meet
        try:
            return unpack(*arguments, **how)
        finally:
            with self._lock:
                self._now -= 1


@pytest.mark.parametrize(("watched", "most"), [(False, 1), (True, 2)])
async def test_how_many_archives_are_unpacked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool, most: int
) -> None:
    recorded = Recorded(monkeypatch)
    before = os.getpriority(os.PRIO_PROCESS, 0) if sys.platform == "linux" else 0
    large = studio({label: client_zip("large", label, 100_000) for label in LABELS})  # small ones share a thread
    async with DevServer(large) as server, watching(Machine(tmp_path, server.url)) as seen:
        seen.watch.watched = watched
        await seen.idle()
    assert recorded.most == most
    if sys.platform == "linux":
        assert recorded.nice == {max(before, 10): len(LABELS)}
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert own == before, "the loop's own thread is as it was"


async def test_who_waits_for_a_turn_does_not_say_that_it_is_unpacked(tmp_path: Path) -> None:
    effort, seen = Effort(unpacking=1), list[Snapshot]()
    async with DevServer(studio({label: client_zip("large", label, 100_000) for label in LABELS})) as dev:
        async with effort.unpacking_turn():
            run = asyncio.create_task(synced(dev, tmp_path, effort=effort, progress=seen.append))
            await until(lambda: bool(seen) and seen[-1].bytes_done == seen[-1].size)
            await until(lambda: {item.phase for item in seen[-1].items} == {Phase.QUEUED})
        assert (await run).ok


async def test_whoever_waits_is_let_in_when_more_may_unpack() -> None:
    effort, order = Effort(unpacking=1), list[str]()
    leave = asyncio.Event()

    async def work(name: str) -> None:
        async with effort.unpacking_turn():
            order.append(name)
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(work(name))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["a"]
        effort.unpacking = 2
        await until(lambda: len(order) > 1)
        assert order == ["a", "b"]
        effort.unpacking = 1
        leave.set()
    assert order == ["a", "b", "c"]


async def test_a_turn_that_nobody_takes_any_more_is_free() -> None:
    effort, leave = Effort(unpacking=1), asyncio.Event()

    async def work() -> None:
        async with effort.unpacking_turn():
            await leave.wait()

    first, second = asyncio.create_task(work()), asyncio.create_task(work())
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    leave.set()
    async with asyncio.timeout(10):
        await work()


def test_nobody_waits_for_what_was_taken_under_another_limit() -> None:
    throttle = Throttle(1_000)
    assert throttle.took(50_000) > 40
    throttle.limit(1_000_000)
    assert throttle.took(50_000) < 0.1
    throttle.limit(None)
    assert throttle.took(50_000) == 0.0


def test_a_new_rate_is_told_while_somebody_listens() -> None:
    effort, told = Effort(), list[float | None]()
    effort.rate = 1.0
    with effort.throttling(told.append):
        effort.rate = 2.0
        effort.rate = None
    effort.rate = 3.0
    assert told == [2.0, None]
    assert effort.rate == 3.0
