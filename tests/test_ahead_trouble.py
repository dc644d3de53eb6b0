"""What goes wrong where several threads or connections work on one archive: it is told, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs
from ayon_async.ahead import Ahead
from ayon_async.devserver import DevServer, noise, zip_bytes
from ayon_async.devserver.faults import Slow
from ayon_async.errors import StoreError
from ayon_async.transfer import Arrival, download
from ayon_async.transfer.part import Part, Validator
from ayon_async.unpack import Unpacked, UnpackError, unpack
from ayon_async.unpack.errors import CrcMismatch
from ayon_async.unpack.source import Source
from ayon_async.unpack.zip import _Work
from studios import leftovers
from transfer_bench import MAYA, offering, run, soon, until

CONTENT = zip_bytes({f"file{number}.bin": noise(40_000, f"member {number}") for number in range(75)})
WRITING = 1_000_000

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of 3 MB are worth being read before they are whole."""
    monkeypatch.setattr(download, "_WORTH_AHEAD", 1 << 20)
    monkeypatch.setattr(download, "_SLOW", 0)


def test_a_second_thread_that_fails_while_the_first_looks_for_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, helps, looks = threading.current_thread(), threading.Event(), threading.Event()
    has, unpack_member = Source.has, _Work._unpack

    def fail(work: _Work, *arguments: Any) -> None:
        if threading.current_thread() is here:
            unpack_member(work, *arguments)
            return
        helps.set()
        looks.wait(5)
        raise CrcMismatch("maya", "is damaged", "file.bin")

    def look(source: Source, start: int, end: int) -> bool:
        if threading.current_thread() is here and helps.is_set() and not looks.is_set():
            looks.set()
            threading.Event().wait(0.2)  # until the other thread has failed, and taken away what is looked at
        return has(source, start, end)

    monkeypatch.setattr(_Work, "_unpack", fail)
    monkeypatch.setattr(Source, "has", look)
    content = zip_bytes({f"file{number}.bin": noise(200_000, f"{number}") for number in range(100)})
    with ThreadPoolExecutor(1) as helpers, pytest.raises(UnpackError, match="is damaged"):
        unpack(io.BytesIO(content), tmp_path / "out", name="maya", helpers=helpers, flush=False)
    assert looks.is_set()
    assert not (tmp_path / "out").exists()


def test_a_reader_is_told_of_bytes_that_no_sidecar_could_tell_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for ever where another connection met the full disk, and the archive is whole all the same."""
    part = Part(tmp_path / "maya.part", set())
    part.size, part.validator = len(CONTENT), Validator("https://ayon/maya.zip", '"1"')
    arrival, unpacked = part.reader(), list[Unpacked]()

    def read() -> None:
        unpacked.append(unpack(arrival.file, tmp_path / "out", name="maya", arrival=arrival, flush=False))

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    thread = threading.Thread(target=read)
    thread.start()
    part.write([(0, [CONTENT[:WRITING]])])
    monkeypatch.setattr(fs, "write_atomic", full)
    with pytest.raises(StoreError):
        part.write([(WRITING, [CONTENT[WRITING:]])])
    assert part.complete
    thread.join(5)
    arrival.end()
    thread.join()
    assert len(unpacked) == 1
    arrival.file.close()
    part.close()


@pytest.mark.usefixtures("worth_it")
async def test_an_archive_that_nobody_can_read_before_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the process has as many files open as it may: that is no failure of the run."""
    tried: list[int] = []

    def dup(fd: int) -> int:
        tried.append(fd)
        raise OSError(errno.EMFILE, "Too many open files")

    async with DevServer(offering({"maya": CONTENT}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(1_000_000))
        with monkeypatch.context() as patched:
            patched.setattr(fs, "open_to_read", refusing_parts(dup))
            patched.setattr(os, "dup", dup)
            report = await run(dev, tmp_path, jobs=4)
    assert tried
    assert report.ok, report
    assert leftovers(tmp_path) == []


def refusing_parts(refuse: Callable[[int], int]) -> Callable[[Path], int]:
    """`fs.open_to_read`, which gives no parts."""
    open_to_read = fs.open_to_read
    return lambda path: refuse(0) if str(path).endswith(".part") else open_to_read(path)


async def test_a_part_is_closed_after_the_last_connection_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is cancelled: a connection writes into what is open under the same number by then."""
    going_on, writing, write, close = threading.Event(), threading.Event(), Part.write, Part.close
    closed: list[bool] = []

    def slow(part: Part, chunks: Any) -> None:
        if part.done.total >= WRITING:
            writing.set()
            going_on.wait(5)
        write(part, chunks)

    def note(part: Part) -> None:
        closed.append(going_on.is_set())
        close(part)

    monkeypatch.setattr(Part, "write", slow)
    monkeypatch.setattr(Part, "close", note)
    async with DevServer(offering({"maya": CONTENT}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(500_000))
        before = asyncio.all_tasks()
        task = asyncio.create_task(run(dev, tmp_path, jobs=4))
        await until(lambda: writing.is_set() or task.done())
        [install] = [one for one in asyncio.all_tasks() - before if "Installer.install" in repr(one.get_coro())]
        for _ in range(5):
            install.cancel()
            await asyncio.sleep(0.02)
        task.cancel()
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert closed
    assert all(closed)


async def test_what_is_cancelled_while_it_waits_for_its_thread_leaves_nothing(tmp_path: Path) -> None:
    begun, going_on, discarded = threading.Event(), threading.Event(), list[bool]()
    arrival = Arrival((tmp_path / "maya.part").open("w+b", buffering=0), len(CONTENT))

    def work(arrival: Arrival, stop: threading.Event) -> Unpacked:
        begun.set()
        going_on.wait(5)
        return Unpacked((), (), True)

    async def discard() -> None:
        discarded.append(going_on.is_set())

    async def use() -> None:
        async with Ahead(work, discard, thread) as ahead:
            ahead.begin(arrival)
            await until(begun.is_set)

    with ThreadPoolExecutor(1) as thread:
        task = asyncio.create_task(use())
        await until(lambda: arrival.has_ended)
        task.cancel()
        await asyncio.sleep(0.02)
        going_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert discarded == [True]
    assert arrival.file.closed
