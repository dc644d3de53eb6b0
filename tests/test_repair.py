"""Repairing: just what is damaged, from the same archive, and the old folder gives way only to a complete one."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import Store, SyncReport
from ayon_async.devserver import DevServer, addon, zip_bytes
from ayon_async.devserver.faults import Status
from ayon_async.repairing import repair
from studios import everything, item_of, leftovers, reached, signed_in, small, states, studio, synced, why

LABEL = "maya 1.0.0"
ARCHIVE = "/addons/maya/1.0.0/*"
MAYA = zip_bytes({"ayon_maya/version.py": "right", "ayon_maya/big.bin": bytes(100_000)})
OTHER = zip_bytes({"ayon_maya/version.py": "other"})


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(studio({LABEL: MAYA, **small("nuke 1.0.0")})) as server:
        yield server


@pytest.fixture
async def maya(server: DevServer, tmp_path: Path) -> Path:
    """The folder of a damaged addon in a store."""
    await synced(server, tmp_path)
    maya = tmp_path / "addons/maya_1.0.0"
    (maya / "ayon_maya/version.py").write_text("wrong")
    (maya / "ayon_maya/sneaked.py").write_text("extra")
    server.forget_requests()
    return maya


async def repaired(server: DevServer, folder: Path) -> SyncReport:
    store = Store.at(folder)
    async with signed_in(server) as client:
        return await repair(client, store, await store.verify())


async def damaged(folder: Path) -> list[str]:
    return [checked.item.label for checked in await Store.at(folder).verify() if checked.state == "damaged"]


async def test_just_the_damaged_item_is_reinstalled(server: DevServer, maya: Path, tmp_path: Path) -> None:
    nuke = everything(tmp_path / "addons/nuke_1.0.0")
    report = await repaired(server, tmp_path)
    assert (report.exit_code, states(report)) == (0, {LABEL: "installed"})
    assert item_of(report, LABEL).verified_by == ("recorded", "archive")
    assert await damaged(tmp_path) == []
    assert (maya / "ayon_maya/version.py").read_text() == "right"
    assert everything(tmp_path / "addons/nuke_1.0.0") == nuke
    assert reached(server) == ["/api/addons", "/addons/maya/1.0.0/private/client.zip"]
    assert leftovers(tmp_path) == []


async def test_nothing_damaged_asks_nothing(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    server.forget_requests()
    report = await repaired(server, tmp_path)
    assert (report.ok, report.items, server.requests) == (True, (), [])


async def test_it_fails_and_the_old_one_stays(server: DevServer, maya: Path, tmp_path: Path) -> None:
    server.faults.add(ARCHIVE, Status(404))
    before = everything(maya)
    report = await repaired(server, tmp_path)
    assert (report.exit_code, states(report)) == (1, {LABEL: "failed"})
    assert everything(maya) == before
    assert leftovers(tmp_path) == []


async def test_what_is_known_not_to_fit_is_not_begun(
    server: DevServer, maya: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, needed = everything(maya), 2 * len(MAYA)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - needed + 1, needed - 1))
    report = await repaired(server, tmp_path)
    assert (report.exit_code, states(report)) == (1, {LABEL: "failed"})
    assert f"needs {needed:,} bytes" in why(report, LABEL)
    assert f"{needed - 1:,} are free" in why(report, LABEL)
    assert (everything(maya), reached(server)) == (before, ["/api/addons"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - needed, needed))
    assert states(await repaired(server, tmp_path)) == {LABEL: "installed"}


async def test_another_archive_is_no_repair(server: DevServer, maya: Path, tmp_path: Path) -> None:
    server.studio = replace(server.studio, addons={**server.studio.addons, ("maya", "1.0.0"): addon(OTHER)})
    shutil.rmtree(tmp_path / "addons/.ayon-async/seen")
    report = await repaired(server, tmp_path)
    assert "is not the archive that was seen first under this version" in why(report, LABEL)
    assert (maya / "ayon_maya/version.py").read_text() == "wrong"


async def test_damaged_records_are_repaired_too(server: DevServer, maya: Path, tmp_path: Path) -> None:
    (maya / ".ayon-async.json").write_text("{")
    assert states(await repaired(server, tmp_path)) == {LABEL: "installed"}
    (maya / "dist_progress.json").unlink()
    assert states(await repaired(server, tmp_path)) == {LABEL: "installed"}
    assert await damaged(tmp_path) == []


async def test_the_server_has_it_no_more(server: DevServer, maya: Path, tmp_path: Path) -> None:
    server.studio = replace(server.studio, addons={("nuke", "1.0.0"): server.studio.addons["nuke", "1.0.0"]})
    assert why(await repaired(server, tmp_path), LABEL).startswith("The server does not have the addon maya 1.0.0")
    server.studio = replace(server.studio, addons={("maya", "1.0.0"): addon()})
    assert why(await repaired(server, tmp_path), LABEL) == "The server has nothing to install for maya 1.0.0 any more."
    assert (maya / "ayon_maya/version.py").read_text() == "wrong"


@pytest.mark.usefixtures("maya")
async def test_server_away(server: DevServer, tmp_path: Path) -> None:
    server.faults.add("/api/addons", Status(500))
    report = await repaired(server, tmp_path)
    assert (report.exit_code, states(report)) == (3, {LABEL: "planned"})
    assert await damaged(tmp_path) == [LABEL]
