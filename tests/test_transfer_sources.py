"""Sources: in their order, one after the other even in mid-archive, and what is not worth asking is passed over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ayon_async.devserver import DevServer, Studio
from ayon_async.devserver.faults import Corrupt, Drop, Reset, Silence, Status
from ayon_async.report import SyncReport
from ayon_async.settings import this_platform
from ayon_async.threads import abandonable
from ayon_async.transfer import copying
from transfer_bench import MAYA, archive, asked, assert_right, break_with, downloads, offering, path_of, run, sent, soon

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

SIZE = 600_000
HALF = 300_000
CONTENT = archive("maya", SIZE)
NAMES = ("core", "houdini", "maya", "nuke", "tvpaint", "unreal")
SERVER = {"type": "server", "filename": "client.zip"}


@pytest.fixture
async def mirror() -> AsyncIterator[DevServer]:
    """A plain file host with the same archives."""
    files = {f"/static/{name}.zip": archive(name, 20_000) for name in NAMES} | {"/static/maya.zip": CONTENT}
    async with DevServer(Studio(files=files)) as server:
        yield server


def http(mirror: DevServer, name: str = "maya") -> dict[str, Any]:
    return {"type": "http", "url": f"{mirror.url}/static/{name}.zip"}


def share(path: Path) -> dict[str, Any]:
    return {"type": "filesystem", "path": {this_platform(): os.fspath(path)}}


def source_of(report: SyncReport) -> str | None:
    [item] = report.items
    return item.source


# --- failover in the middle of an archive ---------------------------------------------------------------------------


@pytest.mark.parametrize("attested", [False, True], ids=["unattested", "attested"])
async def test_the_next_source_goes_on_where_a_checksum_judges(
    tmp_path: Path, mirror: DevServer, attested: bool
) -> None:
    house = offering({"maya": CONTENT}, attested=attested, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Drop(HALF), attempts=1)
    mirror.faults.add("*", Status(404), attempts=range(2, 100))
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": CONTENT})
        assert source_of(report) == dev.url + MAYA
        assert [record.range for record in downloads(dev)] == ([f"bytes={HALF}-"] if attested else [None])
        assert "If-Range" not in downloads(dev)[0].headers  # the mirror's validator says nothing here


async def test_two_sources_that_disagree_are_found_out(tmp_path: Path, mirror: DevServer) -> None:
    house = offering({"maya": CONTENT}, attested=True, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Corrupt(HALF // 2), attempts=1)
    mirror.faults.add("*", Drop(HALF), attempts=1)
    mirror.faults.add("*", Status(404), attempts=range(2, 100))
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": CONTENT})
        assert [record.range for record in downloads(dev)] == [f"bytes={HALF}-", None]


async def test_another_archive_at_the_next_source_starts_over(tmp_path: Path, mirror: DevServer) -> None:
    other = archive("maya", SIZE - 1000)
    house = offering({"maya": other}, attested=True, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Drop(HALF), attempts=1)
    mirror.faults.add("*", Status(404), attempts=range(2, 100))
    async with DevServer(house) as dev:
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": other})


async def test_what_several_sources_began_another_run_goes_on_with(tmp_path: Path, mirror: DevServer) -> None:
    house = offering({"maya": CONTENT}, attested=True, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Drop(HALF // 2), attempts=1)
    mirror.faults.add("*", Status(404), attempts=2)
    async with DevServer(house) as dev:
        break_with(dev, Drop(HALF // 2), Status(404))
        assert [item.state for item in (await run(dev, tmp_path)).items] == ["failed"]
        mirror.forget_requests()
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
        assert [record.range for record in downloads(mirror, "*")] == [f"bytes={HALF}-"]


async def test_each_source_has_an_algorithm_of_its_own(tmp_path: Path, mirror: DevServer) -> None:
    md5 = {"checksum": "0" * 32, "checksumAlgorithm": "md5"}
    house = offering({"maya": CONTENT}, attested=True, sources={"maya": [{**http(mirror), **md5}, SERVER]})
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": CONTENT})
        assert source_of(report) == dev.url + MAYA


# --- passed over ----------------------------------------------------------------------------------------------------


async def test_an_origin_that_failed_three_times_running_is_passed_over(tmp_path: Path, mirror: DevServer) -> None:
    contents = {name: archive(name, 20_000) for name in NAMES}
    house = offering(contents, sources={name: [http(mirror, name), SERVER] for name in NAMES})
    mirror.faults.add("*", Reset(-1))
    async with DevServer(house) as dev:
        assert_right(await run(dev, tmp_path), tmp_path, contents)
    assert len(downloads(mirror, "*")) == 3


async def test_one_that_does_not_have_an_archive_is_asked_for_the_others(tmp_path: Path, mirror: DevServer) -> None:
    contents = {name: archive(name, 20_000) for name in NAMES}
    contents["maya"] = CONTENT
    house = offering(contents, sources={name: [http(mirror, name), SERVER] for name in NAMES})
    for name in NAMES[1:]:
        mirror.faults.add(f"/static/{name}.zip", Status(404))
    async with DevServer(house) as dev:
        assert_right(await run(dev, tmp_path), tmp_path, contents)
        assert len(downloads(mirror, "*")) == len(NAMES)
        assert not downloads(dev, path_of("core"))


async def test_success_in_between_counts(tmp_path: Path, mirror: DevServer) -> None:
    house = offering({"maya": CONTENT}, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Drop(SIZE // 10))
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path)
        assert_right(report, tmp_path, {"maya": CONTENT})
        assert not downloads(dev)
    assert len(downloads(mirror, "*")) == 10


async def test_the_ayon_server_and_the_last_source_are_never_passed_over(tmp_path: Path, mirror: DevServer) -> None:
    house = offering({"maya": CONTENT}, sources={"maya": [SERVER, http(mirror)]})
    async with DevServer(house) as dev:
        dev.faults.add(MAYA, Reset(-1))
        mirror.faults.add("*", Reset(-1), attempts=range(1, 5))
        report = await run(dev, tmp_path, retries=5)
        assert_right(report, tmp_path, {"maya": CONTENT})
        assert source_of(report) == f"{mirror.url}/static/maya.zip"
        assert len(downloads(dev)) == 6


# --- files ----------------------------------------------------------------------------------------------------------


async def test_a_file_on_a_share(tmp_path: Path) -> None:
    file = tmp_path / "maya.zip"
    file.write_bytes(CONTENT)
    async with DevServer(offering({"maya": CONTENT}, sources={"maya": [share(file), SERVER]})) as dev:
        report = await run(dev, tmp_path / "store")
        assert_right(report, tmp_path / "store", {"maya": CONTENT})
        assert source_of(report) == os.fspath(file)
        assert report.items[0].bytes_downloaded == SIZE
        assert not downloads(dev)


@pytest.mark.parametrize("there", [None, b"wrong", "folder"])
async def test_a_file_that_is_not_the_archive(tmp_path: Path, there: bytes | str | None) -> None:
    file = tmp_path / "maya.zip"
    if isinstance(there, bytes):
        file.write_bytes(there)
    elif there:
        file.mkdir()
    house = offering({"maya": CONTENT}, attested=True, sources={"maya": [share(file), SERVER]})
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path / "store")
        assert_right(report, tmp_path / "store", {"maya": CONTENT})
        assert source_of(report) == dev.url + MAYA


@pytest.mark.parametrize("attested", [False, True], ids=["unattested", "attested"])
async def test_a_file_goes_on_where_the_network_ended(tmp_path: Path, mirror: DevServer, attested: bool) -> None:
    file = tmp_path / "maya.zip"
    file.write_bytes(CONTENT)
    house = offering({"maya": CONTENT}, attested=attested, sources={"maya": [http(mirror), share(file)]})
    mirror.faults.add("*", Drop(HALF), attempts=1)
    mirror.faults.add("*", Status(404), attempts=2)
    async with DevServer(house) as dev:
        report = await run(dev, tmp_path / "store")
        assert_right(report, tmp_path / "store", {"maya": CONTENT})
        assert report.items[0].bytes_downloaded == (SIZE if attested else HALF + SIZE)


needs_pipes = pytest.mark.skipif(sys.platform == "win32", reason="a named pipe stands in for a dead mount")


@needs_pipes
@pytest.mark.parametrize("opens", [False, True])
async def test_a_dead_mount_does_not_hang_the_run(tmp_path: Path, opens: bool) -> None:
    dead = {name: tmp_path / f"{name}.zip" for name in NAMES}
    contents = {name: archive(name, 20_000) for name in NAMES}
    house = offering(contents, sources={name: [share(dead[name]), SERVER] for name in NAMES})
    with contextlib.ExitStack() as stack:
        for pipe in dead.values():
            os.mkfifo(pipe)
            if opens:
                stack.enter_context(held_open(pipe))
        async with DevServer(house) as dev:
            started = time.monotonic()
            assert_right(await run(dev, tmp_path / "store"), tmp_path / "store", contents)
            assert time.monotonic() - started < 2  # the time-out is 0.4 s, and all of them wait together


@needs_pipes
async def test_a_dead_mount_does_not_hold_up_the_end(tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    os.mkfifo(dead)
    before = set(threading.enumerate())
    async with DevServer(offering({"maya": CONTENT}, sources={"maya": [share(dead)]})) as dev:
        [item] = (await run(dev, tmp_path / "store")).items
        await asyncio.get_running_loop().shutdown_default_executor()
    assert item.error is not None
    assert "did not answer within" in item.error.message
    [waiting] = set(threading.enumerate()) - before
    assert waiting.daemon
    with held_open(dead):
        waiting.join(5)  # it ends when the mount comes back
    assert not waiting.is_alive()


@contextmanager
def held_open(pipe: Path) -> Iterator[None]:
    """The pipe can be opened, and nothing comes."""
    fd = os.open(pipe, os.O_RDWR)
    try:
        yield
    finally:
        os.close(fd)


async def test_a_copy_that_was_interrupted_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "maya.zip"
    file.write_bytes(CONTENT)
    monkeypatch.setattr(copying, "_CHUNK", 50_000)
    left = [6]

    async def failing(work: Any, seconds: float) -> Any:
        result = await abandonable(work, seconds)
        if isinstance(result, bytes):
            left[0] -= 1
            if not left[0]:
                raise OSError(5, "Input/output error")
        return result

    monkeypatch.setattr(copying, "abandonable", failing)
    async with DevServer(offering({"maya": CONTENT}, sources={"maya": [share(file)]})) as dev:
        [item] = (await run(dev, tmp_path / "store")).items
        assert item.error is not None
        assert "Input/output error" in item.error.message
        report = await run(dev, tmp_path / "store")
        assert_right(report, tmp_path / "store", {"maya": CONTENT})
        assert report.items[0].bytes_downloaded == SIZE - 250_000


async def test_silence_of_a_source_leads_to_the_next(tmp_path: Path, mirror: DevServer) -> None:
    house = offering({"maya": CONTENT}, attested=True, sources={"maya": [http(mirror), SERVER]})
    mirror.faults.add("*", Silence(HALF), attempts=1)
    mirror.faults.add("*", Silence(-1), attempts=range(2, 100))
    async with DevServer(house) as dev:
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
        assert asked(dev) == SIZE - HALF
        assert sent(dev) == SIZE - HALF
