"""Small archives: nothing of them is on disk before they are unpacked, and nothing that came is asked for again."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs, room
from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import Drop, Slow
from ayon_async.locate import Source
from ayon_async.server import AyonServer
from ayon_async.store import staging
from ayon_async.transfer import Probe, SmallPart, Validator
from transfer_bench import MAYA, archive, assert_right, downloads, offering, run, sent, soon, until

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

SMALL = archive("maya", SmallPart.MOST)
HALF = SmallPart.MOST // 2


@pytest.mark.parametrize(("size", "state"), [(SmallPart.MOST, "installed"), (SmallPart.MOST + 1, "failed")])
async def test_only_a_large_one_needs_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, state: str
) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(fs, "open_part", refuse)
    async with DevServer(offering({"maya": archive("maya", size)})) as dev:
        report = await run(dev, tmp_path)
    assert [item.state for item in report.items] == [state]


@pytest.mark.parametrize("attested", [False, True], ids=["unattested", "attested"])
async def test_a_broken_connection_is_gone_on_with(tmp_path: Path, attested: bool) -> None:
    async with DevServer(offering({"maya": SMALL}, attested=attested)) as dev:
        dev.faults.add(MAYA, Drop(HALF), attempts=1)
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": SMALL})
        assert [record.range for record in downloads(dev)] == [None, f"bytes={HALF}-"]
        assert report.bytes_downloaded == SmallPart.MOST


async def test_what_was_given_up_is_gone_on_with_by_the_next_run(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": SMALL})) as dev:
        dev.faults.add(MAYA, Drop(HALF))
        assert not (await run(dev, tmp_path, retries=0)).ok
        dev.faults.clear()
        dev.forget_requests()
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": SMALL})
        assert [record.range for record in downloads(dev)] == [f"bytes={HALF}-"]


async def test_a_cancelled_run_loses_nothing(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": SMALL})) as dev:
        dev.faults.add(MAYA, Slow(SmallPart.MOST))
        task = asyncio.create_task(run(dev, tmp_path))
        await until(lambda: sent(dev) >= HALF)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        dev.faults.clear()
        dev.forget_requests()
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": SMALL})
        assert report.bytes_downloaded <= SmallPart.MOST - HALF // 2


async def test_one_that_turns_out_to_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stale(source: Source, server: AyonServer) -> Probe:
        return Probe(1000, Validator(source.location))

    monkeypatch.setattr(room, "probe", stale)
    content = archive("maya", 3_000_000)
    async with DevServer(offering({"maya": content})) as dev:
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": content})


async def test_a_bad_one_leaves_nothing(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": SMALL[:-100]})) as dev:
        report = await run(dev, tmp_path)
    assert [item.state for item in report.items] == ["failed"]
    assert list((tmp_path / "addons/.ayon-async/parts").iterdir()) == []


async def test_two_items_with_one_small_archive_fetch_it_once(tmp_path: Path) -> None:
    content = archive("maya", SmallPart.MOST)
    async with DevServer(offering({"maya": content, "nuke": content}, attested=True)) as dev:
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, {"maya": content, "nuke": content})
        assert len(downloads(dev)) == 1


# --- several together -----------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, bytes]:
    return {f"addon{number}": archive(f"addon{number}", 3_000) for number in range(count)}


def noting(monkeypatch: pytest.MonkeyPatch, done: list[tuple[str, Path]], *names: str) -> None:
    """Note what these functions of `fs` are called with, after they are done."""

    def note(name: str) -> None:
        original = getattr(fs, name)

        def noted(path: Path, *arguments: Any, **options: Any) -> Any:
            result = original(path, *arguments, **options)
            done.append((name, path))
            return result

        monkeypatch.setattr(fs, name, noted)

    for name in names:
        note(name)


@pytest.mark.skipif(not fs.can_flush_file_systems(), reason="elsewhere each is flushed by itself")
@pytest.mark.parametrize("works", [True, False], ids=["one call for all", "file by file"])
async def test_each_is_on_the_device_before_it_says_that_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    if not works:
        monkeypatch.setattr(fs, "flush_file_system", lambda folder, fd=None: False)
    done: list[tuple[str, Path]] = []
    noting(monkeypatch, done, "write_new", "rename", "flush_file_system", "flush_files", "flush_folder", "remove")
    contents = many(20)
    async with DevServer(offering(contents)) as dev:
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, contents)
    addons = tmp_path / "addons"
    for name in contents:
        staged = next(path for step, path in done if step == "rename" and path.name.startswith(f"{name}_"))
        lease = next(path for step, path in done if step == "remove" and path.name.startswith(f"{name}_"))
        record, complete, renamed, given_back = (
            done.index(step)
            for step in (
                ("write_new", staged / ".ayon-async.json"),
                ("write_new", staged / "dist_progress.json"),
                ("rename", staged),
                ("remove", lease),
            )
        )
        flush = ("flush_file_system", addons) if works else ("flush_files", staged)
        assert flush in done[record:complete]
        assert flush in done[complete:renamed]
        assert ("flush_folder", addons) in done[renamed:given_back]


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[Path]]]:
    """Until the event is set the first flush waits, and all behind it; the list has each."""
    go, flushes, original = threading.Event(), list[Path](), fs.flush_file_system

    def flush(folder: Path, fd: int | None = None) -> bool:
        flushes.append(folder)
        assert go.wait(30)
        return original(folder, fd)

    monkeypatch.setattr(fs, "flush_file_system", flush)
    yield go, flushes
    go.set()


@pytest.mark.skipif(not fs.can_flush_file_systems(), reason="elsewhere each is flushed by itself")
async def test_they_share_what_a_flush_costs(tmp_path: Path, held_up: tuple[threading.Event, list[Path]]) -> None:
    go, flushes = held_up
    contents = many(30)
    async with DevServer(offering(contents)) as dev:
        dev.faults.add("*/client.zip", Slow(10_000))  # all have their leases, from the thread that is held up next
        task = asyncio.create_task(run(dev, tmp_path, jobs=8))
        await until(lambda: len(downloads(dev)) == 30 and bool(flushes))
        go.set()
        assert_right(await task, tmp_path, contents)
    assert len(flushes) <= 20  # not two for each


@pytest.mark.skipif(not fs.can_flush_file_systems(), reason="elsewhere each is flushed by itself")
async def test_what_is_cancelled_before_its_turn_is_not_begun(
    tmp_path: Path, held_up: tuple[threading.Event, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    go, flushes = held_up
    done: list[tuple[str, Path]] = []
    noting(monkeypatch, done, "make_folder")
    async with DevServer(offering(many(30))) as dev:
        dev.faults.add("*/client.zip", Slow(10_000))  # all have their leases, from the thread that is held up next
        task = asyncio.create_task(run(dev, tmp_path, jobs=8))
        await until(lambda: len(downloads(dev)) == 30 and bool(flushes))
        begun = {path.name.rpartition(".")[0] for _, path in done if path.parent.name == "staging"}
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()  # the thread still works
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert {path.name.rpartition(".")[0] for _, path in done if path.parent.name == "staging"} == begun
    assert len(begun) < 30
    assert {path.stem for path in (tmp_path / "addons/.ayon-async/staging").iterdir()} <= begun
    assert list((tmp_path / "addons/.ayon-async/locks").iterdir()) == []


async def test_one_that_can_not_be_put_in_place_yet_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others, rename = set[str](), fs.rename

    def busy(source: Path, destination: Path) -> None:
        if destination.name.startswith("addon0_") and len(others) < 7:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))
        rename(source, destination)
        others.add(destination.name)

    monkeypatch.setattr(fs, "rename", busy)
    contents = many(8)
    began = time.monotonic()
    async with DevServer(offering(contents)) as dev:
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, contents)
    assert time.monotonic() - began < staging.BLOCKED_SECONDS


@pytest.mark.skipif(not fs.can_flush_file_systems(), reason="elsewhere each is flushed by itself")
async def test_a_device_that_fails_once_fails_only_whose_bytes_it_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system says of the whole file system may be somebody else's trouble."""

    def fail(folder: Path, fd: int | None = None) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    flush_files = fs.flush_files

    def flush(root: Path, before_each: Callable[[], None] = lambda: None) -> None:
        if root.name.startswith("addon3_"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(root))
        flush_files(root, before_each)

    contents = many(8)
    async with DevServer(offering(contents)) as dev:
        with monkeypatch.context() as patch:
            patch.setattr(fs, "flush_file_system", fail)
            patch.setattr(fs, "flush_files", flush)
            report = await run(dev, tmp_path, jobs=8)
        assert {item.name: item.error.type for item in report.items if item.error} == {"addon3": "StoreError"}
        assert list((tmp_path / "addons/.ayon-async/staging").iterdir()) == []
        again = await run(dev, tmp_path, jobs=8)
    assert {item.state: item.name for item in again.items if item.state != "up_to_date"} == {"installed": "addon3"}


async def test_a_bad_one_does_not_hurt_those_beside_it(tmp_path: Path) -> None:
    contents = many(20)
    broken = contents | {"addon7": contents["addon7"][:-100]}
    async with DevServer(offering(broken)) as dev:
        report = await run(dev, tmp_path, jobs=8)
    assert [item.name for item in report.items if item.state != "installed"] == ["addon7"]
    assert list((tmp_path / "addons/.ayon-async/staging").iterdir()) == []
