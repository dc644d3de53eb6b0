"""At home beside the official launcher: it takes our folders as installed, and we take its."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ayon_async.store
from ayon_async import BundleChoice, Store, fs
from ayon_async.devserver import Bundle, DevServer, addon, zip_bytes
from launcher_rules import addon_is_installed, check_entry, check_progress, package_is_installed
from studios import (
    RIGHT,
    everything,
    item_of,
    leftovers,
    names_in,
    platform_package,
    reached,
    small,
    states,
    studio,
    synced,
)

MAYA, CORE, PACKAGE = "maya 1.0.0", "core 2.1.0+build.3", "ayon_1.2_linux.zip"
HOUSE = studio(small(MAYA, CORE), [platform_package(PACKAGE, RIGHT)])
FOLDERS = {MAYA: "addons/maya_1.0.0", CORE: "addons/core_2.1.0+build.3", PACKAGE: f"dependency_packages/{PACKAGE}"}
ALL = (MAYA, CORE, PACKAGE)


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(HOUSE) as running:
        yield running


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def progress(state: str = "done", **more: Any) -> dict[str, Any]:
    """What the launcher writes into a folder."""
    return {
        "state": state,
        "progress_id": "0f8fad5bd9cb469fa16570867728950e",
        "checksum": None,
        "checksum_algorithm": None,
        "dist_started": "2026-11-22 17:04:05",
        "dist_finished": "2026-11-22 17:04:09" if state == "done" else None,
        **more,
    }


ENTRY: dict[str, Any] = {
    "source": {},
    "checksum": None,
    "checksum_algorithm": None,
    "distributed_dt": "2026-11-22 17:04:09",
}


# --- our folders, by the launcher's rules -----------------------------------------------------------------------------


async def test_the_launcher_takes_our_folders_as_installed(tmp_path: Path) -> None:
    attested = addon(RIGHT, checksum=hashlib.md5(RIGHT).hexdigest(), checksum_algorithm="md5")
    async with DevServer(replace(HOUSE, addons={**HOUSE.addons, ("maya", "1.0.0"): attested})) as dev:
        assert (await synced(dev, tmp_path)).ok
        source = {"type": "server", "filename": "client.zip", "path": None}
    assert addon_is_installed(tmp_path, "maya", "1.0.0")
    assert addon_is_installed(tmp_path, "core", "2.1.0+build.3")
    assert package_is_installed(tmp_path, PACKAGE)
    assert not addon_is_installed(tmp_path, "maya", "1.0.1")
    found = {label: check_progress(tmp_path / folder) for label, folder in FOLDERS.items()}
    addons, packages = read(tmp_path / "addons/addons.json"), read(tmp_path / "dependency_packages/dependency.json")
    entries = {MAYA: addons["maya"]["1.0.0"], CORE: addons["core"]["2.1.0+build.3"], PACKAGE: packages[PACKAGE]}
    assert {name: list(versions) for name, versions in addons.items()} == {"maya": ["1.0.0"], "core": ["2.1.0+build.3"]}
    for label, digits in ((MAYA, ("md5", 32)), (CORE, None), (PACKAGE, ("sha256", 64))):
        check_entry(entries[label])
        for holder in (found[label], entries[label]):
            digest = holder["checksum"]
            assert ((holder["checksum_algorithm"], len(digest)) if digest else None) == digits
    assert addons["maya"]["1.0.0"]["source"] == source
    assert packages[PACKAGE]["source"] == {"type": "server", "filename": None, "path": None}


async def test_everything_of_ours_has_a_dot_in_front(dev: DevServer, tmp_path: Path) -> None:
    assert (await synced(dev, tmp_path)).ok
    assert names_in(tmp_path) == {"addons", "dependency_packages"}
    assert names_in(tmp_path / "addons") == {".ayon-async", "addons.json", "maya_1.0.0", "core_2.1.0+build.3"}
    assert names_in(tmp_path / "dependency_packages") == {".ayon-async", "dependency.json", PACKAGE}
    assert names_in(tmp_path / FOLDERS[MAYA]) == {".ayon-async.json", "dist_progress.json", "ayon_small"}


async def test_records_that_an_archive_brings_along_do_not_count(tmp_path: Path) -> None:
    lies = dict.fromkeys(("dist_progress.json", ".ayon-async.json", "addons.json"), '{"state": "failed"}')
    async with DevServer(studio({MAYA: zip_bytes({**lies, "a.py": "x"})})) as dev:
        assert states(await synced(dev, tmp_path)) == {MAYA: "installed"}
        check_progress(tmp_path / FOLDERS[MAYA])
        assert states(await synced(dev, tmp_path)) == {MAYA: "up_to_date"}
        [checked] = await Store.at(tmp_path).verify()
        assert (checked.state, checked.problems) == ("intact", ())


@pytest.mark.parametrize("name", ["dist_progress.json/a.py", ".ayon-async.json/", "Dist_Progress.JSON"])
async def test_an_archive_with_something_in_a_records_place_fails_alone(tmp_path: Path, name: str) -> None:
    odd = zip_bytes({name: "" if name.endswith("/") else "x", "a.py": "x"})
    async with DevServer(studio({MAYA: odd, **small(CORE)})) as dev:
        report = await synced(dev, tmp_path)
        assert states(report) == {CORE: "installed", MAYA: "failed"}
        error = next(item.error for item in report.items if item.label == MAYA)
        assert error is not None
        assert error.type == "RecordName"
        assert f"{MAYA}: {name.partition('/')[0]!r} has the name of a record" in error.message
        assert not (tmp_path / FOLDERS[MAYA]).exists()
        assert leftovers(tmp_path) == []


# --- the launcher's folders, by ours ----------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ALL)
@pytest.mark.parametrize(
    "content",
    [
        progress(),
        progress(checksum="d" * 64, checksum_algorithm="sha256"),
        {"state": "done"},
        {"state": "done", "progress_id": None, "dist_started": 5, "a_field_of_tomorrow": [1]},
    ],
)
async def test_what_the_launcher_installed_is_not_installed_again(
    dev: DevServer, tmp_path: Path, label: str, content: Any
) -> None:
    folder = tmp_path / FOLDERS[label]
    write(folder / "dist_progress.json", content)
    write(folder / "from_launcher.py", b"x = 1\n")
    before = everything(folder)
    for _ in range(2):
        report = await synced(dev, tmp_path)
        item = item_of(report, label)
        assert (item.state, item.path, item.verified_by, item.error) == ("up_to_date", folder, (), None)
        assert report.ok
    assert everything(folder) == before


@pytest.mark.parametrize("label", ALL)
@pytest.mark.parametrize(
    "content",
    [
        progress("failed"),
        progress("unheard of"),
        {"progress_id": "x"},
        {},
        [],
        {"state": None},
        {"state": ["done"]},
        b"",
        b"{",
        b"\xff\xfe\0",
    ],
)
@pytest.mark.parametrize("listed", [False, True])
async def test_what_is_not_done_is_set_aside(
    dev: DevServer, tmp_path: Path, label: str, content: Any, listed: bool
) -> None:
    folder = tmp_path / FOLDERS[label]
    write(folder / "dist_progress.json", content)
    write(folder / "half.py", b"x = ")
    if listed:
        write(tmp_path / "addons/addons.json", {"maya": {"1.0.0": ENTRY}, "core": {"2.1.0+build.3": ENTRY}})
        write(tmp_path / "dependency_packages/dependency.json", {PACKAGE: ENTRY})
    assert states(await synced(dev, tmp_path)) == dict.fromkeys(ALL, "installed")
    check_progress(folder)
    assert not (folder / "half.py").exists()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("label", ALL)
@pytest.mark.parametrize(
    ("has_folder", "listed", "state"), [(1, 1, "up_to_date"), (1, 0, "installed"), (0, 1, "installed")]
)
async def test_what_an_old_launcher_installed_has_an_entry_in_the_list_alone(
    dev: DevServer, tmp_path: Path, label: str, has_folder: bool, listed: bool, state: str
) -> None:
    if has_folder:
        write(tmp_path / FOLDERS[label] / "a.py", b"x = 1\n")
    if listed:
        write(tmp_path / "addons/addons.json", {"maya": {"1.0.0": ENTRY}, "core": {"2.1.0+build.3": ENTRY}})
        write(tmp_path / "dependency_packages/dependency.json", {PACKAGE: ENTRY})
    report = await synced(dev, tmp_path)
    assert item_of(report, label).state == state
    assert (tmp_path / FOLDERS[label] / "a.py").exists() is (state == "up_to_date")


@pytest.mark.parametrize("listed", [False, True])
async def test_a_package_may_lie_in_a_folder_without_its_ending(dev: DevServer, tmp_path: Path, listed: bool) -> None:
    folder = tmp_path / "dependency_packages" / PACKAGE.removesuffix(".zip")
    if listed:
        write(folder / "a.py", b"x = 1\n")
        write(folder.parent / "dependency.json", {PACKAGE: ENTRY})
    else:
        write(folder / "dist_progress.json", progress())
    item = item_of(await synced(dev, tmp_path), PACKAGE)
    assert (item.state, item.path) == ("up_to_date", folder)
    assert not dev.requests_to("/api/desktop/dependencyPackages*")


@pytest.mark.parametrize("ends", ["done", "failed", None])
async def test_a_launcher_that_is_at_work_is_waited_for(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str | None
) -> None:
    monkeypatch.setattr(ayon_async.store, "MOVING_SECONDS", 1.0)
    folder = tmp_path / FOLDERS[MAYA]
    write(folder / "dist_progress.json", progress("moving"))
    began = time.monotonic()
    run = asyncio.create_task(synced(dev, tmp_path))
    await asyncio.sleep(0.5)
    assert not run.done()
    if ends is not None:
        write(folder / "dist_progress.json", progress(ends))
    report = await run
    assert item_of(report, MAYA).state == ("up_to_date" if ends == "done" else "installed")
    assert time.monotonic() - began >= (1 if ends is None else 0.5)
    assert report.ok


@pytest.mark.parametrize("what", ["a file", "a link to a folder", "a link to nowhere", "an empty folder"])
async def test_something_else_in_an_items_place(dev: DevServer, tmp_path: Path, what: str) -> None:
    if sys.platform == "win32" and "link" in what:
        pytest.skip("links need a privilege there")
    precious, folder = tmp_path / "precious", tmp_path / "store" / FOLDERS[MAYA]
    write(precious / "photo.jpg", b"cat")
    folder.parent.mkdir(parents=True)
    if what == "a file":
        folder.write_bytes(b"x")
    elif what == "an empty folder":
        folder.mkdir()
    else:
        folder.symlink_to(precious if what == "a link to a folder" else tmp_path / "nowhere")
    before = everything(precious)
    report = await synced(dev, tmp_path / "store")
    assert (item_of(report, MAYA).state, report.warnings) == ("installed", ())
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert everything(precious) == before
    assert leftovers(tmp_path / "store") == []


# --- the lists --------------------------------------------------------------------------------------------------------


async def test_the_launchers_entries_stay(dev: DevServer, tmp_path: Path) -> None:
    addons = {"blender": {"1.0.0": ENTRY}, "maya": {"0.9.0": ENTRY, "1.0.0": {**ENTRY, "more": 1}}, "odd": 5}
    packages = {"other.zip": ENTRY}
    write(tmp_path / "addons/addons.json", addons)
    write(tmp_path / "dependency_packages/dependency.json", packages)
    write(tmp_path / FOLDERS[MAYA] / "dist_progress.json", progress())
    assert (await synced(dev, tmp_path)).ok
    merged = read(tmp_path / "addons/addons.json")
    assert merged.pop("core").keys() == {"2.1.0+build.3"}
    assert merged == addons
    merged = read(tmp_path / "dependency_packages/dependency.json")
    check_entry(merged.pop(PACKAGE))
    assert merged == packages


async def test_a_list_that_is_complete_is_not_written(dev: DevServer, tmp_path: Path) -> None:
    assert (await synced(dev, tmp_path)).ok
    before = everything(tmp_path / "addons/addons.json"), everything(tmp_path / "dependency_packages/dependency.json")
    assert (await synced(dev, tmp_path)).ok
    after = everything(tmp_path / "addons/addons.json"), everything(tmp_path / "dependency_packages/dependency.json")
    assert after == before


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[1, 2]", b"\xff\xfe", b"null"])
async def test_lost_or_damaged_lists_are_made_again_from_the_folders(
    dev: DevServer, tmp_path: Path, damage: bytes | None
) -> None:
    lists = (tmp_path / "addons/addons.json", tmp_path / "dependency_packages/dependency.json")
    assert (await synced(dev, tmp_path)).ok
    good = [read(path) for path in lists]
    for path in lists:
        fs.remove(path)
        if damage is not None:
            write(path, damage)
    dev.forget_requests()
    report = await synced(dev, tmp_path)
    assert (report.ok, report.warnings) == (True, ())
    assert reached(dev) == ["/api/bundles"]
    for path, before in zip(lists, good, strict=True):
        assert without_times(read(path)) == without_times(before)


async def test_a_list_that_a_launcher_is_writing_is_waited_for(dev: DevServer, tmp_path: Path) -> None:
    """It writes in place: who reads meanwhile finds a part of it, and must not take that for all."""
    assert (await synced(dev, tmp_path)).ok
    path = tmp_path / "addons/addons.json"
    whole = {**read(path), "blender": {"1.1.7": ENTRY}}
    text = json.dumps(whole)
    path.write_text(text[: len(text) // 2])
    later = threading.Timer(0.3, path.write_text, [text])
    later.start()
    assert (await synced(dev, tmp_path)).ok
    later.join()
    assert read(path) == whole


async def test_an_entry_that_is_none_is_replaced(dev: DevServer, tmp_path: Path) -> None:
    write(tmp_path / "addons/addons.json", {"maya": 5, "core": [], "blender": "x"})
    assert (await synced(dev, tmp_path)).ok
    entries = read(tmp_path / "addons/addons.json")
    check_entry(entries["maya"]["1.0.0"])
    check_entry(entries["core"]["2.1.0+build.3"])
    assert entries["blender"] == "x"


def without_times(entries: dict[str, Any]) -> dict[str, Any]:
    return {
        key: without_times(value) if isinstance(value, dict) else value
        for key, value in entries.items()
        if key != "distributed_dt"
    }


async def test_a_lost_list_is_made_again_for_other_bundles_too(tmp_path: Path) -> None:
    other = Bundle("other", {"maya": "1.0.0"}, is_staging=True)
    house = replace(HOUSE, bundles=(replace(HOUSE.bundles[0], addons={"core": "2.1.0+build.3"}), other))
    async with DevServer(house) as dev:
        for choice in (BundleChoice(), BundleChoice(staging=True)):
            assert (await synced(dev, tmp_path, choice)).ok
        fs.remove(tmp_path / "addons/addons.json")
        assert (await synced(dev, tmp_path)).ok
        entries = read(tmp_path / "addons/addons.json")
        check_entry(entries["maya"]["1.0.0"])
        check_entry(entries["core"]["2.1.0+build.3"])


async def test_of_what_the_launcher_installed_a_lost_entry_is_made_again(dev: DevServer, tmp_path: Path) -> None:
    write(tmp_path / FOLDERS[MAYA] / "dist_progress.json", progress(checksum="d" * 64, checksum_algorithm="sha256"))
    write(tmp_path / FOLDERS[CORE] / "dist_progress.json", progress())
    write(tmp_path / FOLDERS[PACKAGE] / "dist_progress.json", progress())
    report = await synced(dev, tmp_path)
    assert (report.ok, report.warnings, report.bytes_downloaded) == (True, (), 0)
    check_entry(read(tmp_path / "addons/addons.json")["maya"]["1.0.0"])
    check_entry(read(tmp_path / "dependency_packages/dependency.json")[PACKAGE])
