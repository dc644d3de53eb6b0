"""Whatever goes wrong on the way, the right bytes arrive, and none that had arrived are asked for again."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import SyncReport, backoff
from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import (
    Body,
    Busy,
    Chunked,
    Corrupt,
    Drop,
    Fault,
    Gzipped,
    IgnoresRange,
    NewETag,
    NoLength,
    Redirect,
    Reset,
    Shortened,
    Silence,
    Slow,
    Status,
    TooLong,
    Truncated,
    WrongContentRange,
    WrongLength,
)
from ayon_async.errors import AyonAsyncError
from ayon_async.http import Timeouts
from transfer_bench import (
    MAYA,
    QUICK,
    archive,
    asked,
    assert_right,
    break_with,
    downloads,
    offering,
    path_of,
    run,
    sent,
    soon,
    until,
)

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

SIZE = 600_000
CONTENT = archive("maya", SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HALF = 300_000


@pytest.fixture(params=[False, True], ids=["unattested", "attested"])
async def dev(request: pytest.FixtureRequest) -> AsyncIterator[DevServer]:
    """A server of one archive, with and without a checksum of it."""
    async with DevServer(offering({"maya": CONTENT}, attested=request.param)) as server:
        yield server


@pytest.fixture
async def plain() -> AsyncIterator[DevServer]:
    """A server of one archive without a checksum."""
    async with DevServer(offering({"maya": CONTENT})) as server:
        yield server


@pytest.fixture
async def attested() -> AsyncIterator[DevServer]:
    """A server of one archive with a checksum."""
    async with DevServer(offering({"maya": CONTENT}, attested=True)) as server:
        yield server


def right(report: SyncReport, folder: Path) -> bool:
    assert_right(report, folder, {"maya": CONTENT})
    return True


def error_of(report: SyncReport) -> AyonAsyncError:
    [item] = report.items
    assert item.state == "failed"
    assert item.error is not None
    assert item.error.hint
    return item.error


def ranges(dev: DevServer) -> list[str | None]:
    """What each request for the archive asked for."""
    return [record.range for record in downloads(dev)]


# --- the connection -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Drop(HALF), Silence(HALF), Truncated(HALF)])
async def test_what_came_before_a_break_is_not_asked_for_again(dev: DevServer, tmp_path: Path, fault: Fault) -> None:
    break_with(dev, fault)
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-"]
    assert sent(dev) == SIZE
    assert downloads(dev)[1].headers["If-Range"]


async def test_what_came_at_once_with_a_break_is_kept_too(tmp_path: Path) -> None:
    content = archive("maya", 8_000_000)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        break_with(dev, *[Drop(1_900_000)] * 4)
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": content})
        assert ranges(dev) == [None, *(f"bytes={1_900_000 * number}-" for number in range(1, 5))]


async def test_a_reset_costs_what_was_on_its_way(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Reset(HALF))
    assert right(await run(dev, tmp_path), tmp_path)
    assert len(downloads(dev)) == 2
    assert sent(dev) <= SIZE + HALF


@pytest.mark.parametrize("fault", [Drop(-1), Reset(-1), Silence(-1)])
async def test_no_answer_at_all(dev: DevServer, tmp_path: Path, fault: Fault) -> None:
    break_with(dev, fault, fault)
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, None, None]
    assert sent(dev) == SIZE


async def test_a_little_further_each_time_is_good_enough(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Drop(SIZE // 20))
    assert right(await run(dev, tmp_path, retries=2), tmp_path)
    assert len(downloads(dev)) == 20
    assert sent(dev) == SIZE


async def test_no_further_is_given_up(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(HALF))
    dev.faults.add(MAYA, Drop(0), attempts=range(2, 100))
    error = error_of(await run(dev, tmp_path, retries=3))
    assert error.type == "Truncated"
    assert f"truncated after {HALF:,} of {SIZE:,} bytes" in error.message
    assert len(downloads(dev)) == 4


@pytest.mark.parametrize("fault", [Drop(0), Reset(-1), *map(Status, (408, 425, 500, 501, 502, 504, 507, 599))])
async def test_retries_are_bounded(plain: DevServer, tmp_path: Path, fault: Fault) -> None:
    plain.faults.add(MAYA, fault)
    error_of(await run(plain, tmp_path, retries=2))
    assert len(downloads(plain)) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_what_does_not_get_better_is_asked_for_once(plain: DevServer, tmp_path: Path, status: int) -> None:
    plain.faults.add(MAYA, Status(status))
    error_of(await run(plain, tmp_path))
    assert len(downloads(plain)) == 1


async def test_slow_is_not_silent(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Slow(SIZE))
    started = time.monotonic()
    assert right(await run(dev, tmp_path, timeouts=Timeouts(connect=0.3, silence=0.3)), tmp_path)
    assert time.monotonic() - started > 0.9
    assert ranges(dev) == [None]


async def test_a_server_that_is_gone_for_a_while(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.2)
    dev.faults.add(MAYA, Slow(SIZE))
    task = asyncio.create_task(run(dev, tmp_path))
    await until(lambda: sent(dev) >= HALF)
    await dev.stop()
    await asyncio.sleep(0.3)
    await dev.start()
    assert right(await task, tmp_path)
    assert sent(dev) < SIZE + 100_000


# --- the length -----------------------------------------------------------------------------------------------------


async def test_a_body_without_its_end_whose_length_agrees(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Shortened(1))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, None]


async def test_it_is_called_truncated_where_it_stays_so(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Shortened(1))
    error = error_of(await run(dev, tmp_path, retries=2))
    assert error.type == "Truncated"
    assert "truncated" in error.message
    assert len(downloads(dev)) == 3


async def test_too_long_is_tried_once_more(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, TooLong(1))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, None]


async def test_too_long_twice_is_not_tried_again(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, TooLong(1))
    error = error_of(await run(dev, tmp_path))
    assert error.type == "TooLong"
    assert len(downloads(dev)) == 2


@pytest.mark.parametrize("by", [1, -1])
async def test_a_wrong_length(dev: DevServer, tmp_path: Path, by: int) -> None:
    break_with(dev, WrongLength(by))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, None]


@pytest.mark.parametrize("fault", [NoLength(), Chunked()])
async def test_without_a_length(dev: DevServer, tmp_path: Path, fault: Fault) -> None:
    dev.faults.add(MAYA, fault)
    assert right(await run(dev, tmp_path), tmp_path)
    assert sent(dev) == SIZE


@pytest.mark.parametrize("fault", [NoLength(), Chunked()])
async def test_without_a_length_nothing_is_gone_on_with(dev: DevServer, tmp_path: Path, fault: Fault) -> None:
    dev.faults.add(MAYA, fault)
    break_with(dev, Drop(HALF))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, None]
    assert sent(dev) == HALF + SIZE


async def test_without_a_length_it_does_not_go_on_for_ever(plain: DevServer, tmp_path: Path) -> None:
    plain.faults.add(MAYA, TooLong(3_000_000))
    plain.faults.add(MAYA, Chunked())
    assert error_of(await run(plain, tmp_path)).type == "TooLong"


# --- ranges ---------------------------------------------------------------------------------------------------------


async def test_ranges_ignored(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, IgnoresRange())
    break_with(dev, Drop(HALF))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-"]
    assert sent(dev) == HALF + SIZE


@pytest.mark.parametrize("fault", [WrongContentRange(start_off=1), WrongContentRange(start_off=-1)])
async def test_another_range_than_asked_for(dev: DevServer, tmp_path: Path, fault: Fault) -> None:
    break_with(dev, Drop(HALF), fault)
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("off", [1, -1])
async def test_another_size_than_before(dev: DevServer, tmp_path: Path, off: int) -> None:
    break_with(dev, Drop(HALF), WrongContentRange(size_off=off))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-", None]


async def test_416_means_look_again(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(HALF), Status(416))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-", None]


# --- which state of the archive -------------------------------------------------------------------------------------


@pytest.mark.parametrize("heeds", [True, False], ids=["200", "206"])
async def test_another_validator_means_start_over(dev: DevServer, tmp_path: Path, heeds: bool) -> None:
    break_with(dev, Drop(HALF))
    dev.faults.add(MAYA, NewETag("new", heeds_if_range=heeds), attempts=range(2, 100))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-"] + ([] if heeds else [None])
    assert asked(dev) == SIZE + SIZE + (0 if heeds else SIZE - HALF)


@pytest.mark.parametrize("heeds", [True, False], ids=["200", "206"])
async def test_another_validator_with_every_answer(dev: DevServer, tmp_path: Path, heeds: bool) -> None:
    dev.faults.add(MAYA, NewETag(heeds_if_range=heeds), probes=True)
    assert right(await run(dev, tmp_path / "1"), tmp_path / "1")
    assert ranges(dev) == [None]
    dev.forget_requests()
    dev.faults.add(MAYA, Drop(HALF), attempts=1)
    assert right(await run(dev, tmp_path / "2"), tmp_path / "2")
    assert ranges(dev)[:2] == [None, f"bytes={HALF}-"]
    assert len(downloads(dev)) == (2 if heeds else 3)


@pytest.mark.parametrize("size", [SIZE, SIZE + 5000, SIZE - 5000])
async def test_an_archive_that_changes_while_it_comes(plain: DevServer, tmp_path: Path, size: int) -> None:
    plain.faults.add(MAYA, Silence(HALF), attempts=1)
    task = asyncio.create_task(run(plain, tmp_path))
    await until(lambda: sent(plain) >= HALF)
    new = archive("another maya", size)
    plain.studio = offering({"maya": new})
    assert_right(await task, tmp_path, {"maya": new})


# --- busy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
async def test_busy_without_a_time(dev: DevServer, tmp_path: Path, code: int) -> None:
    break_with(dev, Busy(code), Drop(HALF), Busy(code))
    assert right(await run(dev, tmp_path), tmp_path)
    assert sent(dev, MAYA) == SIZE


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
async def test_retry_after_is_obeyed(plain: DevServer, tmp_path: Path, code: int, as_date: bool) -> None:
    break_with(plain, Busy(code, retry_after=2 if as_date else 1, as_date=as_date))
    assert right(await run(plain, tmp_path), tmp_path)
    first, second = downloads(plain)
    assert 0.99 <= second.started - first.started < 2.5


async def test_who_should_come_back_tomorrow_does_not_wait(plain: DevServer, tmp_path: Path) -> None:
    plain.faults.add(MAYA, Busy(503, retry_after=86400))
    error = error_of(await run(plain, tmp_path))
    assert "503" in error.message
    assert "86,400" in error.message
    assert len(downloads(plain)) == 1


# --- another answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "error"), [(401, "NotSignedIn"), (403, "AccessDenied")])
async def test_refused_in_mid_run(tmp_path: Path, status: int, error: str) -> None:
    contents = {"core": archive("core", 50_000), "maya": CONTENT}
    async with DevServer(offering(contents)) as dev:
        break_with(dev, Drop(HALF), Status(status))
        report = await run(dev, tmp_path)
        assert (report.exit_code, report.error and report.error.type) == (4, error)
        assert {item.name: item.state for item in report.items} == {"core": "installed", "maya": "failed"}
        dev.forget_requests()
        report = await run(dev, tmp_path)  # once one is let in again
        assert ranges(dev) == [f"bytes={HALF}-"]
    assert {item.name: item.state for item in report.items} == {"core": "up_to_date", "maya": "installed"}


async def test_a_redirect_loop(plain: DevServer, tmp_path: Path) -> None:
    plain.faults.add(MAYA, Redirect())
    assert "more than 5 redirects" in error_of(await run(plain, tmp_path)).message
    assert len(downloads(plain)) == 6


async def test_a_redirect_to_another_origin_without_our_key(dev: DevServer, tmp_path: Path) -> None:
    async with DevServer(replace(dev.studio, files={"/static/maya.zip": CONTENT})) as other:
        dev.faults.add(MAYA, Redirect(f"{other.url}/static/maya.zip"), probes=True)
        other.faults.add("*", Drop(HALF), attempts=1)
        assert right(await run(dev, tmp_path), tmp_path)
        there = [record for record in other.requests if record.range != "bytes=0-0"]
    assert [record.range for record in there] == [None, f"bytes={HALF}-"]
    for record in there:
        assert not {"X-Api-Key", "Authorization", "Cookie", "Referer", "X-ayon-hostname"} & set(record.headers)


async def test_a_web_page(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Body())
    error = error_of(await run(dev, tmp_path))
    assert "a web page instead of an archive" in error.message
    assert len(downloads(dev)) == 1


async def test_a_web_page_in_answer_to_a_range_costs_nothing_that_came(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(HALF), Body())
    error_of(await run(dev, tmp_path))
    dev.forget_requests()
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [f"bytes={HALF}-"]


async def test_encoded(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Gzipped())
    error = error_of(await run(dev, tmp_path))
    assert "encoded (gzip)" in error.message
    assert len(downloads(dev)) == 1
    assert {record.headers["Accept-Encoding"] for record in dev.requests} == {"identity"}


# --- wrong bytes ----------------------------------------------------------------------------------------------------


async def test_a_wrong_byte_of_a_whole_archive(attested: DevServer, tmp_path: Path) -> None:
    attested.faults.add(MAYA, Corrupt())
    error = error_of(await run(attested, tmp_path))
    assert error.type == "ChecksumMismatch"
    assert DIGEST in error.message
    actual = CONTENT[:HALF] + bytes([CONTENT[HALF] ^ 0xFF]) + CONTENT[HALF + 1 :]
    assert hashlib.sha256(actual).hexdigest() in error.message
    assert ranges(attested) == [None]
    attested.faults.clear()
    attested.forget_requests()
    assert right(await run(attested, tmp_path), tmp_path)
    assert ranges(attested) == [None]  # the wrong bytes were thrown away


async def test_a_wrong_byte_that_no_checksum_tells(plain: DevServer, tmp_path: Path) -> None:
    plain.faults.add(MAYA, Corrupt(), attempts=1)
    error_of(await run(plain, tmp_path))
    plain.forget_requests()
    assert right(await run(plain, tmp_path), tmp_path)
    assert ranges(plain) == [None]


async def test_a_wrong_byte_in_what_was_resumed(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(HALF))
    dev.faults.add(MAYA, Corrupt(only_resumed=True))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-", None]


async def test_whole_means_in_one_answer(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(HALF))
    break_with(dev, Drop(HALF), first=3)
    dev.faults.add(MAYA, Corrupt(only_resumed=True))
    assert right(await run(dev, tmp_path), tmp_path)
    assert ranges(dev) == [None, f"bytes={HALF}-", None, None]


async def test_wrong_again_is_not_tried_a_third_time(attested: DevServer, tmp_path: Path) -> None:
    break_with(attested, Drop(HALF))
    attested.faults.add(MAYA, Corrupt())
    assert error_of(await run(attested, tmp_path)).type == "ChecksumMismatch"
    assert ranges(attested) == [None, f"bytes={HALF}-", None]


# --- the others -----------------------------------------------------------------------------------------------------


async def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    contents = {name: archive(name, 40_000) for name in ("bad", "core", "maya", "nuke")}
    async with DevServer(offering(contents)) as dev:
        dev.faults.add(path_of("bad"), Silence(-1))
        report = await run(dev, tmp_path, jobs=4, retries=1, timeouts=QUICK)
    assert {item.name: item.state for item in report.items} == {
        "bad": "failed",
        "core": "installed",
        "maya": "installed",
        "nuke": "installed",
    }


async def test_a_size_that_does_not_come_holds_up_nobody(tmp_path: Path) -> None:
    contents = {name: archive(name, 300_000) for name in ("maya", "nuke", "blender", "houdini")}
    async with DevServer(offering(contents)) as dev:
        dev.faults.add(MAYA, Silence(-1), attempts=1, probes=True)
        async with asyncio.timeout(10):
            report = await run(dev, tmp_path, timeouts=Timeouts(connect=2, silence=30))
        assert_right(report, tmp_path, contents)
        assert [record.range for record in dev.requests_to(MAYA)] == ["bytes=0-0", None]
