"""Batches: what waits at the same time is done in one go, and everybody gets the answer that is theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ayon_async.batches import Batches, call_each


class Slow:
    """Work on numbers that waits for leave to begin; a number below zero is an error."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int | BaseException]:
        assert self.go.wait(30)
        self.batches.append(list(numbers))
        return [ValueError(str(number)) if number < 0 else 10 * number for number in numbers]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
async def batches(slow: Slow, pool: ThreadPoolExecutor) -> AsyncIterator[Batches[int, int]]:
    yield Batches(slow, pool, 4)
    slow.go.set()


async def begun(batches: Batches[int, int], numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batches.do(number)) for number in numbers]
    await asyncio.sleep(0)  # each has given its number
    return tasks


async def test_what_waits_is_done_in_one_go_and_each_gets_its_own(batches: Batches[int, int], slow: Slow) -> None:
    tasks = await begun(batches, range(9))
    slow.go.set()
    assert await asyncio.gather(*tasks) == [10 * number for number in range(9)]
    assert [number for batch in slow.batches for number in batch] == list(range(9))
    assert max(map(len, slow.batches)) == 4
    assert len(slow.batches) <= 4  # the first one may have been taken alone


async def test_an_error_is_only_its_own(batches: Batches[int, int], slow: Slow) -> None:
    slow.go.set()
    results = await asyncio.gather(*await begun(batches, [1, -2, 3]), return_exceptions=True)
    assert [repr(result) for result in results] == ["10", "ValueError('-2')", "30"]


async def test_a_fault_of_the_work_is_told_to_all(pool: ThreadPoolExecutor) -> None:
    def broken(numbers: Sequence[int]) -> list[int | BaseException]:
        raise ZeroDivisionError

    batches = Batches(broken, pool, 4)
    results = await asyncio.gather(batches.do(1), batches.do(2), return_exceptions=True)
    assert [type(result) for result in results] == [ZeroDivisionError, ZeroDivisionError]


async def test_who_is_cancelled_waits_for_the_thread_and_the_others_go_on(
    batches: Batches[int, int], slow: Slow
) -> None:
    stop = threading.Event()
    first = asyncio.create_task(batches.do(1, stop))
    [second] = await begun(batches, [2])
    first.cancel()
    await asyncio.sleep(0.01)
    assert (first.done(), stop.is_set()) == (False, True)
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == 20


async def test_what_no_thread_can_be_had_for_is_not_done_later(
    batches: Batches[int, int], slow: Slow, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    slow.go.set()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "submit", refuse)
        with pytest.raises(RuntimeError, match="start"):
            await batches.do(1)
    assert await batches.do(2) == 20
    assert slow.batches == [[2]]


def test_calls_fail_one_by_one() -> None:
    results = call_each([lambda: 1, lambda: 1 // 0, lambda: 3])
    assert [repr(result) for result in results] == [
        "1",
        "ZeroDivisionError('integer division or modulo by zero')",
        "3",
    ]
