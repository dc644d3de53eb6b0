"""Steps with a flush between: alone or together, nothing goes on before what it stands on is on the device."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from ayon_async import fs
from ayon_async.flushing import Flush, Steps, run, run_together

DISKS = [Path("disk"), Path("share"), Path("other")]


class Log:
    """What was done, in order; each work has two steps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> None:
        self.lines: list[str] = []
        self.broken: set[str] = set()
        self._at_once = at_once
        self._open: dict[int, Path] = {}
        monkeypatch.setattr(fs, "can_flush_file_systems", lambda: True)
        monkeypatch.setattr(fs, "open_folder", self._open_folder)
        monkeypatch.setattr(fs, "flush_file_system", self._flush_file_system)

    def _open_folder(self, folder: Path) -> int:
        fd = os.open(os.devnull, os.O_RDONLY)
        assert not self.lines, "it is not told of what was written before"
        self._open[fd] = folder
        return fd

    def _flush_file_system(self, folder: Path, fd: int) -> bool:
        assert self._open[fd] == folder
        self.lines.append(f"sync {folder.name}" if self._at_once else "can't sync")
        if folder.name in self.broken:
            raise OSError(5, "Input/output error", str(folder))
        return self._at_once

    def work(self, name: str, where: str = "disk") -> Steps[str]:
        def flush(step: str) -> None:
            self.lines.append(f"{name} flush {step}")
            if name in self.broken:
                raise OSError(5, "Input/output error", name)

        for step in "12":
            if f"{name}{step}" in self.broken:
                raise ValueError(name)
            self.lines.append(f"{name}{step}")
            try:
                yield Flush(Path(where), functools.partial(flush, step))
            except OSError:
                self.lines.append(f"{name} gives up")
                raise
        return name.upper()


def test_alone_each_flush_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)
    assert run(log.work("a")) == "A"
    assert log.lines == ["a1", "a flush 1", "a2", "a flush 2"]


def test_together_they_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)
    assert run_together([log.work("a"), log.work("b")], DISKS) == ["A", "B"]
    assert log.lines == ["a1", "b1", "sync disk", "a2", "b2", "sync disk"]


def test_each_file_system_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)
    works = [log.work("a"), log.work("b"), log.work("c", "share"), log.work("d", "share"), log.work("e", "other")]
    assert run_together(works, DISKS) == ["A", "B", "C", "D", "E"]
    assert sorted(log.lines[5:8]) == ["e flush 1", "sync disk", "sync share"]
    assert log.lines[8:13] == ["a2", "b2", "c2", "d2", "e2"]


def test_what_all_need_alike_is_flushed_once_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)

    def flush() -> None:
        log.lines.append("flush the folder")

    def work() -> Steps[int]:
        yield Flush(Path("disk"), flush)
        return 1

    assert run_together([work(), work()], DISKS) == [1, 1]
    assert log.lines == ["flush the folder"]


def test_a_tree_is_worth_it_also_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)

    def work() -> Steps[int]:
        yield Flush(Path("disk"), lambda: log.lines.append("file by file"), is_tree=True)
        return 1

    assert run_together([work()], DISKS) == [1]
    assert log.lines == ["sync disk"]
    assert run(work()) == 1
    assert log.lines == ["sync disk", "file by file"]


def test_where_it_has_no_such_call_each_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=False)
    assert run_together([log.work("a"), log.work("b")], DISKS) == ["A", "B"]
    assert log.lines[:6] == ["a1", "b1", "can't sync", "a flush 1", "b flush 1", "a2"]


def test_what_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)
    log.broken = {"a2"}
    failed, done = run_together([log.work("a"), log.work("b")], DISKS)
    assert (repr(failed), done) == ("ValueError('a')", "B")
    assert log.lines[-2:] == ["b2", "b flush 2"]  # alone by now


def test_a_flush_that_fails_alone_is_told_to_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=False)
    log.broken = {"a"}
    failed, done = run_together([log.work("a"), log.work("b")], DISKS)
    assert (type(failed), done) == (OSError, "B")
    assert "a gives up" in log.lines
    assert "a2" not in log.lines
    with pytest.raises(OSError, match="Input/output"):
        run(log.work("a"))


def test_whose_it_is_that_a_file_system_fails_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(monkeypatch, at_once=True)
    log.broken = {"disk", "b"}
    done, failed, also = run_together([log.work("a"), log.work("b"), log.work("c")], DISKS)
    assert (done, type(failed), also) == ("A", OSError, "C")
    assert log.lines[:4] == ["a1", "b1", "c1", "sync disk"]
    assert sorted(log.lines[4:7]) == ["a flush 1", "b flush 1", "c flush 1"]


def test_whoever_else_is_told_of_a_failure_this_one_is_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells each descriptor of what failed since it was opened: so each file system has its own from the
    beginning, whether or not they are the same."""
    log = Log(monkeypatch, at_once=True)
    log.broken = {"disk", "share", "b"}
    works = [log.work("a"), log.work("c"), log.work("b", "share"), log.work("d", "share")]
    done, also, failed, last = run_together(works, DISKS)
    assert (done, also, type(failed), last) == ("A", "C", OSError, "D")
