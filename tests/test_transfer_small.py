"""Small archives: nothing of them is on disk before they are unpacked, and nothing that came is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs, room
from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import Drop, Slow
from ayon_async.locate import Source
from ayon_async.server import AyonServer
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


async def test_several_are_on_the_device_before_any_says_that_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noting(name: str, step: Callable[[Path], str]) -> None:
        original = getattr(fs, name)

        def noted(path: Path, *arguments: Any, **options: Any) -> Any:
            done.append(step(path))
            return original(path, *arguments, **options)

        monkeypatch.setattr(fs, name, noted)

    noting("write_new", lambda path: path.name)
    noting("rename", lambda _: "rename")
    for name in ("flush_file_system", "flush_file"):
        noting(name, lambda _: "flush")
    contents = {f"addon{number}": archive(f"addon{number}", 3_000) for number in range(20)}
    async with DevServer(offering(contents)) as dev:
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, contents)
    places = {
        kind: [place for place, step in enumerate(done) if step == kind]
        for kind in (".ayon-async.json", "dist_progress.json", "rename")
    }
    assert [len(found) for found in places.values()] == [20, 20, 20]
    records, complete, renames = places.values()
    for first, second in [*zip(records, complete, strict=True), *zip(complete, renames, strict=True)]:
        assert "flush" in done[first:second]


async def test_a_device_that_fails_fails_what_was_written_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(5, "Input/output error")

    contents = {f"addon{number}": archive(f"addon{number}", 3_000) for number in range(8)}
    async with DevServer(offering(contents)) as dev:
        with monkeypatch.context() as patch:
            patch.setattr(fs, "flush_file_system", fail)
            report = await run(dev, tmp_path, jobs=8)
        assert {item.error.type for item in report.items if item.error} == {"StoreError"}
        assert {item.state for item in report.items} == {"failed"}
        assert list((tmp_path / "addons/.ayon-async/staging").iterdir()) == []
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, contents)


async def test_a_bad_one_does_not_hurt_those_beside_it(tmp_path: Path) -> None:
    contents = {f"addon{number}": archive(f"addon{number}", 3_000) for number in range(20)}
    broken = contents | {"addon7": contents["addon7"][:-100]}
    async with DevServer(offering(broken)) as dev:
        report = await run(dev, tmp_path, jobs=8)
    assert [item.name for item in report.items if item.state != "installed"] == ["addon7"]
    assert list((tmp_path / "addons/.ayon-async/staging").iterdir()) == []
