"""Many at one store: each archive comes once, whoever dies or stops is done without, and nothing is spoilt."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ayon_async import store as stores
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Link, Slow
from ayon_async.store import lease
from ayon_async.store.record import Progress, read_progress
from cli_machine import Machine
from store_processes import Zygote, content, leftovers, until
from store_steps import STEPS, STUDIO, leave_unfinished

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork, and /proc to see that a process stopped")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can have a host name of its own"
)

SIZE = 100_000
ARCHIVES = ("/addons/core/1.0.0/*", "/addons/maya/*", "/addons/nuke/*", "/api/desktop/dependencyPackages/*")
HURRY = {
    "ayon_async.store.lease.STANDS_STILL": 0.8,
    "ayon_async.store.lease.COUNT_EVERY": 0.1,
    "ayon_async.store.lease.POLL": 0.05,
}
SLOW = 500_000


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(SIZE)) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


def fetched(server: DevServer, path: str) -> int:
    """How often an archive was asked for, not counting what asks for its size only."""
    return sum(record.range != "bytes=0-0" for record in server.requests_to(path))


async def reference(zygote: Zygote, server: DevServer, folder: Path) -> dict[str, Any]:
    """What a sync alone leaves."""
    folder.mkdir()  # noqa: ASYNC240
    alone = Machine(folder, server.url)
    assert (await zygote.run(alone, "sync")).code == 0
    return content(alone.storage)


# --- eight processes ------------------------------------------------------------------------------------------------


async def test_eight_processes_fetch_each_archive_once(
    zygote: Zygote, server: DevServer, machine: Machine, tmp_path: Path
) -> None:
    right = await reference(zygote, server, tmp_path / "alone")
    server.forget_requests()
    server.faults.add("*", Link(SLOW))
    processes = [zygote.start(machine, "sync", "--json") for _ in range(8)]
    ended = [await process.ended() for process in processes]
    assert [one.code for one in ended] == [0] * 8, [one.err for one in ended]
    assert {path: fetched(server, path) for path in ARCHIVES} == dict.fromkeys(ARCHIVES, 1)
    assert sum(one.document["bytes_downloaded"] for one in ended) == sum(
        item["size"] for item in ended[0].document["items"]
    )
    assert content(machine.storage) == right
    assert leftovers(machine.storage) == []


async def test_one_of_eight_is_killed(zygote: Zygote, server: DevServer, machine: Machine, tmp_path: Path) -> None:
    """Whoever waited goes on at once, with what had arrived."""
    right = await reference(zygote, server, tmp_path / "alone")
    server.forget_requests()
    server.faults.add("*", Link(SLOW))
    victim = zygote.start(machine, "sync", "--json")
    await until(lambda: server.bytes_sent() > 30_000)
    others = [zygote.start(machine, "sync", "--json") for _ in range(7)]
    await until(lambda: server.bytes_sent() > 150_000)
    await victim.send(signal.SIGKILL)
    ended = [await process.ended() for process in others]
    assert (await victim.ended()).code == -signal.SIGKILL
    assert [one.code for one in ended] == [0] * 7, [one.err for one in ended]
    assert all(fetched(server, path) <= 2 for path in ARCHIVES)
    assert content(machine.storage) == right
    assert leftovers(machine.storage) == []


async def test_two_bundles_that_share_items(zygote: Zygote, server: DevServer, machine: Machine) -> None:
    server.faults.add("*", Link(SLOW))
    processes = [zygote.start(machine, "sync", *options) for options in ([], ["--use-staging"])]
    assert [(await process.ended()).code for process in processes] == [0, 0]
    assert {path: fetched(server, path) for path in ARCHIVES} == dict.fromkeys(ARCHIVES, 1)
    assert fetched(server, "/addons/core/1.1.0/*") == 1
    assert leftovers(machine.storage) == []
    for options in ((), ("--use-staging",)):
        assert (await machine.call("status", *options)).code == 0


# --- where files can't be locked ------------------------------------------------------------------------------------


def marker(machine: Machine) -> str:
    protocol = json.loads((machine.storage / "addons/.ayon-async/store.json").read_bytes())["locks"]
    assert isinstance(protocol, str)
    return protocol


async def test_protocol_is_the_stores(zygote: Zygote, server: DevServer, machine: Machine) -> None:
    """Whoever made it decided: two that believe different things of a file system would both hold the lease."""
    server.faults.add("*", Link(SLOW))
    first = zygote.start(machine, "sync", no_flock=True)
    await until(lambda: server.bytes_sent() > 10_000)
    assert marker(machine) == "counter"
    second = zygote.start(machine, "sync")
    assert [(await process.ended()).code for process in (first, second)] == [0, 0]
    assert {path: fetched(server, path) for path in ARCHIVES} == dict.fromkeys(ARCHIVES, 1)
    assert leftovers(machine.storage) == []


async def test_locks_that_are_missing_are_said(zygote: Zygote, server: DevServer, machine: Machine) -> None:
    assert (await zygote.run(machine, "sync", "--use-staging")).code == 0
    assert marker(machine) == "flock"
    refused = await zygote.run(machine, "sync", no_flock=True)
    assert refused.code == 1
    assert "core 1.0.0: This system can't lock files in" in refused.err
    assert "Mount the file system with locks" in refused.err


@as_root
@pytest.mark.parametrize("dies", [False, True], ids=["both live", "one dies"])
async def test_two_hosts_without_locks(zygote: Zygote, server: DevServer, machine: Machine, dies: bool) -> None:
    hurry = HURRY if dies else {}
    link = server.faults.add("*", Link(SLOW))
    one = zygote.start(machine, "sync", "--json", no_flock=True, host="node1", constants=hurry)
    await until(lambda: server.bytes_sent() > 30_000)
    other = zygote.start(machine, "sync", "--json", no_flock=True, host="node2", constants=hurry)
    if dies:
        await until(lambda: server.bytes_sent() > 60_000)
        await one.send(signal.SIGKILL)
        await one.ended()
        server.faults.remove(link)
    ended = await other.ended()
    assert ended.code == 0, ended.err
    assert (await one.ended()).code == (-signal.SIGKILL if dies else 0)
    assert all(fetched(server, path) <= 1 + dies for path in ARCHIVES)
    assert set((await machine.call("status", "--json")).states.values()) == {"up_to_date"}
    assert leftovers(machine.storage) == []


async def test_what_a_dead_holder_had_is_gone_on_with(zygote: Zygote, tmp_path: Path) -> None:
    async with DevServer(STUDIO) as server:
        machine = Machine(tmp_path, server.url)
        how: dict[str, Any] = {"no_flock": True, "constants": HURRY}
        step = ("write", "addons/.ayon-async/parts/.*.json.*.tmp", 3)  # its last bytes are there
        assert (await zygote.run(machine, "sync", "--jobs", "1", kill=step, **how)).code == -signal.SIGKILL
        had = max(path.stat().st_size for path in machine.storage.glob("addons/.ayon-async/parts/*.part"))
        assert had > 2_000_000
        server.forget_requests()
        assert (await zygote.run(machine, "sync", "--jobs", "1", **how)).code == 0
        assert server.bytes_asked("/addons/core/*") < 3_000_000 - had + 2 * 1024 * 1024 - 1_000_000
        assert leftovers(machine.storage) == []


def test_takeover_takes_half_a_minute_at_the_most() -> None:
    """A holder has many chances to be seen alive before that, and who waits sees at once when it stood still."""
    assert lease.STANDS_STILL + lease.COUNT_EVERY + 2 * lease.POLL < 30
    assert lease.COUNT_EVERY * 5 < lease.STANDS_STILL


async def test_lease_that_was_given_back_in_a_thread_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor may be another file's by then: who comes to count, or to give it back, does nothing to that."""
    monkeypatch.setattr(lease, "COUNT_EVERY", 0.01)
    file = tmp_path / "x.lease"
    async with lease.Leases(tmp_path, "counter", 0o600, lease.Holder()).hold("x", lambda: None) as held:
        await until(lambda: file.stat().st_mtime > 0)  # it counts
        await asyncio.to_thread(held.give_back)
        assert not file.exists()
        other = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
        os.utime(other, (1, 1))
        await asyncio.sleep(0.1)
        held.count(1000)
    assert os.fstat(other).st_mtime == 1
    os.close(other)


@pytest.mark.slow
async def test_takeover_without_locks_in_real_time(zygote: Zygote, server: DevServer, machine: Machine) -> None:
    link = server.faults.add("*", Link(SLOW))
    victim = zygote.start(machine, "sync", no_flock=True)
    await until(lambda: server.bytes_sent() > 30_000)
    await victim.send(signal.SIGKILL)
    await victim.ended()
    server.faults.remove(link)
    async with asyncio.timeout(30):
        assert (await zygote.run(machine, "sync", no_flock=True)).code == 0
    assert leftovers(machine.storage) == []


# --- an owner that is stopped and comes back ------------------------------------------------------------------------

MOMENTS = ("write the part", "write a member", "rename")
MORE_MOMENTS = (
    "replace the sidecar",
    "flush the members",
    "write the launcher's record",
    "remove the part",
    "set the old folder aside",
    "flush the parent",
    "remove the old folder",
)


async def stop_and_return(zygote: Zygote, tmp_path: Path, moment: str, no_flock: bool) -> None:
    async with DevServer(STUDIO) as server:
        machine = Machine(tmp_path, server.url)
        leave_unfinished(machine.storage)
        how: dict[str, Any] = {"constants": HURRY, "no_flock": no_flock}
        owner = zygote.start(machine, "sync", "--json", "--jobs", "1", stop=STEPS[moment], **how)
        await owner.stopped()
        other = await zygote.run(machine, "sync", "--json", **how)
        assert other.code == 0, other.err
        right = content(machine.storage)
        await owner.send(signal.SIGCONT)
        returned = await owner.ended()
        assert returned.code == 0, returned.err
        assert content(machine.storage) == right
        again = await zygote.run(machine, "sync", "--json", **how)
        assert (again.code, again.document["bytes_downloaded"]) == (0, 0)
        assert leftovers(machine.storage) == []


@pytest.mark.parametrize("no_flock", [False, True], ids=["flock", "counter"])
@pytest.mark.parametrize("moment", [*MOMENTS, *(pytest.param(m, marks=pytest.mark.slow) for m in MORE_MOMENTS)])
async def test_stopped_owner_that_returns(zygote: Zygote, tmp_path: Path, moment: str, no_flock: bool) -> None:
    """The others do its work meanwhile, and what it still does is in nobody's way."""
    await stop_and_return(zygote, tmp_path, moment, no_flock)


async def test_stopped_owner_that_returns_while_another_is_at_it(zygote: Zygote, tmp_path: Path) -> None:
    """Both are at the same item, each with what is its own; whoever is first wins."""
    async with DevServer(STUDIO) as server:
        machine = Machine(tmp_path, server.url)
        leave_unfinished(machine.storage)
        owner = zygote.start(machine, "sync", "--json", stop=STEPS["write the part"], constants=HURRY)
        await owner.stopped()
        server.forget_requests()
        server.faults.add("/addons/core/*", Slow(1_000_000))
        other = zygote.start(machine, "sync", "--json", constants=HURRY)
        await until(lambda: server.bytes_sent("/addons/core/*") > 300_000)
        await owner.send(signal.SIGCONT)
        for process in (owner, other):
            ended = await process.ended()
            assert ended.code == 0, ended.err
        assert (await zygote.run(machine, "sync", "--json")).document["bytes_downloaded"] == 0
        assert leftovers(machine.storage) == []


async def test_stopped_owner_whose_own_work_was_cleared_away(zygote: Zygote, tmp_path: Path) -> None:
    """It waits for what the others make of it; they are stopped in turn, and it takes over again."""
    async with DevServer(STUDIO) as server:
        machine = Machine(tmp_path, server.url)
        one = zygote.start(machine, "sync", "--json", stop=STEPS["write a member"], constants=HURRY)
        await one.stopped()
        two = zygote.start(machine, "sync", "--json", stop=STEPS["flush the members"], constants=HURRY)
        await two.stopped()
        await one.send(signal.SIGCONT)
        first = await one.ended()
        assert (first.code, first.states["core"]) == (0, "installed"), first.err
        await two.send(signal.SIGCONT)
        second = await two.ended()
        assert (second.code, second.states["core"]) == (0, "up_to_date"), second.err
        assert (await zygote.run(machine, "sync", "--json")).document["bytes_downloaded"] == 0
        assert leftovers(machine.storage) == []


# --- official launchers ---------------------------------------------------------------------------------------------


def moving(folder: Path, progress_id: str = "1") -> None:
    """What a launcher writes while it moves files into an item's folder."""
    says(folder, state="moving", progress_id=progress_id)


def says(folder: Path, **progress: str) -> None:
    """Write a launcher's word on an item; whoever reads meanwhile gets the former one, not half of this."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f"{folder.name}.json")
    new.write_text(json.dumps(progress))
    new.replace(folder / "dist_progress.json")


async def test_launcher_that_goes_on_is_waited_for(
    server: DevServer, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change of what it says begins the wait anew."""
    assert stores.MOVING_SECONDS == 20
    folder = machine.storage / "addons/core_1.0.0"
    now, looks = 0.0, 0

    def look(path: Path) -> Progress | None:
        nonlocal looks
        looks += path == folder
        return read_progress(path)

    monkeypatch.setattr(stores, "read_progress", look)
    monkeypatch.setattr(stores, "time", SimpleNamespace(monotonic=lambda: now))
    moving(folder)
    running = asyncio.create_task(machine.call("sync", "--json"))
    for progress_id in ("2", "3", "4", "5"):
        moving(folder, progress_id)
        seen = looks + 2  # the one under way may have read what was there before
        await until(lambda: looks > seen)  # noqa: B023 - awaited at once
        now += 15
    (folder / "theirs.py").write_text("")
    says(folder, state="done")
    ended = await running
    assert (ended.code, ended.states["core"], ended.states["maya"]) == (0, "up_to_date", "installed")
    assert (folder / "theirs.py").exists()
    assert fetched(server, "/addons/core/*") == 0


async def test_launcher_that_goes_on_no_more(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOVING_SECONDS", 0.5)
    folder = machine.storage / "addons/core_1.0.0"
    moving(folder)
    (folder / "theirs.py").write_text("")
    ended = await machine.call("sync", "--json")
    assert (ended.code, ended.states["core"]) == (0, "installed")
    assert not (folder / "theirs.py").exists()
    assert leftovers(machine.storage) == []


async def test_old_leftovers_of_two_launchers(
    zygote: Zygote, server: DevServer, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders without a word, half unzipped and half moved ones, and what failed: all are replaced by complete ones."""
    monkeypatch.setattr(stores, "MOVING_SECONDS", 0.5)
    right = await reference(zygote, server, tmp_path / "alone")
    addons = machine.storage / "addons"
    moving(addons / "core_1.0.0")
    (addons / "core_1.0.0/unzip_temp/ayon_core").mkdir(parents=True)
    (addons / "core_1.0.0/unzip_temp/ayon_core/version.py").write_text("half")
    (addons / "core_1.0.0/core_1.0.0.zip").write_bytes(b"PK")
    (addons / "maya_1.0.0/ayon_maya").mkdir(parents=True)
    (addons / "maya_1.0.0/ayon_maya/__init__.py").write_text("half")
    (addons / "nuke_1.0.0").write_bytes(b"a file where a folder belongs")
    package = machine.storage / "dependency_packages/ayon_tiny_linux.zip"
    (package / "dependencies").mkdir(parents=True)
    (package / "dist_progress.json").write_text('{"state": "failed"}')
    ended = await machine.call("sync", "--json")
    assert (ended.code, set(ended.states.values())) == (0, {"installed"})
    assert content(machine.storage) == right
    assert leftovers(machine.storage) == []
