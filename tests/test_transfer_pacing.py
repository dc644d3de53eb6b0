"""How many connections there are, how fast they may be, and which bytes are still missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import Busy, Drop, IgnoresRange, Link, NewETag, Slow, WrongContentRange
from ayon_async.progress import Snapshot
from ayon_async.transfer import pacing
from ayon_async.transfer.pacing import Climb, Pacer, Throttle
from ayon_async.transfer.part import Part
from ayon_async.transfer.pieces import Pieces
from ayon_async.transfer.ranges import Ranges
from forward_proxy import forward_proxy
from transfer_bench import MAYA, archive, assert_right, downloads, offering, path_of, run, until

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=8)


def positions(spans: object) -> set[int]:
    assert isinstance(spans, list | tuple)
    return {position for start, end in spans for position in range(start, end)}


# --- which bytes are there ------------------------------------------------------------------------------------------


@given(SPANS)
def test_ranges_are_a_set_of_positions(spans: list[tuple[int, int]]) -> None:
    ranges = Ranges.of(spans)
    assert positions(ranges.spans) == positions(spans)
    assert ranges.total == len(positions(spans))
    ends = [position for span in ranges.spans for position in span]
    assert ends == sorted(set(ends)), "in their simplest form: sorted, not empty, not touching"
    one_by_one = Ranges()
    for start, end in spans:
        one_by_one = one_by_one.add(start, end)
    assert one_by_one == ranges


@given(SPANS, st.integers(0, 80))
def test_what_is_missing_and_what_is_there_are_all(spans: list[tuple[int, int]], size: int) -> None:
    ranges = Ranges.of(spans)
    missing = ranges.missing(size)
    assert positions(missing) == set(range(size)) - positions(spans)
    assert all(start < end for start, end in missing)
    front = ranges.front
    assert set(range(front)) <= positions(spans)
    assert front not in positions(spans)


@pytest.mark.parametrize("span", [(-1, 3), (3, 2)])
def test_what_is_no_range_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no range"):
        Ranges.of([span])


# --- what a further connection takes over -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "speed", "taken"),
    [
        (2048, 400, 1024),  # in KiB, and KiB a second: the second half, ...
        (400, 100, 200),
        (64, 20, 32),
        (63, 20, 0),  # ... where each of the two has enough to do, ...
        (2048, 6000, 0),  # ... and only where it lasts long enough.
        (400, 1100, 0),
    ],
)
def test_what_is_taken_over_from_a_slow_connection(tmp_path: Path, rest: int, speed: int, taken: int) -> None:
    part = Part(tmp_path / "archive.part", {"sha256"})
    part.size = 8192 * 1024
    pieces = Pieces(part, 8)
    piece = pieces.take_first(split=False)
    assert piece.end == part.size
    piece.position = piece.end - rest * 1024
    piece.since = time.monotonic() - (piece.position - piece.start) / 1024 / speed
    assert pieces.largest_rest() == taken * 1024
    if taken:
        other = pieces.take_over()
        assert other.start == piece.end == part.size - taken * 1024
        assert other.end is not None
        assert min(taken, 64) * 1024 <= other.end - other.start <= taken * 1024
    part.close()


@pytest.mark.parametrize(("speed", "least"), [(1000, 256), (300, 180), (20, 64)])
def test_slow_connections_are_asked_for_less_at_a_time(tmp_path: Path, speed: int, least: int) -> None:
    part = Part(tmp_path / "archive.part", {"sha256"})
    part.size = 1024 * 1024
    pieces = Pieces(part, 8)
    first = pieces.take_first(split=False)
    first.position = 64 * 1024
    first.since = time.monotonic() - 64 / speed
    part.done = part.done.add(0, 64 * 1024)
    first.end = 80 * 1024
    taken: list[float] = []
    while pieces.largest_rest() and len(taken) < 20:
        piece = pieces.take_over()
        assert piece.end is not None
        taken.append((piece.end - piece.start) / 1024)
    assert sum(taken) == 1024 - 80
    assert least * 0.95 <= min(taken) <= 2 * least  # in KiB
    part.close()


def test_a_share_is_taken_back_only_from_a_connection_that_is_stuck(tmp_path: Path) -> None:
    part = Part(tmp_path / "archive.part", {"sha256"})
    part.size = 1024 * 1024
    pieces = Pieces(part, 8)
    share = pieces.take_first(split=True)
    assert share.end is not None
    share.end = part.size
    share.position = 512 * 1024
    for seconds, taken in ((1.0, 0), (1.4, 0), (1.7, 256)):  # which the first half took, as the second half will
        share.since = time.monotonic() - seconds
        assert pieces.largest_rest() == taken * 1024
    part.close()


# --- how many connections -------------------------------------------------------------------------------------------

EVENTS = st.lists(st.one_of(st.floats(0, 1e10), st.sampled_from(["failed", "busy"])), max_size=200)


@given(st.integers(-3, 40), EVENTS)
def test_there_are_never_fewer_than_one_nor_more_than_allowed(most: int, events: list[float | str]) -> None:
    climb = Climb(most)
    for event in events:
        before = climb.allowed
        match event:
            case "failed":
                assert climb.failed() == max(1, before - 1)
            case "busy":
                assert climb.busy() == max(1, before // 2)
            case float():
                assert before // 2 <= climb.measured(event) <= 2 * before
        assert 1 <= climb.allowed <= max(1, most)


@given(st.integers(1, 16), st.floats(1e3, 1e9))
def test_where_each_connection_is_capped_there_are_as_many_as_may_be(most: int, cap: float) -> None:
    climb = Climb(most)
    for _ in range(20):
        climb.measured(climb.allowed * cap)
    assert climb.allowed == most


@given(st.integers(5, 16), st.floats(1e3, 1e9), st.lists(st.floats(0.97, 1.03), min_size=100, max_size=100))
def test_where_the_link_is_the_limit_few_more_are_tried(most: int, rate: float, noise: list[float]) -> None:
    climb = Climb(most)
    allowed = [climb.measured(rate * factor) for factor in noise]
    assert max(allowed) <= 4 + max(1, (most - 4) // 3)
    assert sum(count == 4 for count in allowed) >= 70


@given(st.integers(8, 16), st.integers(4, 16), st.floats(1e3, 1e9))
def test_of_those_that_were_added_at_once_the_first_are_kept_that_pay(most: int, enough: int, cap: float) -> None:
    climb = Climb(most)
    allowed = [climb.measured(min(climb.allowed, enough) * cap) for _ in range(200)]
    assert min(allowed[10:]) >= min(enough, most)
    assert sum(allowed[100:]) / 100 <= 1.5 * enough, "each one added brings half of a share at least"


def test_more_than_are_allowed_tell_only_that_they_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("ayon_async.transfer.pacing.time.monotonic", lambda: now[0])
    pacer = Pacer(16, None, lambda: None)
    for _ in range(6):
        pacer.take_spare()

    def window(speed: int) -> int:
        pacer.tick()
        pacer.took(speed // 2)
        now[0] += 0.5
        pacer.tick()
        return pacer.climb.allowed

    assert [window(speed) for speed in (6_000_000, 9_000_000, 9_000_000)] == [4, 4, 4]
    assert window(5_000_000) == 4, "the best so far was not measured with as many as are allowed"
    pacer.release()
    pacer.release()
    assert [window(4_000_000), window(8_000_000)] == [8, 8]
    for _ in range(6):
        pacer.take_spare()
    assert [window(4_100_000), window(2_000_000)] == [8, 12]


@given(st.integers(5, 16), st.integers(1, 16))
def test_it_comes_back_after_failures(most: int, failures: int) -> None:
    climb = Climb(most)
    for _ in range(failures):
        climb.failed()
    for _ in range(10 + most):
        climb.measured(climb.allowed * 1e6)
    assert climb.allowed == most


@given(
    st.lists(st.tuples(st.integers(1, 1 << 20), st.floats(0, 0.01)), min_size=1, max_size=50),
    st.floats(1e4, 1e8),
)
def test_a_limit_holds_whatever_comes(taken: list[tuple[int, float]], rate: float) -> None:
    now = [1000.0]

    def clock() -> float:
        return now[0]

    with mock.patch("ayon_async.transfer.pacing.time.monotonic", clock):
        throttle = Throttle(rate)
        for count, late in taken:
            now[0] += throttle.took(count) + late
    total = sum(count for count, _ in taken)
    least, most = total / rate - 0.11, total / rate + sum(late for _, late in taken) + 0.01
    assert least <= now[0] - 1000 <= most


def test_without_a_limit_nobody_waits() -> None:
    assert Throttle(None).took(1 << 40) == 0


async def test_a_turn_that_nobody_wants_any_more_is_given_to_the_next() -> None:
    pacer = Pacer(1, None, lambda: None)
    got: list[int] = []

    async def work(number: int) -> None:
        async with pacer.connection(None):
            got.append(number)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert got == [0, 2, 4]
    assert pacer.spare == 1


async def in_turn(pacer: Pacer, sizes: list[int]) -> list[int]:
    """Which sizes got a connection without any waiting, the largest first."""
    got: list[int] = []

    async def work(size: int) -> None:
        async with pacer.connection(size):
            got.append(size)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(size)) for size in sizes]
        for _ in range(10):
            await asyncio.sleep(0)
        at_once = sorted(got, reverse=True)
        for task in tasks:
            task.cancel()
    return at_once


MIB = 1 << 20


@pytest.mark.parametrize(
    ("known", "asked", "first"),
    [
        ([MIB * n for n in range(1, 7)], [MIB * n for n in range(1, 7)], [MIB * n for n in (6, 5, 4, 3)]),
        ([MIB * n for n in range(1, 7)], [MIB * n for n in (1, 3, 4, 5)], []),  # the largest is still to come
        ([MIB, 2 * MIB], [MIB, 2 * MIB], [2 * MIB, MIB]),
        ([], [MIB * n for n in range(1, 7)], []),
        ([1000] * 20, [1000] * 20, [1000] * 8),  # nobody needs to find out how many connections pay
        ([1000] * 20 + [MIB], [MIB] + [1000] * 20, [MIB] + [1000] * 3),
        ([1000] * 20 + [0], [1000] * 20, [1000] * 4),  # one may be large
    ],
)
async def test_nobody_waits_for_the_largest_once_they_are_here(
    known: list[int], asked: list[int], first: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_LINE_UP", 60)
    assert await in_turn(Pacer(8, None, lambda: None, known), asked) == first


@pytest.mark.parametrize("jobs", [1, 3, 8, 16, 99])
async def test_there_are_never_more_connections_than_jobs(tmp_path: Path, jobs: int) -> None:
    contents = {f"addon{number}": archive(str(number), 60_000) for number in range(24)}
    contents["maya"] = archive("maya", 1_500_000)
    async with DevServer(offering(contents)) as dev:
        dev.faults.add("*/client.zip", Slow(4_000_000 / min(jobs, 4)), probes=True)
        async with most_at_once(dev) as most:
            assert_right(await run(dev, tmp_path, jobs=jobs), tmp_path, contents)
    assert 1 <= most[0] <= min(jobs, 16)
    assert most[0] >= min(jobs, 4)


@asynccontextmanager
async def most_at_once(dev: DevServer) -> AsyncIterator[list[int]]:
    """How many requests for archives the server answered at once, at the most."""
    most = [0]

    async def watch() -> None:
        while True:
            most[0] = max(most[0], sum(not record.done for record in dev.requests_to("*/client.zip")))
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def test_of_small_archives_as_many_are_asked_for_at_once_as_may_be(tmp_path: Path) -> None:
    contents = {f"addon{number}": archive(str(number), 10_000) for number in range(24)}
    async with DevServer(offering(contents)) as dev:
        dev.faults.add("*/client.zip", Slow(200_000))
        async with most_at_once(dev) as most:
            assert_right(await run(dev, tmp_path, jobs=8), tmp_path, contents)
    assert most[0] == 8


async def test_the_largest_begin_first(tmp_path: Path) -> None:
    sizes = {"core": 20_000, "houdini": 90_000, "maya": 40_000, "nuke": 60_000}
    contents = {name: archive(name, size) for name, size in sizes.items()}
    async with DevServer(offering(contents)) as dev:
        assert_right(await run(dev, tmp_path), tmp_path, contents)
        order = [record.path.split("/")[2] for record in downloads(dev)]
    assert order == ["houdini", "nuke", "maya", "core"]


# --- one archive over several connections ---------------------------------------------------------------------------


async def seconds(work: Awaitable[object]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


async def compared(dev: DevServer, folder: Path, content: bytes) -> tuple[float, float]:
    """Wall time with one connection, and with as many as pay, of which the better of two runs: machines stand still."""
    times = []
    for number, jobs in enumerate((1, 8, 8)):
        dev.forget_requests()
        times.append(await seconds(run(dev, folder / str(number), jobs=jobs)))
        assert (folder / f"{number}/addons/maya_1.0.0/data.bin").read_bytes() in content
    return times[0], min(times[1:])


async def test_split_where_each_connection_is_capped(tmp_path: Path) -> None:
    content = archive("maya", 4_000_000)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(2_000_000))
        alone, split = await compared(dev, tmp_path, content)
        assert len(downloads(dev)) > 3
        for record in downloads(dev)[1:]:
            assert record.headers["If-Range"]
            assert record.range is not None
            assert "," not in record.range
    print(f"capped: {alone:.2f} s alone, {split:.2f} s split, ratio {split / alone:.2f}")
    assert split < 0.7 * alone


async def test_the_largest_archive_is_helped_first(tmp_path: Path) -> None:
    contents = {"maya": archive("maya", 2_600_000), "nuke": archive("nuke", 3_000_000)}
    async with DevServer(offering(contents, attested=True)) as dev:
        dev.faults.add("*/client.zip", Slow(1_000_000))
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path, contents)
        helped = [record.path.split("/")[2] for record in downloads(dev) if record.range is not None]
    # The very first one may go to maya, where nothing came of nuke yet.
    assert helped[1:3] == ["nuke", "nuke"], "what remains of maya is more than nobody asked for yet of nuke"


async def test_split_where_the_link_is_the_limit(tmp_path: Path) -> None:
    content = archive("maya", 4_000_000)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        dev.faults.add(MAYA, Link(3_000_000))
        alone, split = await compared(dev, tmp_path, content)
    print(f"shared link: {alone:.2f} s alone, {split:.2f} s split, ratio {split / alone:.2f}")
    assert split < 1.15 * alone


@pytest.mark.parametrize(
    "fault", [IgnoresRange(), NewETag("split", heeds_if_range=False), NewETag("split"), WrongContentRange(size_off=1)]
)
async def test_a_split_that_the_server_does_not_do_is_given_up(
    tmp_path: Path, fault: IgnoresRange | NewETag | WrongContentRange
) -> None:
    content = archive("maya", 2_500_000)
    async with DevServer(offering({"maya": content})) as dev:
        dev.faults.add(MAYA, Slow(2_000_000))
        dev.faults.add(MAYA, fault, attempts=range(2, 100))
        report = await run(dev, tmp_path, jobs=8)
        assert_right(report, tmp_path, {"maya": content})
        assert len(downloads(dev)) <= 9
    assert downloads(dev)[0].range is None


async def test_a_split_that_breaks_costs_nothing(tmp_path: Path) -> None:
    content = archive("maya", 2_500_000)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(2_000_000))
        dev.faults.add(MAYA, Drop(100_000), attempts=range(2, 5))
        report = await run(dev, tmp_path, jobs=8)
        assert_right(report, tmp_path, {"maya": content})
        assert report.bytes_downloaded < 1.3 * len(content)


async def test_small_rests_are_not_split(tmp_path: Path) -> None:
    content = archive("maya", 320_000)
    async with DevServer(offering({"maya": content})) as dev:
        dev.faults.add(MAYA, Slow(250_000))
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, {"maya": content})
        assert len(downloads(dev)) == 1


# --- how fast -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "jobs"), [(2_000_000, 8), (1_500_000, 1)])
async def test_a_limit_holds_the_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, jobs: int) -> None:
    contents = {f"addon{number}": archive(str(number), rate // 2) for number in range(7)}
    received: list[tuple[float, int]] = []

    def note(snapshot: Snapshot) -> None:
        received.append((time.monotonic(), sum(item.received for item in snapshot.items)))

    async with DevServer(offering(contents)) as dev, forward_proxy(buffer=16384) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        received.append((time.monotonic(), 0))
        report = await run(dev, tmp_path, jobs=jobs, rate=rate, progress=note)
        assert_right(report, tmp_path, contents)
    passed, total = [(proxy.passed[0][0], 0)], 0
    for moment, count in proxy.passed:
        total += count
        passed.append((moment, total))
    for name, curve in (("on the wire", passed), ("at the client", received)):
        speed = speed_of(curve)
        print(f"{name}: {speed:,.0f} bytes/s of {rate:,}")
        assert 0.9 * rate <= speed <= 1.1 * rate, name


@pytest.mark.parametrize(("count", "size"), [(24, 60_000), (3, 480_000)])
async def test_a_low_limit_holds_for_small_archives_and_few(tmp_path: Path, count: int, size: int) -> None:
    contents = {f"addon{number}": archive(str(number), size) for number in range(count)}
    async with DevServer(offering(contents)) as dev:
        took = await seconds(run(dev, tmp_path, jobs=8, rate=480_000))
    ideal = count * size / 480_000
    assert 0.9 * ideal <= took <= 1.2 * ideal


def speed_of(curve: list[tuple[float, int]]) -> float:
    """Bytes a second, from the first ones to the last."""
    whole = curve[-1][1]
    started = max(moment for moment, count in curve if count == 0)
    ended = next(moment for moment, count in curve if count == whole)
    return whole / (ended - started)


@pytest.mark.parametrize("code", [429, 503])
async def test_busy_slows_the_whole_run(tmp_path: Path, code: int) -> None:
    contents = {f"addon{number}": archive(str(number), 100_000 - number) for number in range(12)}
    async with DevServer(offering(contents)) as dev:
        dev.faults.add("*/client.zip", Slow(400_000))
        dev.faults.add(path_of("addon5"), Busy(code, retry_after=1), attempts=1)
        async with most_at_once(dev) as most:
            task = asyncio.create_task(run(dev, tmp_path, jobs=8))
            await until(lambda: any(record.status == code for record in downloads(dev)))
            before = most[0]
            await asyncio.sleep(0.4)  # what had begun goes on
            most[0] = 0
            assert_right(await task, tmp_path, contents)
    [busy] = [record for record in downloads(dev) if record.status == code]
    begun = [record.started - busy.started for record in downloads(dev)]
    assert not [moment for moment in begun if 0.05 < moment < 0.95], "nobody may begin while the server wants a rest"
    assert before == 4
    assert most[0] <= 2
