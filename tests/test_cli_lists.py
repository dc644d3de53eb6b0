"""``bundles``, ``paths`` and ``config``: what there is, and where it came from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.paths import platform_folders
from cli_machine import Machine


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


async def test_bundles_with_their_roles_newest_first(machine: Machine, server: DevServer) -> None:
    dated = [replace(b, created_at=f"2026-0{n}-01T00:00:00+00:00") for n, b in enumerate(server.studio.bundles, 1)]
    old = replace(dated[1], name="old", is_staging=False, is_archived=True, created_at="2024-01-01T00:00:00+00:00")
    server.studio = replace(server.studio, bundles=(old, *dated))
    listed = await machine.call("bundles")
    assert listed.code == 0
    assert [line.split("  ")[0] for line in listed.out.splitlines()] == [
        "__project__demo__production",
        "prod",
        "staging",
        "dev-artist",
        "old",
    ]
    assert [line.split()[1:] for line in listed.out.splitlines()][3:] == [
        ["dev", "of", "artist", "3", "addons", "2026-01-01"],
        ["archived", "3", "addons", "2024-01-01"],
    ]
    document = (await machine.call("bundles", "--json")).document
    assert (document["server"], document["error"]) == (server.url, None)
    assert [bundle["roles"] for bundle in document["bundles"]] == [
        ["project"],
        ["production"],
        ["staging"],
        ["dev"],
        ["archived"],
    ]
    archived = await machine.call("sync", "--bundle", "old")
    assert (archived.code, "The bundle 'old' is archived." in archived.err) == (5, True)
    assert document["bundles"][1]["addons"] == {"core": "1.0.0", "maya": "1.0.0", "nuke": "1.0.0"}


async def test_bundles_of_a_server_that_refuses_or_is_away(tmp_path: Path, server: DevServer) -> None:
    refused = await Machine(tmp_path, server.url, "wrong").call("bundles", "--json")
    assert (refused.code, refused.document["error"]["type"], refused.document["bundles"]) == (4, "NotSignedIn", [])
    await server.stop()
    away = await Machine(tmp_path, server.url).call("bundles", "--json")
    assert (away.code, away.document["error"]["type"], away.document["server"]) == (3, "ServerUnreachable", server.url)


async def test_paths_say_where_each_came_from(machine: Machine, tmp_path: Path) -> None:
    machine.env["AYON_DEPENDENCIES_DIR"] = str(tmp_path / "packages")
    document = (await machine.call("paths", "--json")).document
    assert document["paths"]["addons"] == {
        "path": str(machine.storage / "addons"),
        "origin": "AYON_LAUNCHER_STORAGE_DIR",
    }
    assert document["paths"]["dependency_packages"] == {
        "path": str(tmp_path / "packages"),
        "origin": "AYON_DEPENDENCIES_DIR",
    }
    flag = await machine.call("paths", "--storage-dir", str(tmp_path / "x"))
    lines = dict(line.split("  ", 1) for line in flag.out.splitlines())
    assert lines["addons"].split() == [str(tmp_path / "x/addons"), "--storage-dir"]
    assert lines["dependency packages"].split() == [str(tmp_path / "x/dependency_packages"), "--storage-dir"]


async def test_another_store_of_the_launcher_is_mentioned(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "addons/core_1.0.0").mkdir(parents=True)
    machine.env["AYON_LAUNCHER_STORAGE_DIR"] = str(theirs)
    elsewhere = ("--storage-dir", str(tmp_path / "ours"))
    document = (await machine.call("paths", "--json", *elsewhere)).document
    assert str(theirs) in document["other_store"]
    assert document["other_store"] in (await machine.call("paths", *elsewhere)).out
    synced = await machine.call("sync", *elsewhere)
    assert synced.err.count(document["other_store"]) == 1
    assert (await machine.call("sync", "--quiet", *elsewhere)).err == ""
    assert (await machine.call("paths", "--json")).document["other_store"] is None


async def test_config_shows_values_places_and_no_secrets(machine: Machine) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.env.items():
            patch.setenv(name, value)
        file = platform_folders().user_file
    file.parent.mkdir(parents=True)
    file.write_text('jobs = 3\nspeed = "high"\n')
    shown = await machine.call("config", "--use-staging")
    rows = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}
    assert rows["server"] == [machine.env["AYON_SERVER_URL"], "AYON_SERVER_URL"]
    assert rows["api_key"] == ["***", "AYON_API_KEY"]
    assert rows["jobs"] == ["3", str(file)]
    assert rows["use_staging"] == ["true", "--use-staging"]
    assert rows["retries"][1] == "default"
    assert "artist-key" not in shown.out
    assert shown.err == f"Warning: {file}: speed is ignored, there is no such setting.\n"


async def test_settings_file_that_can_not_be_used(machine: Machine) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.env.items():
            patch.setenv(name, value)
        file = platform_folders().user_file
    file.parent.mkdir(parents=True)
    file.write_text("jobs = 'all'\n")
    for command in ("config", "paths", "sync"):
        wrong = await machine.call(command)
        assert (wrong.code, wrong.out) == (2, "")
        message = f"{file}: jobs must be a whole number from 1 to 16, not 'all'."
        assert wrong.err == f"Error: {message}\n  Correct the file.\n"
