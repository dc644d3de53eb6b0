"""The lane: one thread for short work that computes, several for such that waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ayon_async.threads import Lane


def used(lane: Lane, work: Callable[[], object], count: int = 60) -> int:
    """How many threads did so many pieces of work."""

    def piece() -> int:
        work()
        return threading.get_ident()

    return len({future.result() for future in [lane.submit(piece) for _ in range(count)]})


def test_what_computes_stays_in_one_thread() -> None:
    with Lane(6, "lane") as lane:
        assert used(lane, lambda: sum(range(30_000))) == 1


def test_what_waits_gets_more_threads() -> None:
    with Lane(6, "lane") as lane:
        assert used(lane, lambda: time.sleep(0.01)) == 6
        assert used(lane, lambda: time.sleep(0.01)) == 6  # and no more


def test_what_was_given_first_begins_first() -> None:
    begun: list[int] = []
    with Lane(1, "lane") as lane:
        for number in range(100):
            lane.submit(begun.append, number)
    assert begun == list(range(100))


def test_failures_are_told_and_nothing_else_suffers() -> None:
    with Lane(1, "lane") as lane:
        with pytest.raises(ZeroDivisionError):
            lane.submit(lambda: 1 // 0).result()
        assert lane.submit(lambda: 7).result() == 7


def test_what_is_cancelled_before_it_begins_is_not_done() -> None:
    go = threading.Event()
    done: list[int] = []
    with Lane(1, "lane") as lane:
        first = lane.submit(go.wait)
        second = lane.submit(done.append, 1)
        assert second.cancel()
        go.set()
        assert first.result()
    assert done == []


def test_each_thread_is_prepared_and_none_stays() -> None:
    prepared: list[str] = []
    with Lane(6, "lane", lambda: prepared.append(threading.current_thread().name)) as lane:
        threads = used(lane, lambda: time.sleep(0.01))
    assert sorted(prepared) == sorted(f"lane_{number}" for number in range(threads))
    assert not {thread.name for thread in threading.enumerate()} & set(prepared)
    with pytest.raises(RuntimeError):
        lane.submit(lambda: None)


def test_where_the_system_has_no_more_threads_those_that_there_are_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, [0]

    def refuse(thread: threading.Thread) -> None:
        started[0] += 1
        if started[0] > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Lane(6, "lane") as lane:
        assert used(lane, lambda: time.sleep(0.01)) == 1
    assert started[0] > 1
    done: list[int] = []
    with Lane(6, "lane") as lane:
        with pytest.raises(RuntimeError, match="new thread"):
            lane.submit(done.append, 1)
        monkeypatch.undo()
        lane.submit(done.append, 2)
    assert done == [2]
