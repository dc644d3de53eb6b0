"""What a watcher sees of the transfers: every item in one phase, bytes that only go back where that is said."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from unittest import mock

import pytest

from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import Busy, Corrupt, Drop, IgnoresRange, Slow, Status, TooLong
from ayon_async.item import Item
from ayon_async.progress import ENDED, ItemProgress, Ledger, Phase, Snapshot
from ayon_async.threads import in_thread
from ayon_async.unpacking import teller
from transfer_bench import MAYA, archive, assert_right, break_with, offering, path_of, run, soon

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

SIZE = 600_000
CONTENT = archive("maya", SIZE)
ORDER = list(Phase)


class Watcher:
    """Remembers all that it is told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, Snapshot]] = []

    def __call__(self, snapshot: Snapshot) -> None:
        self.told.append((time.monotonic(), snapshot))

    def of(self, name: str) -> list[ItemProgress]:
        """All that was told of one item."""
        return [item for _, snapshot in self.told for item in snapshot.items if item.item.name == name]

    @property
    def last(self) -> Snapshot:
        return self.told[-1][1]


def check(watcher: Watcher) -> None:
    """What holds for every run."""
    assert watcher.last.finished
    assert [snapshot.finished for _, snapshot in watcher.told[:-1]] == [False] * (len(watcher.told) - 1)
    assert {item.phase for item in watcher.last.items} <= ENDED
    for name in {item.item.name for item in watcher.last.items}:
        for before, after in pairwise(watcher.of(name)):
            if after.bytes_done < before.bytes_done:
                assert after.reason
                assert after.reason != before.reason
            assert before.phase not in ENDED or after == before
        for item in watcher.of(name):
            assert item.size is None or 0 <= item.bytes_done <= item.size
            assert 0 <= item.unpacked <= 1
            assert item.seconds_left is None or item.seconds_left >= 0
    for _, snapshot in watcher.told:
        assert snapshot.size is None or snapshot.bytes_done <= snapshot.size
    moments = [moment for moment, _ in watcher.told[:-1]]  # the end is told at once
    for number, moment in enumerate(moments):
        assert sum(moment <= later < moment + 1 for later in moments[number:]) <= 11


async def test_the_phases_of_a_download(tmp_path: Path) -> None:
    watcher = Watcher()
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Slow(SIZE))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    states = watcher.of("maya")
    phases = list(dict.fromkeys(state.phase for state in states))
    assert phases == sorted(phases, key=ORDER.index)
    assert Phase.DOWNLOADING in phases
    downloading = [state for state in states if state.phase is Phase.DOWNLOADING]
    assert len(downloading) >= 5
    assert {state.source for state in downloading} == {dev.url + MAYA}
    assert {state.attempt for state in downloading} == {1}
    assert {state.size for state in downloading} == {SIZE}
    middle = downloading[len(downloading) // 2 :]
    assert all(0.5 * SIZE < state.speed < 1.5 * SIZE for state in middle)
    for state in middle:
        assert state.seconds_left == pytest.approx((SIZE - state.bytes_done) / state.speed)
    assert all(0.5 * SIZE < snapshot.speed < 1.5 * SIZE for _, snapshot in watcher.told[4:8])
    assert states[-1].bytes_done == states[-1].received == SIZE


async def test_who_waits_for_a_connection_is_queued(tmp_path: Path) -> None:
    watcher = Watcher()
    contents = {"maya": archive("maya", 100_000), "nuke": archive("nuke", 90_000)}
    async with DevServer(offering(contents)) as dev:
        dev.faults.add("*", Slow(200_000))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, contents)
    check(watcher)
    while_maya_comes = [
        (maya.phase, nuke.phase)
        for maya, nuke in zip(watcher.of("maya"), watcher.of("nuke"), strict=True)
        if maya.phase is Phase.DOWNLOADING
    ]
    assert len(while_maya_comes) >= 3
    assert {nuke for _, nuke in while_maya_comes} == {Phase.QUEUED}


async def test_a_retry_says_its_reason_and_loses_nothing(tmp_path: Path) -> None:
    watcher = Watcher()
    async with DevServer(offering({"maya": CONTENT})) as dev:
        break_with(dev, Drop(SIZE // 2), Busy(503, retry_after=1))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    waiting = [state for state in watcher.of("maya") if state.attempt > 1 and state.phase is Phase.CONNECTING]
    assert {state.attempt for state in waiting} <= {2, 3}  # the second begins at once, which may be seen
    assert len([state for state in waiting if state.attempt == 3]) >= 5
    assert {state.bytes_done for state in waiting} == {SIZE // 2}
    assert all("answered 503 and wants to be left alone for 1 s" in state.reason for state in waiting)
    assert {state.seconds_left for state in waiting[3:]} == {None}


@pytest.mark.parametrize("attested", [False, True], ids=["unattested", "attested"])
async def test_a_restart_is_declared(tmp_path: Path, attested: bool) -> None:
    watcher = Watcher()
    async with DevServer(offering({"maya": CONTENT}, attested=attested)) as dev:
        break_with(dev, Drop(SIZE // 2))
        dev.faults.add(MAYA, Corrupt(only_resumed=True))
        dev.faults.add(MAYA, Slow(SIZE), attempts=3)
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    again = [state for state in watcher.of("maya") if state.phase is Phase.DOWNLOADING and state.received > SIZE]
    assert again
    assert again[0].bytes_done < SIZE
    assert all(("sha256" if attested else "data.bin") in state.reason for state in again)


async def test_what_comes_beyond_the_end_takes_nothing_back(tmp_path: Path) -> None:
    watcher = Watcher()
    async with DevServer(offering({"maya": CONTENT})) as dev:
        break_with(dev, Drop(SIZE - 10_000), TooLong(200_000))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    assert watcher.last.items[0].received > SIZE
    assert watcher.last.items[0].bytes_done == SIZE


async def test_a_server_that_ignores_ranges_is_a_declared_restart(tmp_path: Path) -> None:
    watcher = Watcher()
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, IgnoresRange())
        dev.faults.add(MAYA, Slow(SIZE))
        break_with(dev, Drop(SIZE // 2))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    falls = [after for before, after in pairwise(watcher.of("maya")) if after.bytes_done < before.bytes_done]
    assert len(falls) == 1
    assert "can't go on in the middle" in falls[0].reason


async def test_what_was_there_counts_from_the_start(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": CONTENT})) as dev:
        break_with(dev, Drop(SIZE // 2))
        await run(dev, tmp_path, retries=0)
        watcher = Watcher()
        dev.faults.clear()
        dev.faults.add(MAYA, Slow(SIZE))
        assert_right(await run(dev, tmp_path, progress=watcher), tmp_path, {"maya": CONTENT})
    check(watcher)
    downloading = [state for state in watcher.of("maya") if state.phase is Phase.DOWNLOADING]
    assert all(state.bytes_done == SIZE // 2 + state.received for state in downloading)
    assert watcher.of("maya")[-1].received == SIZE // 2


async def test_several_connections_are_not_counted_twice(tmp_path: Path) -> None:
    content = archive("maya", 4_000_000)
    watcher = Watcher()
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(1_500_000))
        assert_right(await run(dev, tmp_path, jobs=8, progress=watcher), tmp_path, {"maya": content})
    check(watcher)
    for state in watcher.of("maya"):
        if state.phase is Phase.DOWNLOADING:
            assert state.bytes_done < len(content) or state.received >= len(content)


async def test_of_many_items_no_end_is_dropped(tmp_path: Path) -> None:
    contents = {f"addon{number}": archive(str(number), 10_000) for number in range(60)}
    watcher = Watcher()
    async with DevServer(offering(contents)) as dev:
        for number in range(0, 60, 7):
            dev.faults.add(path_of(f"addon{number}"), Status(404))
        await run(dev, tmp_path, jobs=8, progress=watcher)
    check(watcher)
    failed = {item.item.name for item in watcher.last.items if item.phase is Phase.FAILED}
    assert failed == {f"addon{number}" for number in range(0, 60, 7)}
    assert all("404" in item.reason for item in watcher.last.items if item.phase is Phase.FAILED)
    assert all(item.report is not None for item in watcher.last.items)


async def test_the_loop_is_not_woken_for_every_member(monkeypatch: pytest.MonkeyPatch) -> None:
    item, ledger, loop = Item("addon", "maya", "1.0.0"), Ledger(), asyncio.get_running_loop()
    ledger.begin(None, None, [item])
    entry = ledger[item]
    entry.set(phase=Phase.UNPACKING)
    waking = mock.Mock(wraps=loop.call_soon_threadsafe)
    monkeypatch.setattr(loop, "call_soon_threadsafe", waking)
    tell = teller(entry)

    def unpack() -> None:
        for number in range(1, 1001):
            tell(number / 1000)

    await in_thread(unpack)
    await asyncio.sleep(0)
    assert entry.snapshot().unpacked == 1.0
    assert waking.call_count < 100
