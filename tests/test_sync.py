"""What a run does and what it says of it: outcomes, requests, crowds, cancellation."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import json
import stat
import sys
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayon_async import AyonServer, BundleChoice, Phase, Snapshot, Store, fs, status, sync
from ayon_async.devserver import AddonVersion, Bundle, DevServer, Project, addon, client_zip, tiny_studio, zip_bytes
from ayon_async.devserver.faults import Body, Corrupt, Fault, Shortened, Slow, Status, Truncated
from ayon_async.errors import AccessDenied, ArchiveError, ServerUnreachable
from launcher_rules import addon_is_installed
from studios import (
    KEY,
    RIGHT,
    everything,
    item_of,
    leftovers,
    names_in,
    platform_package,
    reached,
    signed_in,
    small,
    states,
    studio,
    synced,
    why,
)
from unpack_samples import TREE, make_tar, read_tree

MAYA, CORE = "maya 1.0.0", "core 1.0.0"


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as running:
        yield running


# --- what is said of an item ------------------------------------------------------------------------------------------


async def test_the_items_of_a_report(tmp_path: Path) -> None:
    digest = hashlib.sha256(RIGHT).hexdigest()
    house = studio({MAYA: RIGHT, "ghost 1": None, "slack 2": None}, [platform_package("all.zip", RIGHT)])
    without = {key: version for key, version in house.addons.items() if key[0] != "ghost"}
    async with DevServer(replace(house, addons=without)) as dev:
        source = f"{dev.url}/addons/maya/1.0.0/private/client.zip"
        none: dict[str, Any] = {"path": None, "size": None, "bytes_downloaded": 0, "verified_by": [], "checksum": None}
        none |= {"checksum_algorithm": None, "source": None, "error": None}
        ghost = {"kind": "addon", "name": "ghost", "version": "1", "state": "failed", **none}
        slack = {"kind": "addon", "name": "slack", "version": "2", "state": "skipped", **none}
        maya = {"kind": "addon", "name": "maya", "version": "1.0.0"}
        package = {"kind": "dependency_package", "name": "all.zip", "version": None}
        planned = {"state": "planned", "size": len(RIGHT), "path": None, "bytes_downloaded": 0, "error": None}
        here = {"size": len(RIGHT), "checksum": digest, "checksum_algorithm": "sha256", "error": None}
        there = {
            "maya": {
                **here,
                "path": str(tmp_path / "addons" / "maya_1.0.0"),
                "verified_by": ["archive"],
                "source": source,
            },
            "all.zip": {
                **here,
                "path": str(tmp_path / "dependency_packages" / "all.zip"),
                "verified_by": ["checksum", "archive"],
                "source": f"{dev.url}/api/desktop/dependencyPackages/all.zip",
            },
        }
        installed = {"state": "installed", "bytes_downloaded": len(RIGHT)}
        again = {"state": "up_to_date", "bytes_downloaded": 0}
        for dry_run, of_maya, of_package in (
            (True, planned, planned),
            (False, {**there["maya"], **installed}, {**there["all.zip"], **installed}),
            (False, {**there["maya"], **again}, {**there["all.zip"], **again}),
        ):
            report = await synced(dev, tmp_path, dry_run=dry_run)
            document = json.loads(json.dumps(report.to_dict()))
            assert document.keys() >= {
                "ok",
                "server",
                "bundle",
                "variant",
                "seconds",
                "bytes_downloaded",
                "items",
                "error",
            }
            assert (document["ok"], document["error"], report.exit_code) == (False, None, 1)
            assert (document["server"], document["bundle"], document["variant"]) == (dev.url, "prod", "production")
            assert document["bytes_downloaded"] == sum(item["bytes_downloaded"] for item in document["items"])
            error = document["items"][0].pop("error")
            assert error.keys() == {"type", "message", "hint"}
            assert error["type"] == "InvalidItem"
            wanted = [ghost | {"error": None}, maya | of_maya, slack, package | of_package]
            for item, expected in zip(document["items"], wanted, strict=True):
                assert isinstance(item["seconds"], float)
                assert {"error": None, **item}.items() >= expected.items(), (item, expected)


async def test_where_all_is_well_the_report_is_ok(dev: DevServer, tmp_path: Path) -> None:
    for _ in range(2):
        report = await synced(dev, tmp_path)
        assert (report.ok, report.exit_code, report.error, report.warnings) == (True, 0, None, ())
        report.raise_for_error()
        assert [item.kind for item in report.items] == ["addon"] * 3 + ["dependency_package"]


async def test_a_run_that_can_not_begin_says_why(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as dev:
        url = dev.url
    async with AyonServer(url, api_key=KEY) as server:
        report = await sync(server, Store.at(tmp_path))
    assert isinstance(report.error, ServerUnreachable)
    assert (report.ok, report.exit_code, report.items, report.bundle) == (False, 3, (), None)
    with pytest.raises(ServerUnreachable):
        report.raise_for_error()
    assert names_in(tmp_path) == set()


async def test_the_last_snapshot_has_every_outcome(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add("/addons/maya/*", Status(404))
    seen: list[Snapshot] = []
    report = await synced(dev, tmp_path, progress=seen.append)
    last = seen[-1]
    assert last.finished
    assert [entry.report for entry in last.items] == list(report.items)
    assert {entry.phase for entry in last.items} == {Phase.DONE, Phase.FAILED}
    assert all(entry.bytes_done <= (entry.size or 0) for entry in last.items if entry.phase is Phase.DONE)
    assert (last.server, last.bundle, last.variant) == (dev.url, "prod", "production")


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "requests"),
    [
        (BundleChoice(), ["/api/bundles"]),
        (BundleChoice(staging=True), ["/api/bundles"]),
        (BundleChoice("staging"), ["/api/bundles"]),
        (BundleChoice(dev=True), ["/api/users/me", "/api/bundles"]),
        (BundleChoice(project="plain"), ["/api/bundles", "/api/projects/plain"]),
        (BundleChoice(project="demo"), ["/api/bundles", "/api/projects/demo"]),
        (BundleChoice(project_bundle="__project__demo__production"), ["/api/bundles"]),
        (BundleChoice(project_bundle="prod"), ["/api/bundles"]),
    ],
)
async def test_a_second_run_with_nothing_to_do_asks_two_things_at_most(
    tmp_path: Path, choice: BundleChoice, requests: list[str]
) -> None:
    house = tiny_studio()
    async with DevServer(replace(house, projects=(*house.projects, Project("plain")))) as dev:
        assert (await synced(dev, tmp_path, choice)).ok
        dev.forget_requests()
        report = await synced(dev, tmp_path, choice)
        assert (report.ok, report.bytes_downloaded) == (True, 0)
        assert [record.path for record in dev.requests] == requests


async def test_details_are_asked_for_only_where_something_is_missing(tmp_path: Path) -> None:
    house = studio(small(MAYA, CORE), [platform_package("all.zip", RIGHT)])
    async with DevServer(house) as dev:
        assert (await synced(dev, tmp_path)).ok
        for folder, asked in (
            ("addons/maya_1.0.0", ["/api/bundles", "/api/addons", "/addons/maya/1.0.0/private/client.zip"]),
            (
                "dependency_packages/all.zip",
                ["/api/bundles", "/api/desktop/dependencyPackages", "/api/desktop/dependencyPackages/all.zip"],
            ),
        ):
            fs.remove_tree(tmp_path / folder)
            dev.forget_requests()
            assert (await synced(dev, tmp_path)).ok
            assert reached(dev) == asked


async def test_what_has_no_client_part_is_remembered(tmp_path: Path) -> None:
    house = studio({**small(MAYA), "slack 1": None, "slack 2": None}, addons={"maya": "1.0.0", "slack": "1"})
    later = Bundle("later", {"maya": "1.0.0", "slack": "2"}, is_staging=True)
    async with DevServer(replace(house, bundles=(*house.bundles, later))) as dev:
        for staging in (False, True):
            assert (await synced(dev, tmp_path, BundleChoice(staging=staging))).ok
        for staging in (False, True, False):
            dev.forget_requests()
            report = await synced(dev, tmp_path, BundleChoice(staging=staging))
            assert item_of(report, f"slack {1 + staging}").reason == "no client part"
            assert reached(dev) == ["/api/bundles"]


async def test_what_gets_a_client_part_is_noticed_with_the_next_update(tmp_path: Path) -> None:
    house = studio({**small(MAYA, CORE), "slack 1": None}, addons={"maya": "1.0.0", "slack": "1"})
    async with DevServer(house) as dev:
        assert states(await synced(dev, tmp_path)) == {MAYA: "installed", "slack 1": "skipped"}
        more = replace(house.bundles[0], addons={"maya": "1.0.0", "slack": "1", "core": "1.0.0"})
        dev.studio = replace(house, addons={**house.addons, ("slack", "1"): addon(RIGHT)}, bundles=(more,))
        assert states(await synced(dev, tmp_path))["slack 1"] == "installed"
        fs.remove_tree(tmp_path / "addons" / "slack_1")
        assert states(await synced(dev, tmp_path))["slack 1"] == "installed"


async def test_of_another_server_nothing_is_remembered(tmp_path: Path) -> None:
    async with DevServer(studio({"slack 1": None})) as one, DevServer(studio({"slack 1": RIGHT})) as other:
        assert states(await synced(one, tmp_path)) == {"slack 1": "skipped"}
        assert states(await synced(other, tmp_path)) == {"slack 1": "installed"}


async def test_a_dry_run_and_a_status_change_nothing(tmp_path: Path) -> None:
    house = studio({**small(MAYA, CORE), "slack 1": None}, [platform_package("all.zip", RIGHT)])
    wanted = {CORE: "planned", MAYA: "planned", "slack 1": "skipped", "all.zip": "planned"}
    async with DevServer(house) as dev:
        for filled in (False, True):
            before = everything(tmp_path)
            report = await synced(dev, tmp_path, dry_run=True)
            async with signed_in(dev) as server:
                checked = await status(server, Store.at(tmp_path))
            assert everything(tmp_path) == before
            assert states(report) == states(checked) == (wanted | ({CORE: "up_to_date"} if filled else {}))
            assert item_of(report, MAYA).size
            assert item_of(report, "all.zip").size == len(RIGHT)
            if not filled:
                dev.faults.add("/addons/maya/*", Status(404))
                dev.faults.add("/api/desktop/dependencyPackages/*", Status(404))
                await synced(dev, tmp_path)
                dev.faults.clear()


# --- one failing item never stops the rest ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Status(404), "is not there (404)"),
        (Status(500), "answered 500"),
        (Truncated(100), "truncated"),
        (Shortened(100), ""),
        (Corrupt(), ""),
        (Body(), "web page"),
        (Body(b"", "application/zip"), "is empty"),
        (Body(b"Rar!\x1a\x07\x00 and so on", "application/zip"), "RAR"),
        (Body(b"7z\xbc\xaf\x27\x1c and so on", "application/zip"), "7-Zip"),
        (Body(b"\x93NUMPY and so on", "application/zip"), "no zip or tar"),
        (Body(zip_bytes({"../../evil": "x"}), "application/zip"), ".."),
        (Body(zip_bytes({"/etc/evil": "x"}), "application/zip"), "/etc/evil"),
    ],
)
async def test_one_bad_archive_fails_alone(tmp_path: Path, fault: Fault, words: str) -> None:
    async with DevServer(studio(small(CORE, MAYA, "nuke 1.0.0"), [platform_package("all.zip", RIGHT)])) as dev:
        dev.faults.add("/addons/maya/*", fault, probes=True)
        report = await synced(dev, tmp_path / "store")
        good = {CORE: "installed", "nuke 1.0.0": "installed", "all.zip": "installed"}
        assert states(report) == good | {MAYA: "failed"}
        assert (report.ok, report.exit_code, report.error) == (False, 1, None)
        assert words in why(report, MAYA)
        if isinstance(item_of(report, MAYA).error, ArchiveError):
            assert MAYA in why(report, MAYA)
        assert not (tmp_path / "store" / "addons" / "maya_1.0.0").exists()
        assert names_in(tmp_path) == {"store"}
        dev.faults.clear()
        dev.forget_requests()
        report = await synced(dev, tmp_path / "store")
        assert states(report) == dict.fromkeys(good, "up_to_date") | {MAYA: "installed"}
        assert reached(dev) == ["/api/bundles", "/api/addons", "/addons/maya/1.0.0/private/client.zip"]
        assert leftovers(tmp_path / "store") == []


async def test_who_is_refused_before_the_run_installs_nothing(dev: DevServer, tmp_path: Path) -> None:
    dev.faults.add("/api/addons", Status(403, "Not for artists"))
    report = await synced(dev, tmp_path)
    assert isinstance(report.error, AccessDenied)
    assert report.exit_code == 4
    assert set(states(report).values()) == {"planned"}


async def test_what_came_is_not_fetched_again_where_the_disk_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the archive was seen for the first time: its digest is known from then on."""
    original = fs.write_new

    def fail(path: Path, data: bytes, *arguments: Any, **options: Any) -> None:
        if path.name == "dist_progress.json":
            raise OSError(errno.EIO, "Input/output error", str(path))
        original(path, data, *arguments, **options)

    async with DevServer(studio(small(MAYA))) as dev:
        with monkeypatch.context() as patch:
            patch.setattr(fs, "write_new", fail)
            assert states(await synced(dev, tmp_path)) == {MAYA: "failed"}
        dev.forget_requests()
        report = await synced(dev, tmp_path)
        assert (states(report), report.bytes_downloaded) == ({MAYA: "installed"}, 0)
        assert [record for record in dev.requests if record.asked > 1] == []
        assert leftovers(tmp_path) == []


# --- kinds of archives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["client.zip", "client.tar", "client", "client.zip.tgz"])
@pytest.mark.parametrize("mode", ["", "gz", "xz", "bz2"])
async def test_a_kind_is_known_by_its_content(tmp_path: Path, mode: str, name: str) -> None:
    archive = make_tar(mode=f"w:{mode}" if mode else "w")
    version = AddonVersion(files={name: archive}, sources=({"type": "server", "filename": name},))
    async with DevServer(studio({MAYA: version})) as dev:
        report = await synced(dev, tmp_path)
        assert item_of(report, MAYA).verified_by == (("archive",) if mode else ())
        folder = tmp_path / "addons" / "maya_1.0.0"
        assert read_tree(folder).items() >= TREE.items()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no executable bit")
async def test_executables_stay_executable(tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for name, mode in (("bin/run", 0o755), ("bin/setuid", 0o6755), ("data", 0o666)):
            member = tarfile.TarInfo(name)
            member.mode = mode
            archive.addfile(member)
    zipped = zip_bytes({"bin/run": "x", "bin/setuid": "x", "data": "x"}, executable=("bin/run", "bin/setuid"))
    async with DevServer(studio({"tar 1": tar.getvalue(), "zip 1": zipped})) as dev:
        assert (await synced(dev, tmp_path)).ok
    for addons in ("tar_1", "zip_1"):
        folder = tmp_path / "addons" / addons
        modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("bin/run", "bin/setuid", "data")}
        assert modes == {"bin/run": 0o755, "bin/setuid": 0o755, "data": 0o644}


# --- crowds -----------------------------------------------------------------------------------------------------------


def fetched_once(dev: DevServer) -> None:
    """Each archive was asked for by one request only, but for those that learn a size."""
    archives = [record.path for record in dev.requests if record.asked > 1]
    assert sorted(archives) == sorted(set(archives))
    assert len(archives) == 4


async def test_two_runs_at_once_fetch_each_archive_once(tmp_path: Path) -> None:
    async with DevServer(tiny_studio(200_000)) as dev:
        dev.faults.add("/*.zip", Slow(400_000))
        waited: list[bool] = []

        def watch(snapshot: Snapshot) -> None:
            waited.append(any(entry.phase is Phase.WAITING for entry in snapshot.items))

        reports = await asyncio.gather(*(synced(dev, tmp_path, progress=watch) for _ in range(3)))
        assert all(report.ok for report in reports)
        fetched_once(dev)
        found = [state for report in reports for state in states(report).values()]
        assert (found.count("installed"), found.count("up_to_date")) == (4, 8)
        assert any(waited)
        assert leftovers(tmp_path) == []


PROCESS = """
import asyncio, json, sys
from ayon_async import AyonServer, Store, sync
async def main():
    async with AyonServer(sys.argv[1], api_key="artist-key") as server:
        print(json.dumps((await sync(server, Store.at(sys.argv[2]))).to_dict()))
asyncio.run(main())
"""


async def test_two_processes_fetch_each_archive_once(tmp_path: Path) -> None:
    async with DevServer(tiny_studio(200_000)) as dev:
        dev.faults.add("/*.zip", Slow(100_000))
        command = [sys.executable, "-c", PROCESS, dev.url, str(tmp_path)]
        pipe = asyncio.subprocess.PIPE
        processes = [await asyncio.create_subprocess_exec(*command, stdout=pipe) for _ in range(2)]
        reports = [json.loads((await process.communicate())[0]) for process in processes]
        assert all(report["ok"] for report in reports)
        fetched_once(dev)
        found = sorted(item["state"] for report in reports for item in report["items"])
        assert found == ["installed"] * 4 + ["up_to_date"] * 4
        assert leftovers(tmp_path) == []


# --- cancellation -----------------------------------------------------------------------------------------------------


def busy_threads() -> set[str]:
    """Threads that could still write."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("write", "unpack"))}


async def check_cancelled(run: asyncio.Task[Any], dev: DevServer, folder: Path, began: float) -> None:
    """The run ended in time and nothing writes any more; what is there is complete, and the next run does the rest."""
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - began < 2
    assert busy_threads() == set()
    before = everything(folder)
    for name in ("core", "maya", "nuke"):
        assert addon_is_installed(folder, name, "1.0.0") is (folder / "addons" / f"{name}_1.0.0").exists()
    await asyncio.sleep(0.1)
    assert everything(folder) == before
    dev.faults.clear()
    report = await synced(dev, folder)
    assert report.ok
    assert set(states(report).values()) <= {"installed", "up_to_date"}
    assert leftovers(folder) == []


async def test_cancelled_while_archives_come(tmp_path: Path) -> None:
    async with DevServer(tiny_studio(300_000)) as dev:
        dev.faults.add("/*.zip", Slow(150_000))
        coming = asyncio.Event()
        seen: list[Snapshot] = []

        def watch(snapshot: Snapshot) -> None:
            seen.append(snapshot)
            if snapshot.bytes_done > 50_000:
                coming.set()

        run = asyncio.create_task(synced(dev, tmp_path, progress=watch))
        await coming.wait()
        began = time.monotonic()
        run.cancel()
        await asyncio.wait([run])
        assert seen[-1].finished  # whoever watches is told
        asked = dev.bytes_asked()
        await check_cancelled(run, dev, tmp_path, began)
        assert dev.bytes_asked() - asked < 4 * 300_000  # what had come was not fetched again


@pytest.mark.parametrize("step", ["make_folder", "open_new", "write_new", "flush_file_system", "rename"])
@pytest.mark.parametrize("after", [0, 2])
async def test_cancelled_at_a_step_on_the_disk(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    loop, original = asyncio.get_running_loop(), getattr(fs, step)
    reached_it, calls = asyncio.Event(), 0

    def watched(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            loop.call_soon_threadsafe(cancel)
        return original(*arguments, **options)

    def cancel() -> None:
        reached_it.set()
        run.cancel()

    run = asyncio.create_task(synced(dev, tmp_path))
    monkeypatch.setattr(fs, step, watched)
    await asyncio.wait([asyncio.create_task(reached_it.wait()), run], return_when=asyncio.FIRST_COMPLETED)
    began = time.monotonic()
    await asyncio.wait([run])
    monkeypatch.undo()
    assert reached_it.is_set()
    if run.cancelled():
        await check_cancelled(run, dev, tmp_path, began)


async def test_cancelled_while_a_large_archive_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = zip_bytes({f"f/{number}.txt": "x" * 2_000 for number in range(4_000)}, stored=True)
    began = 0.0

    def told(snapshot: Snapshot) -> None:
        nonlocal began
        if not began and any(entry.unpacked > 0 for entry in snapshot.items):
            began = time.monotonic()
            run.cancel()

    async with DevServer(studio({MAYA: large})) as dev:
        write_slowly(monkeypatch)
        run = asyncio.create_task(synced(dev, tmp_path, progress=told))
        await asyncio.wait([run])
        monkeypatch.undo()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert began
        assert time.monotonic() - began < 2
        assert busy_threads() == set()
        assert not (tmp_path / "addons" / "maya_1.0.0").exists()
        assert leftovers(tmp_path) == [path for path in leftovers(tmp_path) if "/parts/" in path]
        assert (await synced(dev, tmp_path)).ok
        assert leftovers(tmp_path) == []


def write_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each file of an archive take a millisecond more."""
    original: Callable[..., int] = fs.open_new

    def slowly(*arguments: Any, **options: Any) -> int:
        time.sleep(0.001)
        return original(*arguments, **options)

    monkeypatch.setattr(fs, "open_new", slowly)


async def test_the_same_archive_for_two_items_is_two_folders(tmp_path: Path) -> None:
    same = client_zip("same", "1")
    attested = {"checksum": hashlib.sha256(same).hexdigest()}
    house = studio({f"{name} 1": addon(same, **attested) for name in ("a", "b", "c")})
    async with DevServer(house) as dev:
        assert (await synced(dev, tmp_path)).ok
        assert names_in(tmp_path / "addons") >= {"a_1", "b_1", "c_1"}
        assert leftovers(tmp_path) == []
