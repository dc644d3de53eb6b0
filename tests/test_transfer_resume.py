"""Never again: what another run, another process or another bundle received is not asked for a second time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from ayon_async import BundleChoice, Store, fs
from ayon_async.checksum import Hasher
from ayon_async.devserver import Bundle, DevServer
from ayon_async.devserver.faults import Drop, Link, NewETag, Silence, Slow
from ayon_async.errors import StoreFull
from ayon_async.http import Timeouts
from ayon_async.transfer.part import Part, Validator
from studios import leftovers, platform_package, studio
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
from transfer_client import started

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

MIB = 1 << 20
SIZE = 600_000
HALF = 300_000
CONTENT = archive("maya", SIZE)
STUCK = Timeouts(connect=2, silence=0.1)


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


async def interrupted(dev: DevServer, folder: Path, after: int = HALF) -> None:
    """A run that ends with so many bytes of the archive."""
    break_with(dev, Drop(after))
    report = await run(dev, folder, retries=0)
    assert [item.state for item in report.items] == ["failed"]
    dev.faults.clear()
    dev.forget_requests()


# --- another run ----------------------------------------------------------------------------------------------------


async def test_another_run_goes_on(dev: DevServer, tmp_path: Path) -> None:
    await interrupted(dev, tmp_path)
    report = await run(dev, tmp_path)
    assert_right(report, tmp_path, {"maya": CONTENT})
    assert [record.range for record in downloads(dev)] == [f"bytes={HALF}-"]
    assert report.bytes_downloaded == SIZE - HALF


async def test_several_connections_ask_for_nothing_twice(tmp_path: Path) -> None:
    content = archive("maya", 4_000_000)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        await interrupted(dev, tmp_path, after=500_000)
        dev.faults.add(MAYA, Slow(500_000))
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, {"maya": content})
        assert len(downloads(dev)) >= 4
        assert asked(dev) == 3_500_000


def test_what_was_written_is_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    part = Part(path, set())
    part.size, part.validator = MIB, Validator("http://a.example/x", '"1"')
    for start in (0, 500_000, 700_000):
        part.write([(start, [bytes(100_000)])])
        again = Part(path, set())
        assert again.done == part.done
        again.close()
    part.close()


def test_what_came_at_once_is_known_to_the_next_run_where_it_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.part"
    part = Part(path, set())
    part.size, part.validator = 1000, Validator("http://a.example/x", '"1"')
    part.write([(0, [bytes(1000)])])
    assert not path.with_suffix(".json").exists()  # most are in their place a moment later
    part.save()
    part.close()
    again = Part(path, set())
    assert again.complete
    again.close()


async def test_another_run_starts_over_where_the_archive_changed(plain: DevServer, tmp_path: Path) -> None:
    await interrupted(plain, tmp_path)
    new = archive("another maya", SIZE)
    plain.studio = offering({"maya": new})
    assert_right(await run(plain, tmp_path), tmp_path, {"maya": new})


async def test_a_cancelled_run_loses_nothing(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add(MAYA, Slow(SIZE))
    task = asyncio.create_task(run(dev, tmp_path))
    await until(lambda: sent(dev) >= HALF)
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 1
    had = sent(dev)
    dev.faults.clear()
    dev.forget_requests()
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
    assert asked(dev) <= SIZE - had + 100_000  # what was on its way


async def fetched_only(dev: DevServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fetches the archive and then fails."""

    def full(*_: object, **__: object) -> None:
        raise StoreFull("There is no room left.", "Free some.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "sealing", full)
        report = await run(dev, folder)
    assert [item.error and item.error.type for item in report.items] == ["StoreFull"]
    dev.forget_requests()


async def test_a_complete_archive_is_not_asked_for(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetched_only(dev, tmp_path, monkeypatch)
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
    assert asked(dev) == 0


async def test_a_complete_archive_is_not_believed_where_it_changed(
    plain: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetched_only(plain, tmp_path, monkeypatch)
    new = archive("another maya", SIZE)
    plain.studio = offering({"maya": new})
    assert_right(await run(plain, tmp_path), tmp_path, {"maya": new})


@pytest.mark.parametrize("damage", ["sidecar", "shorter", "bytes", "gone"])
async def test_a_damaged_part_is_not_believed(dev: DevServer, tmp_path: Path, damage: str) -> None:
    await interrupted(dev, tmp_path)
    folder = tmp_path / "addons/.ayon-async/parts"
    [part] = folder.glob("*.part")
    [sidecar] = folder.glob("*.json")
    match damage:
        case "sidecar":
            sidecar.write_bytes(sidecar.read_bytes()[:-3])
        case "shorter":
            os.truncate(part, HALF - 1)
        case "bytes":
            part.write_bytes(bytes(HALF))
        case "gone":
            part.unlink()
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})


# --- another bundle, another item -----------------------------------------------------------------------------------


async def test_another_bundle_goes_on(tmp_path: Path) -> None:
    other = Bundle("other", {"maya": "1.0.0"})
    async with DevServer(offering({"maya": CONTENT}, bundles=[other])) as dev:
        await interrupted(dev, tmp_path)
        assert_right(await run(dev, tmp_path, BundleChoice(bundle="other")), tmp_path, {"maya": CONTENT})
        assert asked(dev) == SIZE - HALF


async def test_another_item_with_the_same_archive_goes_on(tmp_path: Path) -> None:
    other = Bundle("other", {"fork": "1.0.0"})
    contents = {"maya": CONTENT, "fork": CONTENT}
    async with DevServer(offering(contents, attested=True, bundles=[other], addons={"maya": "1.0.0"})) as dev:
        await interrupted(dev, tmp_path)
        assert_right(await run(dev, tmp_path, BundleChoice(bundle="other")), tmp_path, {"fork": CONTENT})
        assert asked(dev) == SIZE - HALF


async def test_two_items_of_a_run_share_an_archive(tmp_path: Path) -> None:
    contents = {"maya": CONTENT, "fork": CONTENT}
    async with DevServer(offering(contents, attested=True)) as dev:
        dev.faults.add("*/client.zip", Slow(4 * SIZE))
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path, contents)
        assert asked(dev) == SIZE


async def test_a_package_is_resumed_as_well(tmp_path: Path) -> None:
    package = platform_package("package.zip", CONTENT)
    async with DevServer(studio({}, packages=[package])) as dev:
        path = "/api/desktop/dependencyPackages/package.zip"
        dev.faults.add(path, Drop(HALF), attempts=1)
        await run(dev, tmp_path, retries=0)
        dev.forget_requests()
        report = await run(dev, tmp_path)
        assert [(item.state, item.verified_by[0]) for item in report.items] == [("installed", "checksum")]
        assert [record.range for record in dev.requests_to(path)] == [f"bytes={HALF}-"]
    assert leftovers(tmp_path) == []


# --- killed ---------------------------------------------------------------------------------------------------------


class Tap(Link):
    """One slow line for all, which can be shut."""

    def shut(self) -> None:
        self._lane.rate = 1e-3


async def killed(
    dev: DevServer, folder: Path, when: float, contents: Mapping[str, bytes], *, jobs: int, tap: Tap, quiet: bool
) -> dict[str, int]:
    """Bytes asked for again, by archive, after a run was killed when it had got this share of all.

    Args:
        quiet: Whether what is on its way arrives before the kill: then every byte that was sent has been received.
    """
    dev.faults.add("*/client.zip", tap)
    total = sum(map(len, contents.values()))
    with started(dev.url, folder, jobs=jobs) as (process, _):
        await until(lambda: sent(dev) >= when * total or not process.is_alive())
        tap.shut()
        if quiet:
            await asyncio.sleep(0.3)
        process.kill()
        await asyncio.to_thread(process.join)
    missing = {name: max(0, len(content) - sent(dev, path_of(name))) for name, content in contents.items()}
    dev.faults.clear()
    dev.forget_requests()
    report = await run(dev, folder, jobs=jobs)
    assert {item.state for item in report.items} <= {"installed", "up_to_date"}
    for name, content in contents.items():
        assert (folder / f"addons/{name}_1.0.0/data.bin").read_bytes() in content
    assert leftovers(folder) == []
    return {name: asked(dev, path_of(name)) - missing[name] for name in contents}


@pytest.mark.parametrize("when", [0.1, 0.6, 0.99])
async def test_killed_at(tmp_path: Path, when: float) -> None:
    contents = {name: archive(name, 5_000_000) for name in ("core", "maya", "nuke", "houdini")}
    async with DevServer(offering(contents)) as dev:
        again = await killed(dev, tmp_path, when, contents, jobs=4, tap=Tap(16_000_000), quiet=True)
    print(f"killed at {when:.0%}: asked for again {again}")
    assert max(again.values()) <= 2 * MIB


@pytest.mark.parametrize("seed", range(20))
async def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    contents = {name: archive(name, dice.randrange(1_000_000, 3_500_000)) for name in ("core", "maya")}
    jobs, rate = dice.choice([1, 2, 4, 8]), 7_000_000
    async with DevServer(offering(contents, attested=seed % 2 == 0)) as dev:
        again = await killed(dev, tmp_path, dice.random(), contents, jobs=jobs, tap=Tap(rate), quiet=False)
    print(f"asked for again {again}")
    on_their_way = jobs * rate // 20  # the server sends portions of a twentieth of a second
    assert max(again.values()) <= 2 * MIB + on_their_way


async def test_killed_while_the_server_is_silent(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Silence(HALF))
        with started(dev.url, tmp_path, jobs=1) as (process, _):
            await until(lambda: len(list((tmp_path / "addons/.ayon-async/parts").glob("*.json"))) == 1)
            process.kill()
            await asyncio.to_thread(process.join)
        dev.faults.clear()
        dev.forget_requests()
        assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
        assert asked(dev) == SIZE - HALF


# --- hashing --------------------------------------------------------------------------------------------------------


class Counts:
    """Bytes that were hashed, and bytes that were read back for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashed = self.read = 0
        update, read_at = Hasher.update, fs.read_at

        def counted_update(hasher: Hasher, data: bytes | bytearray | memoryview) -> None:
            self.hashed += len(data)
            update(hasher, data)

        def counted_read(fd: int, count: int, position: int) -> bytes:
            data = read_at(fd, count, position)
            self.read += len(data)
            return data

        monkeypatch.setattr(Hasher, "update", counted_update)
        monkeypatch.setattr(fs, "read_at", counted_read)


async def test_nothing_is_hashed_twice_or_read_back_without_need(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts(monkeypatch)
    break_with(dev, Drop(HALF))
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
    assert (counts.hashed, counts.read) == (SIZE, 0)


async def test_what_is_resumed_is_hashed_from_disk(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await interrupted(dev, tmp_path)
    counts = Counts(monkeypatch)
    report = await run(dev, tmp_path)
    assert_right(report, tmp_path, {"maya": CONTENT})
    assert (counts.hashed, counts.read) == (SIZE, HALF)
    assert report.items[0].checksum == hashlib.sha256(CONTENT).hexdigest()


async def test_what_several_connections_brought_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive("maya", 8_000_000)
    counts = Counts(monkeypatch)
    async with DevServer(offering({"maya": content}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(3_000_000))
        assert_right(await run(dev, tmp_path, jobs=8), tmp_path, {"maya": content})
        assert len(downloads(dev)) > 2
    assert counts.hashed == len(content)
    assert 0 < counts.read < len(content)


# --- what is left ---------------------------------------------------------------------------------------------------


async def test_parts_of_a_week_ago_are_removed_unless_somebody_works_on_them(tmp_path: Path) -> None:
    names = ("core", "maya", "nuke", "houdini")
    other = Bundle("other", {"core": "1.0.0"})
    async with DevServer(offering({name: archive(name, 50_000) for name in names}, bundles=[other])) as dev:
        dev.faults.add("*/client.zip", Drop(25_000))
        await run(dev, tmp_path, retries=0)
        dev.faults.clear()
        folder = tmp_path / "addons/.ayon-async/parts"
        part = {
            name: part
            for part in folder.glob("*.part")
            for name in names
            if path_of(name).encode() in part.with_suffix(".json").read_bytes()
        }
        assert part.keys() == set(names)
        long_ago = time.time() - 8 * 24 * 3600
        for path in folder.iterdir():
            os.utime(path, (long_ago, long_ago))
        os.utime(part["nuke"])  # this one was gone on with
        store = Store.at(tmp_path)
        await store.prepare("addon")
        async with store.lease("addon", store.root("addon").part_lease(part["houdini"]), lambda: None):
            await run(dev, tmp_path, BundleChoice(bundle="other"))
        left = {path.name for path in folder.iterdir()}
    kept = (part["nuke"], part["houdini"])
    assert left == {path.name for path in kept} | {path.with_suffix(".json").name for path in kept}


async def test_a_new_validator_for_the_same_bytes_costs_a_download_without_a_checksum_only(
    dev: DevServer, tmp_path: Path
) -> None:
    await interrupted(dev, tmp_path)
    dev.faults.add(MAYA, NewETag("uploaded again"), probes=True)
    assert_right(await run(dev, tmp_path, timeouts=QUICK), tmp_path, {"maya": CONTENT})
    assert asked(dev) == SIZE
