"""The commands that look after a store: what they print, their documents and their exit codes."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, addon, client_zip, tiny_studio
from cli_machine import Machine


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
async def machine(tmp_path: Path, server: DevServer) -> Machine:
    machine = Machine(tmp_path, server.url)
    assert (await machine.call("sync", "--quiet")).code == 0
    return machine


def damage(machine: Machine) -> None:
    (machine.storage / "addons/maya_1.0.0/ayon_maya/version.py").write_text("damaged")


# --- verify and repair ----------------------------------------------------------------------------------------------


async def test_verify(machine: Machine) -> None:
    intact = await machine.call("verify")
    assert intact.code == 0
    assert re.fullmatch(r"4 items: 4 intact; 15 files, 80\.\d kB in \d\.\d s\.\n", intact.out), intact.out
    damage(machine)
    for options in ((), ("--quick",)):
        damaged = await machine.call("verify", *options)
        assert damaged.code == 1
        assert "maya 1.0.0: changed: ayon_maya/version.py\n4 items: 3 intact, 1 damaged; " in damaged.out
        assert damaged.err == ""


async def test_document_of_verify(machine: Machine) -> None:
    damage(machine)
    done = await machine.call("verify", "--json")
    document = done.document
    assert (done.code, document["error"], document["files"]) == (1, None, 15)
    found = {item["name"]: (item["state"], item["problems"]) for item in document["items"]}
    assert found["core"] == ("intact", [])
    assert found["maya"] == ("damaged", [{"path": "ayon_maya/version.py", "problem": "changed"}])
    assert document["bytes"] == sum(item["size"] for item in document["items"])


async def test_verify_of_nothing(tmp_path: Path) -> None:
    done = await Machine(tmp_path).call("verify")
    assert (done.code, done.out.partition(";")[0]) == (0, "0 items: nothing is installed")


async def test_repair(machine: Machine) -> None:
    nothing = await machine.call("repair")
    assert (nothing.code, nothing.out) == (0, "Nothing is damaged.\n")
    damage(machine)
    done = await machine.call("repair", "--json")
    assert (done.code, done.states) == (0, {"maya": "installed"})
    assert done.document["damaged"][0]["problems"] == [{"path": "ayon_maya/version.py", "problem": "changed"}]
    assert (await machine.call("verify")).code == 0
    damage(machine)
    assert (await machine.call("repair")).out == "1 of 1 damaged item repaired.\n"


async def test_repair_that_fails(machine: Machine, server: DevServer) -> None:
    damage(machine)
    server.studio = replace(server.studio, addons={})
    done = await machine.call("repair", "--json")
    assert (done.code, done.states) == (1, {"maya": "failed"})
    assert "Failed: maya 1.0.0: The server does not have the addon" in done.err
    await server.stop()
    assert (await machine.call("repair", "--json")).document["error"]["type"] == "ServerUnreachable"


# --- prune and history ----------------------------------------------------------------------------------------------


async def test_prune_lists_and_removes(machine: Machine, server: DevServer) -> None:
    await server.promote("staging")
    assert (await machine.call("sync", "--quiet")).code == 0
    server.studio = replace(server.studio, bundles=tuple(b for b in server.studio.bundles if b.name != "prod"))
    assert (await machine.call("prune")).out == "0 items to remove, which would free 0 B; 5 to keep.\n"
    assert (await machine.call("prune", "--min-age", "0")).out.startswith("0 items"), "it is what to go back to"
    options = ("--min-age", "0", "--keep-previous", "0")
    listed = await machine.call("prune", *options)
    assert re.fullmatch(
        r"core 1\.0\.0  2\d\.\d kB  removable\n"
        r"1 item to remove, which would free 2\d\.\d kB; 4 to keep\. Run it again with --yes to remove them\.\n",
        listed.out,
    ), listed.out
    assert (machine.storage / "addons/core_1.0.0").is_dir()
    explained = await machine.call("prune", *options, "--verbose")
    assert "nuke 1.0.0           " in explained.out
    assert "kept: of the last good bundle staging" in explained.out or "kept: used by the bundle" in explained.out
    removed = await machine.call("prune", *options, "--yes", "--json")
    document = removed.document
    assert (removed.code, document["removed"], document["error"]) == (0, True, None)
    gone = [item for item in document["items"] if item["state"] == "removed"]
    assert [(item["kind"], item["name"], item["version"]) for item in gone] == [("addon", "core", "1.0.0")]
    assert document["bytes_freed"] == gone[0]["size"] > 20_000
    assert not (machine.storage / "addons/core_1.0.0").exists()
    assert (await machine.call("verify")).code == 0


async def test_prune_by_number_needs_no_server(machine: Machine, server: DevServer) -> None:
    await server.promote("staging")
    assert (await machine.call("sync", "--quiet")).code == 0
    await server.stop()
    done = await machine.call("prune", "--keep", "1", "--keep-previous", "0", "--min-age", "0h", "--json")
    assert (done.code, done.document["server"], done.document["removed"]) == (0, None, False)
    assert [item["name"] for item in done.document["items"] if item["state"] == "removable"] == ["core"]
    away = await machine.call("prune", "--json")
    assert (away.code, away.document["items"]) == (3, [])


@pytest.mark.parametrize("option", ["--min-age=soon", "--keep=-1", "--keep-previous=x"])
async def test_prune_used_wrongly(machine: Machine, option: str) -> None:
    done = await machine.call("prune", option, "--json")
    assert (done.code, done.out) == (2, "")


async def test_history_of_nothing(tmp_path: Path) -> None:
    done = await Machine(tmp_path).call("history")
    assert (done.code, done.out) == (0, "No bundle was ever complete in this store.\n")


async def test_history(machine: Machine, server: DevServer) -> None:
    await server.promote("staging")
    assert (await machine.call("sync", "--quiet")).code == 0
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    told = await machine.call("history")
    lines = told.out.splitlines()
    assert [re.split(r"\s{2,}", line)[2:] for line in lines] == [
        ["staging (production)", "4 items", "all here"],
        ["prod (production)", "4 items", "1 no longer here"],
    ]
    entries = (await machine.call("history", "--json")).document["history"]
    assert [(entry["bundle"], entry["variant"]) for entry in entries] == [
        ("staging", "production"),
        ("prod", "production"),
    ]
    assert [item["in_store"] for item in entries[1]["items"]] == [False, True, True, True]
    assert entries[0]["since"] >= entries[1]["confirmed"]


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ("max_members = 2", "TooManyMembers"),
        ("max_depth = 2", "TooDeep"),
        ('max_size = "4k"', "TooLarge"),
    ],
)
async def test_limits_are_settings(machine: Machine, limit: str, error: str) -> None:
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    settings = machine.home / ".config/ayon-async/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"{limit}\n")
    refused = await machine.call("sync", "--json")
    [maya] = [item for item in refused.document["items"] if item["name"] == "maya"]
    assert (refused.code, maya["error"]["type"]) == (1, error)
    settings.write_text("")
    assert (await machine.call("sync")).code == 0


# --- lock -----------------------------------------------------------------------------------------------------------


async def test_lock_and_sync_from_it(machine: Machine, server: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "bundle.lock.json"
    done = await machine.call("lock", "-o", str(file))
    assert (done.code, done.out) == (0, f"{file}: 4 items of the bundle prod.\n")
    assert json.loads(file.read_bytes())["format"] == 1
    await server.promote("staging")
    other = ("--storage-dir", str(tmp_path / "other"), "--lock", str(file))
    installed = await machine.call("sync", *other, "--json")
    assert (installed.code, set(installed.states.values())) == (0, {"installed"})
    assert all("lock" in item["verified_by"] for item in installed.document["items"])
    assert "The server's bundle is 'staging'; the lock file's is 'prod', and decides." in installed.err
    offline = await machine.call("sync", *other, "--offline", "--json")
    assert (offline.code, offline.document["bundle"]) == (0, "prod")
    addons = {**server.studio.addons, ("maya", "1.0.0"): addon(client_zip("maya", "other"))}
    server.studio = replace(server.studio, addons=addons)
    shutil.rmtree(tmp_path / "other/addons/maya_1.0.0")
    refused = await machine.call("sync", *other, "--json")
    assert (refused.code, refused.states["maya"]) == (1, "failed")


async def test_status_and_exec_by_a_lock(machine: Machine, server: DevServer, tmp_path: Path) -> None:
    """What is compared, and what a command is started with, is the lock's bundle and not the server's."""
    lock = ("--lock", str(tmp_path / "bundle.lock.json"))
    assert (await machine.call("lock", "-o", lock[1])).code == 0
    await server.promote("staging")
    assert (await machine.call("sync")).code == 0
    program = ("--", sys.executable, "-c", "import os; print(os.environ['AYON_BUNDLE_NAME'])")
    for way in ((), ("--offline",)):
        assert (await machine.call("status", *lock, *way, "--json")).document["bundle"] == "prod"
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    missing = await machine.call("status", *lock, "--json")
    assert (missing.code, missing.states["core"], missing.states["maya"]) == (1, "planned", "up_to_date")
    assert (await machine.call("status")).code == 0, "the staging bundle has another one"
    started = await machine.run("exec", *lock, *program)
    assert (started.code, started.out) == (0, "prod\n"), started.err
    assert (machine.storage / "addons/core_1.0.0").is_dir()
    addons = {**server.studio.addons, ("core", "1.0.0"): addon(client_zip("core", "other"))}
    server.studio = replace(server.studio, addons=addons)
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    refused = await machine.run("exec", *lock, *program)
    assert (refused.code, refused.out) == (1, "")
    assert "core 1.0.0" in refused.err


async def test_lock_that_cannot_be_made_or_read(machine: Machine, server: DevServer, tmp_path: Path) -> None:
    assert (await machine.call("lock")).code == 2
    assert (await machine.call("sync", "--lock", str(tmp_path / "none"))).code == 2
    nowhere = await machine.call("lock", "-o", str(tmp_path / "no/folder/lock.json"), "--json")
    assert (nowhere.code, nowhere.document["lock"]) == (1, None)
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    server.studio = replace(server.studio, addons={})
    failed = await machine.call("lock", "-o", str(tmp_path / "lock.json"), "--json")
    assert (failed.code, failed.document["lock"], failed.states["maya"]) == (1, None, "failed")
    assert not (tmp_path / "lock.json").exists()


# --- the server is away, or has something else ----------------------------------------------------------------------


async def test_remote_and_refresh(machine: Machine, server: DevServer) -> None:
    addons = {**server.studio.addons, ("maya", "1.0.0"): addon(client_zip("maya", "1.0.0", 30_000))}
    server.studio = replace(server.studio, addons=addons)
    asked = await machine.call("status", "--remote", "--json")
    assert {item["name"]: item["remote"] for item in asked.document["items"]} == {
        "core": "same",
        "maya": "may_have_changed",
        "nuke": "same",
        "ayon_tiny_linux.zip": "same",
    }
    told = await machine.call("status", "--remote")
    assert (told.code, "maya 1.0.0           up to date  may have changed on the server" in told.out) == (0, True)
    refreshed = await machine.call("sync", "--refresh", "--json")
    assert (refreshed.code, refreshed.states["maya"], refreshed.states["core"]) == (0, "installed", "up_to_date")


async def test_offline_is_answered_from_disk_at_once(machine: Machine, server: DevServer) -> None:
    await server.stop()
    for command in ("sync", "status"):
        took = []
        for _ in range(3):  # whatever else the machine is doing
            started = time.monotonic()
            done = await machine.call(command, "--offline", "--json")
            took.append(time.monotonic() - started)
        assert min(took) < 1
        assert (done.code, done.document["offline"], done.document["can_start"]) == (0, True, True)
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    for command, state in (("sync", "failed"), ("status", "planned")):
        done = await machine.call(command, "--offline", "--json")
        assert (done.code, done.states["maya"], done.document["can_start"]) == (1, state, False)


async def test_server_away(machine: Machine, server: DevServer) -> None:
    await server.stop()
    done = await machine.call("sync", "--json")
    document = done.document
    assert (done.code, document["error"]["type"], document["bundle"]) == (3, "ServerUnreachable", "prod")
    assert (document["offline"], document["can_start"]) == (True, True)
    assert "AYON can be started without the server." in done.err
    assert set(done.states.values()) == {"up_to_date"}


async def test_exec_without_the_server(machine: Machine, server: DevServer) -> None:
    code = "import os; print(os.environ['AYON_BUNDLE_NAME'], os.environ['AYON_API_KEY'])"
    program = ("--", sys.executable, "-c", code)
    await server.stop()
    refused = await machine.call("exec", *program)
    assert (refused.code, refused.out) == (3, "")
    for option in ("--offline-ok", "--offline"):
        started = await machine.run("exec", option, *program)
        assert (started.code, started.out) == (0, "prod artist-key\n"), started.err
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    missing = await machine.call("exec", "--offline-ok", *program)
    assert (missing.code, missing.out) == (3, "")
    assert "AYON can't be started: the store lacks of the bundle 'prod': maya 1.0.0." in missing.err
