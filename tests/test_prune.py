"""What may go from a store and what never does, and how it goes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayon_async import BundleChoice, Store, fs, model
from ayon_async.devserver import Bundle, DevServer, zip_bytes
from ayon_async.errors import ServerError, UsageError
from ayon_async.item import Item
from ayon_async.pruning import Needs, PruneReport, Rules, decide, prune, used_items
from ayon_async.store.history import Entry, History, Key, State
from ayon_async.store.listing import Installed
from ayon_async.store.processes import in_use
from ayon_async.store.record import Record
from studios import leftovers, names_in, platform_package, signed_in, small, states, studio, synced

NOW = datetime(2026, 6, 30, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)
NO_AGE = Rules(min_age=timedelta())
SERVER = "https://ayon.example"


def item(label: str) -> Item:
    name, _, version = label.partition(" ")
    return Item("addon", name, version) if version else Item("dependency_package", name, None)


def entry(label: str, when: datetime = LONG_AGO, server: str | None = SERVER) -> Installed:
    return Installed(item(label), Path("/store") / item(label).folder, Record(server=server), True, when)


def state(bundle: str, *labels: str, confirmed: datetime = LONG_AGO) -> State:
    items = tuple(Entry(i.kind, i.name, i.version) for i in map(item, labels))
    return State(bundle, bundle, "production", False, items, since=LONG_AGO, confirmed=confirmed)


def history(*states: State, bundle: str | None = None, server: str = SERVER) -> History:
    return History(Key(server, "linux", bundle), states)


def going(
    labels: Iterable[str | Installed],
    rules: Rules = Rules(),  # noqa: B008 - immutable
    used: Iterable[str] | None = (),
    histories: Iterable[History] = (),
    in_use: Mapping[Path, str] | None = None,
) -> list[str]:
    """The labels of what may go."""
    entries = [entry(label) if isinstance(label, str) else label for label in labels]
    named = None if used is None else {item(label): "prod" for label in used}
    kept = decide(entries, rules, Needs(SERVER, named, tuple(histories), in_use or {}, NOW))
    return [one.item.label for one in entries if one.path not in kept]


# --- what may go ----------------------------------------------------------------------------------------------------


def test_what_no_bundle_uses() -> None:
    assert going(["maya 1.0.0", "maya 1.1.0", "p.zip", "q.zip"], used=["maya 1.1.0", "q.zip"]) == [
        "maya 1.0.0",
        "p.zip",
    ]


def test_all_but_the_newest_by_precedence() -> None:
    versions = ["maya 1.10.0", "maya 1.9.0", "maya 1.10.0-rc.1", "maya v2", "nuke 0.1.0"]
    assert going(versions, Rules(keep=1), used=None) == ["maya 1.9.0", "maya 1.10.0-rc.1", "maya v2"]
    assert going(versions, Rules(keep=3), used=None) == ["maya v2"]
    assert going(["nuke 0.1.0"], Rules(keep=0), used=None) == ["nuke 0.1.0"]


def test_packages_whose_names_differ_in_numbers_are_one_family() -> None:
    files = ["ayon_2607010900_linux.zip", "ayon_2608150900_linux.zip", "ayon_2607010900_windows.zip"]
    assert going(files, Rules(keep=1), used=None) == ["ayon_2607010900_linux.zip"]


def test_the_last_good_bundle_never_goes() -> None:
    good = history(state("prod", "maya 1.0.0", "p.zip"))
    for rules, used in ((Rules(), ()), (Rules(keep=0), None)):
        assert going(["maya 1.0.0", "maya 1.1.0", "p.zip"], rules, used, [good]) == ["maya 1.1.0"]


def test_what_to_go_back_to_stays() -> None:
    states = (state("c", "maya 3.0.0"), state("b", "maya 2.0.0"), state("a", "maya 1.0.0"))
    installed = ["maya 1.0.0", "maya 2.0.0", "maya 3.0.0"]
    for count, expected in ((0, ["maya 1.0.0", "maya 2.0.0"]), (1, ["maya 1.0.0"]), (2, [])):
        assert going(installed, Rules(keep_previous=count), histories=[history(*states)]) == expected


def test_a_bundle_that_was_edited_does_not_push_out_the_one_before_it() -> None:
    states = [state("bad", f"maya 2.0.{n}") for n in (3, 2, 1)] + [state("good", "maya 1.0.0")]
    installed = ["maya 1.0.0", "maya 2.0.1", "maya 2.0.2", "maya 2.0.3"]
    assert going(installed, histories=[history(*states)]) == ["maya 2.0.1"]


def test_a_trial_of_a_named_bundle_stays_only_while_it_is_the_last_good_one() -> None:
    production = history(state("prod", "maya 1.0.0", confirmed=NOW - timedelta(days=40)))
    trial = history(state("trial", "maya 2.0.0", confirmed=NOW - timedelta(days=30)), bundle="trial")
    installed = ["maya 1.0.0", "maya 2.0.0"]
    assert going(installed, histories=[production, trial]) == []
    production = history(state("prod", "maya 1.0.0", confirmed=NOW - timedelta(days=20)))
    assert going(installed, histories=[production, trial]) == ["maya 2.0.0"]


def test_what_is_young_stays() -> None:
    young, old = NOW - timedelta(days=13), NOW - timedelta(days=15)
    assert going([entry("maya 1.0.0", young), entry("maya 2.0.0", old)]) == ["maya 2.0.0"]
    assert going([entry("maya 1.0.0", young)], Rules(min_age=timedelta(days=1))) == ["maya 1.0.0"]
    assert going([entry("maya 1.0.0", NOW)], NO_AGE) == ["maya 1.0.0"]


def test_what_was_confirmed_a_short_while_ago_stays() -> None:
    known = [state("c", confirmed=NOW), state("b", confirmed=NOW), state("a", "maya 1.0.0", confirmed=NOW)]
    rules = Rules(keep_previous=0)
    assert going(["maya 1.0.0", "maya 2.0.0"], rules, histories=[history(*known)]) == ["maya 2.0.0"]
    days = NOW - timedelta(days=14, minutes=30)  # it may have been found in use up to an hour later
    known[2] = state("a", "maya 1.0.0", confirmed=days)
    assert going(["maya 1.0.0"], rules, histories=[history(*known)]) == []
    assert going(["maya 1.0.0"], replace(rules, min_age=timedelta()), histories=[history(*known)]) == ["maya 1.0.0"]


def test_what_a_process_uses_stays() -> None:
    used = {Path("/store/maya_1.0.0"): "17 (maya)"}
    assert going(["maya 1.0.0", "maya 2.0.0"], NO_AGE, in_use=used) == ["maya 2.0.0"]


def test_what_another_server_installed_stays() -> None:
    other = entry("maya 1.0.0", server="https://other.example")
    launchers = entry("nuke 1.0.0", server=None)
    assert going([other, launchers], NO_AGE) == ["nuke 1.0.0"]


def test_a_folder_s_name_is_enough() -> None:
    """What the launcher installed and its list has lost: a folder alone does not tell name, version and ending."""
    addon = Installed(item("odd_1 2"), Path("/store/odd_1_2"), Record(), True, LONG_AGO)
    package = Installed(item("ayon_1.5_linux"), Path("/store/ayon_1.5_linux"), Record(), True, LONG_AGO)
    assert going([addon, package], used=["odd 1_2", "ayon_1.5_linux.zip"]) == []
    assert going([addon, package], histories=[history(state("prod", "odd 1_2", "ayon_1.5_linux.zip"))]) == []
    assert going([addon, package], used=["odd 1_1"]) == ["odd_1 2", "ayon_1.5_linux"]


def test_bundles_that_somebody_may_be_given() -> None:
    def bundle(name: str, **flags: Any) -> model.Bundle:
        return model.Bundle(name, {name: "1", "no": None}, {"linux": f"{name}.zip", "darwin": None}, **flags)

    bundles = model.Bundles(
        [
            bundle("flagged", is_production=True),
            bundle("named"),
            bundle("dev", is_dev=True),
            bundle("project", is_project=True),
            bundle("nothing"),
            bundle("archived", is_production=True, is_archived=True),
        ],
        staging_bundle="named",
    )
    expected = ("flagged", "named", "dev", "project")
    used = used_items(bundles)
    assert {one.name for one in used if one.kind == "addon"} == set(expected)
    assert {one.name for one in used if one.kind != "addon"} == {f"{name}.zip" for name in expected}


# --- how it goes ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    has = small("maya 1.0.0", "maya 2.0.0", "maya 3.0.0", "nuke 1.0.0")
    packages = [platform_package("ayon.zip", zip_bytes({"dependencies/six.py": ""}))]
    bundles = [
        Bundle("two", {"maya": "2.0.0", "nuke": "1.0.0"}, dependency_packages={}),
        Bundle("three", {"maya": "3.0.0", "nuke": "1.0.0"}, dependency_packages={}),
    ]
    production = {"maya": "1.0.0", "nuke": "1.0.0"}
    async with DevServer(studio(has, packages, bundles, addons=production)) as server:
        yield server


async def pruned(server: DevServer, folder: Path, rules: Rules = NO_AGE, *, remove: bool = True) -> PruneReport:
    async with signed_in(server) as client:
        return await prune(Store.at(folder), client, rules, remove=remove)


def by_state(report: PruneReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in report.items:
        found.setdefault(one.state, []).append(one.item.label if one.item else one.path.name)
    return found


async def three_promotions(server: DevServer, folder: Path) -> None:
    for name in ("prod", "two", "three"):
        await server.promote(name)
        assert (await synced(server, folder)).ok


async def test_a_list_changes_nothing_and_says_how_much_it_would_free(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    listed = await pruned(server, tmp_path, remove=False)
    old = tmp_path / "addons/maya_1.0.0"
    size = sum(path.stat().st_size for path in old.rglob("*") if path.is_file())
    assert by_state(listed)["removable"][0] == "maya 1.0.0"
    assert listed.items[0].size == size
    assert listed.bytes_freed == sum(one.size for one in listed.items)
    assert {one.reason for one in listed.items if one.item == item("nuke 1.0.0")} == {"used by the bundle three"}
    assert old.is_dir()


async def test_it_goes_and_so_does_its_place_in_the_list(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    report = await pruned(server, tmp_path)
    assert (report.exit_code, report.removed) == (0, True)
    assert by_state(report)["removed"] == ["maya 1.0.0", "ayon.zip"]
    folders = {name for name in names_in(tmp_path / "addons") if not name.startswith(".")}
    assert folders == {"addons.json", "maya_2.0.0", "maya_3.0.0", "nuke_1.0.0"}
    listed = json.loads((tmp_path / "addons/addons.json").read_bytes())
    assert {name: sorted(versions) for name, versions in listed.items()} == {
        "maya": ["2.0.0", "3.0.0"],
        "nuke": ["1.0.0"],
    }
    assert by_state(await pruned(server, tmp_path)).get("removed") is None


async def test_going_back_costs_nothing(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    await pruned(server, tmp_path)
    await server.promote("two")
    server.forget_requests()
    report = await synced(server, tmp_path)
    assert (report.ok, report.bundle, report.bytes_downloaded) == (True, "two", 0)
    assert server.bytes_sent() == 0
    await server.promote("prod")
    assert (await synced(server, tmp_path)).bytes_downloaded > 0, "what was pruned is fetched again"


async def test_what_was_just_installed_stays_by_default(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    report = await pruned(server, tmp_path, Rules(keep_previous=0))
    assert set(by_state(report)) == {"kept"}
    assert report.bytes_freed == 0


async def test_the_newest_need_no_server(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    rules = Rules(keep=1, keep_previous=0, min_age=timedelta())
    report = await prune(Store.at(tmp_path), None, rules, remove=True)
    assert report.server is None
    assert "maya 1.0.0" in by_state(report)["removed"]
    assert "maya 2.0.0" in by_state(report)["removed"]
    with pytest.raises(UsageError):
        await prune(Store.at(tmp_path), None, NO_AGE)


async def test_a_server_that_is_away_lets_nothing_go(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    await server.stop()
    with pytest.raises(ServerError):
        await pruned(server, tmp_path)
    assert "maya_1.0.0" in names_in(tmp_path / "addons")


async def test_what_somebody_works_on_stays(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    store = Store.at(tmp_path)
    await store.prepare("addon")
    async with store.lease("addon", "maya_1.0.0", lambda: None):
        report = await pruned(server, tmp_path)
    assert report.items[0].reason == "somebody works on it"
    assert "maya_1.0.0" in names_in(tmp_path / "addons")


async def test_what_waits_to_replace_it_goes_too(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    pending = tmp_path / "addons/.ayon-async/pending"
    pending.mkdir()
    for name in ("maya_1.0.0", "maya_3.0.0"):
        shutil.copytree(tmp_path / "addons" / name, pending / name)
    assert (await pruned(server, tmp_path)).exit_code == 0
    assert names_in(pending) == {"maya_3.0.0"}
    assert await Store.at(tmp_path).replace_waiting() == ()
    assert not (tmp_path / "addons/maya_1.0.0").exists()


async def test_what_cannot_be_removed_is_there_as_before(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_promotions(server, tmp_path)
    rename = fs.rename

    def refused(source: Path, destination: Path) -> None:
        if source.name == "maya_1.0.0":
            raise PermissionError(errno.EACCES, "Permission denied", str(source))
        rename(source, destination)

    monkeypatch.setattr(fs, "rename", refused)
    report = await pruned(server, tmp_path)
    assert (report.exit_code, report.items[0].state) == (1, "failed")
    assert "Permission denied" in str(report.items[0].error)
    again = await synced(server, tmp_path, BundleChoice(bundle="prod"))
    assert states(again) == {"maya 1.0.0": "up_to_date", "nuke 1.0.0": "up_to_date", "ayon.zip": "installed"}


async def test_leftovers_go_too(server: DevServer, tmp_path: Path) -> None:
    await three_promotions(server, tmp_path)
    ours = tmp_path / "addons/.ayon-async"
    (ours / "staging/maya_9.0.0.0123").mkdir()
    (ours / "staging/maya_9.0.0.0123/file").write_bytes(bytes(1000))
    old, young = ours / "parts/old.part", ours / "parts/young.part"
    for part in (old, young):
        part.write_bytes(bytes(500))
    days = NOW.timestamp() - 400 * 86400
    os.utime(old, (days, days))
    listed = await pruned(server, tmp_path, Rules(), remove=False)
    assert sorted(by_state(listed)["removable"]) == ["maya_9.0.0.0123", "old.part"]
    assert listed.bytes_freed == 1500
    report = await pruned(server, tmp_path, Rules())
    assert sorted(by_state(report)["removed"]) == ["maya_9.0.0.0123", "old.part"]
    assert names_in(ours / "parts") == {"young.part"}
    assert names_in(ours / "staging") == set()
    await pruned(server, tmp_path, NO_AGE)
    assert names_in(ours / "parts") == set()


async def test_a_killed_prune_leaves_nothing_for_long(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_promotions(server, tmp_path)

    class Killed(BaseException):
        pass

    def killed(path: Path) -> None:
        if path.exists():
            raise Killed(path)

    monkeypatch.setattr(fs, "remove_tree", killed)
    with pytest.raises(Killed):
        await pruned(server, tmp_path)
    monkeypatch.undo()
    assert "maya_1.0.0" not in names_in(tmp_path / "addons")
    assert (await synced(server, tmp_path, BundleChoice(bundle="prod"))).ok, "what was set aside is not taken for it"
    assert leftovers(tmp_path) == []


# --- what processes use ---------------------------------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what processes use")


@linux
@pytest.mark.parametrize("how", ["environment", "folder", "arguments", "open file"])
async def test_a_running_process_is_seen(server: DevServer, tmp_path: Path, how: str) -> None:
    await three_promotions(server, tmp_path)
    maya = tmp_path / "addons/maya_1.0.0"
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", "input()", *([str(maya)] if how == "arguments" else [])],
        stdin=subprocess.PIPE,
        stdout=(maya / "open.log").open("wb") if how == "open file" else None,
        cwd=maya if how == "folder" else tmp_path,
        env={**os.environ, **({"PYTHONPATH": f"/elsewhere:{maya}"} if how == "environment" else {})},
    )
    try:
        report = await pruned(server, tmp_path)
    finally:
        process.communicate(b"\n")
    assert report.items[0].state == "kept"
    assert report.items[0].reason.startswith(f"used by process {process.pid} (")
    assert "maya 1.0.0" in by_state(await pruned(server, tmp_path))["removed"]


@linux
def test_mapped_files_and_links_to_the_store_are_seen(tmp_path: Path) -> None:
    import mmap

    library = tmp_path / "real/addons/maya_1.0.0/lib.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"code")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    root = Store.at(tmp_path / "link").root("addon")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        library.unlink()
        used = in_use([root])
    assert used is not None
    assert used[root.path / "maya_1.0.0"].startswith(f"{os.getpid()} (")


def test_where_processes_cannot_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Store.at(tmp_path).root("addon")
    assert in_use([root], tmp_path / "no proc") is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert in_use([root]) is None


async def test_it_says_that_processes_cannot_be_seen(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ayon_async.store.processes.in_use", lambda roots: None)
    report = await pruned(server, tmp_path, remove=False)
    assert report.warnings == ("Whether processes use something can't be seen on this system.",)
