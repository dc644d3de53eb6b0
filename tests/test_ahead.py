"""Large archives are unpacked while they arrive, and what comes of it counts only once they are verified."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ayon_async import SyncReport, fs
from ayon_async.devserver import DevServer, Studio, addon, noise, zip_bytes
from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.faults import Corrupt, Drop, Fault, IgnoresRange, NewETag, Slow
from ayon_async.devserver.reply import Lane, Reply
from ayon_async.progress import Phase, Snapshot
from ayon_async.transfer import Arrival, download
from ayon_async.transfer.part import Part
from ayon_async.transfer.ranges import Ranges
from ayon_async.unpack import Stopped, unpack
from studios import item_of, leftovers, studio
from transfer_bench import MAYA, break_with, offering, run, soon, until

MEMBERS = {f"folder{number % 7}/file{number}.bin": noise(40_000, f"member {number}") for number in range(75)}
CONTENT = zip_bytes(MEMBERS)
OURS = "addons/.ayon-async/staging"

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon", "worth_it")


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives of 3 MB are small; what is done with large ones takes only longer."""
    monkeypatch.setattr(download, "_WORTH_AHEAD", 1 << 20)
    monkeypatch.setattr(download, "_SLOW", 0)


@dataclass(frozen=True)
class Over(Fault):
    """All bodies come over this lane."""

    lane: Lane

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, lane=self.lane)


class Watched:
    """Counts the files that are unpacked while the archive arrives; once they are enough, its line is a fast one."""

    def __init__(self, folder: Path, rate: float, enough: int = 1) -> None:
        self._staging = folder / OURS
        self._lane, self._enough = Lane(rate), enough
        self.line = Over(self._lane)
        self.most = 0

    def __call__(self, snapshot: Snapshot) -> None:
        if any(item.phase is Phase.DOWNLOADING for item in snapshot.items):
            self.most = max(self.most, sum(path.is_file() for path in self._staging.rglob("*")))
        if self.most >= self._enough:
            self._lane.rate = 1e9


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.bin")
        if path.is_file() and ".ayon-async" not in path.parts
    }


def assert_right(report: SyncReport, folder: Path, members: dict[str, bytes] = MEMBERS) -> None:
    assert item_of(report, "maya 1.0.0").error is None
    assert files(folder / "addons/maya_1.0.0") == members
    assert leftovers(folder) == []


@pytest.mark.parametrize("attested", [True, False])
async def test_members_are_unpacked_before_the_last_byte_is_here(tmp_path: Path, attested: bool) -> None:
    members = {f"{number}.bin": noise(40_000, f"member {number}") for number in range(250)}
    watched = Watched(tmp_path, 2_000_000, enough=len(members) // 4)
    content = zip_bytes(members)
    async with DevServer(offering({"maya": content}, attested=attested)) as dev:
        dev.faults.add(MAYA, watched.line)
        report = await run(dev, tmp_path, jobs=4, progress=watched)
        assert_right(report, tmp_path, members)
    assert report.bytes_downloaded <= 1.1 * len(content)
    assert watched.most >= len(members) // 4


async def test_a_small_archive_is_unpacked_when_it_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_WORTH_AHEAD", len(CONTENT) + 1)
    watched = Watched(tmp_path, 4_000_000)
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, watched.line)
        assert_right(await run(dev, tmp_path, jobs=4, progress=watched), tmp_path)
    assert watched.most == 0


async def test_one_connection_and_no_ranges_do_as_well(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Slow(4_000_000))
        assert_right(await run(dev, tmp_path / "one", jobs=1), tmp_path / "one")
        dev.faults.add(MAYA, IgnoresRange())
        assert_right(await run(dev, tmp_path / "whole", jobs=4), tmp_path / "whole")


async def test_what_fails_its_checksum_leaves_nothing(tmp_path: Path) -> None:
    watched = Watched(tmp_path, 600_000)
    async with DevServer(studio({"maya 1.0.0": addon(CONTENT, checksum="0" * 64)})) as dev:
        dev.faults.add(MAYA, watched.line)
        report = await run(dev, tmp_path, jobs=4, progress=watched)
    error = item_of(report, "maya 1.0.0").error
    assert error is not None
    assert hashlib.sha256(CONTENT).hexdigest() in str(error)
    assert "0" * 64 in str(error)
    assert watched.most > 0
    assert not (tmp_path / "addons/maya_1.0.0").exists()
    assert list((tmp_path / OURS).iterdir()) == []


async def test_what_failed_its_checksum_is_never_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the wrong archive may be unpacked before its digest is known, as that of a resumed part is late."""
    unpacked, catch_up = threading.Event(), Part.catch_up
    flush_tree = fs.flush_tree

    def flushed(root: Path, before_each: Callable[[], None]) -> None:
        flush_tree(root, before_each)
        unpacked.set()

    def late(part: Part) -> bool:
        if part.complete and unpacked.wait(5):
            threading.Event().wait(0.2)  # until its thread has ended too
        return catch_up(part)

    monkeypatch.setattr(fs, "flush_tree", flushed)
    monkeypatch.setattr(Part, "catch_up", late)
    wrong = zip_bytes({name: data[::-1] for name, data in MEMBERS.items()})
    async with DevServer(Studio(files={"/static/maya.zip": wrong})) as mirror:
        sources = [
            {"type": "http", "url": f"{mirror.url}/static/maya.zip"},
            {"type": "server", "filename": "client.zip"},
        ]
        async with DevServer(offering({"maya": CONTENT}, attested=True, sources={"maya": sources})) as dev:
            report = await run(dev, tmp_path, jobs=4)
            assert_right(report, tmp_path)
            assert item_of(report, "maya 1.0.0").source == dev.url + MAYA


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can exchange an open file there")
async def test_what_is_unpacked_is_the_file_that_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = zip_bytes({name: data[::-1] for name, data in MEMBERS.items()})
    reader, exchanged = Part.reader, []

    def exchange(part: Part) -> Arrival:
        part.path.unlink()
        part.path.write_bytes(evil)
        exchanged.append(part)
        return reader(part)

    monkeypatch.setattr(Part, "reader", exchange)
    async with DevServer(offering({"maya": CONTENT}, attested=True)) as dev:
        dev.faults.add(MAYA, Slow(2_000_000))
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path)
    assert exchanged


async def test_what_was_put_together_wrongly_is_unpacked_anew(tmp_path: Path) -> None:
    """No checksum tells; the archive does, by the CRC of the member that a later piece has wrong."""
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Slow(800_000), attempts=range(1, 6))
        dev.faults.add(MAYA, Corrupt(5_000, only_resumed=True))
        report = await run(dev, tmp_path, jobs=4)
        assert_right(report, tmp_path)


async def test_what_changed_on_the_way_is_unpacked_anew(tmp_path: Path) -> None:
    newer = {name: data[::-1] for name, data in MEMBERS.items()}
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Slow(900_000), attempts=range(1, 5))
        break_with(dev, Drop(900_000), first=2)

        def change(snapshot: Snapshot) -> None:
            if any(item.attempt > 1 for item in snapshot.items):
                dev.studio = offering({"maya": zip_bytes(newer)})

        report = await run(dev, tmp_path, jobs=2, progress=change)
    assert_right(report, tmp_path, files(tmp_path / "addons/maya_1.0.0"))
    assert files(tmp_path / "addons/maya_1.0.0") in (MEMBERS, newer)


async def test_a_new_validator_in_the_middle(tmp_path: Path) -> None:
    async with DevServer(offering({"maya": CONTENT})) as dev:
        dev.faults.add(MAYA, Slow(900_000), attempts=range(1, 4))
        break_with(dev, Drop(700_000), NewETag("other"), first=2)
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path)


async def test_a_bad_member_is_told_as_ever(tmp_path: Path) -> None:
    bad = zip_bytes({**MEMBERS, "../out.bin": b"x"})
    async with DevServer(offering({"maya": bad})) as dev:
        dev.faults.add(MAYA, Slow(3_000_000))
        report = await run(dev, tmp_path, jobs=4)
    error = item_of(report, "maya 1.0.0").error
    assert error is not None
    assert "../out.bin" in str(error)
    assert leftovers(tmp_path) == []


async def test_cancelled_in_the_middle(tmp_path: Path) -> None:
    watched = Watched(tmp_path, 600_000, enough=len(MEMBERS))
    async with DevServer(offering({"maya": CONTENT}, attested=True)) as dev:
        dev.faults.add(MAYA, watched.line)
        task = asyncio.create_task(run(dev, tmp_path, jobs=4, progress=watched))
        await until(lambda: watched.most > 3 or task.done())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((tmp_path / OURS).iterdir()) == []
        assert list((tmp_path / "addons/.ayon-async/parts").glob("*.part")) != []
        dev.faults.clear()
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path)


# --- the reader -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_bytes_may_arrive_in_any_order(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    members = {**MEMBERS, "large.bin": noise(6_000_000, "large"), "empty/": b"", "zeros.bin": bytes(9_000_000)}
    content = zip_bytes(members, stored=seed % 2 == 0)
    starts = list(range(0, len(content), 65_536))
    dice.shuffle(starts)
    file = io.BytesIO(bytes(len(content)))
    arrival = Arrival(file, len(content))

    def arrive() -> None:
        here = Ranges()
        for start in starts:
            piece = content[start : start + 65_536]
            file.getbuffer()[start : start + len(piece)] = piece
            here = here.add(start, start + len(piece))
            arrival.put(here)

    thread = threading.Thread(target=arrive)
    thread.start()
    unpacked = unpack(file, tmp_path / "out", name="maya", arrival=arrival, flush=False)
    thread.join()
    assert files(tmp_path / "out") == {name: data for name, data in members.items() if data}
    assert {member.path for member in unpacked.members} == {name for name in members if not name.endswith("/")}


def test_who_waits_is_told_that_nothing_comes(tmp_path: Path) -> None:
    arrival = Arrival(io.BytesIO(CONTENT), len(CONTENT))
    arrival.put(Ranges(((0, len(CONTENT) // 2),)))
    timer = threading.Timer(0.05, arrival.end)
    timer.start()
    with pytest.raises(Stopped):
        unpack(arrival.file, tmp_path / "out", name="maya", arrival=arrival, flush=False)
    timer.join()
    assert not (tmp_path / "out").exists()
