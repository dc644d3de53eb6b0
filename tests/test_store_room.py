"""A store without room: known before anything starts, or met in the middle; and read-only ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Drop, Status
from cli_machine import Machine
from store_processes import content, leftovers

as_root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount file systems")

SIZE = 400_000
ITEMS = ("core", "maya", "nuke", "ayon_tiny_linux.zip")


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(SIZE)) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


@pytest.fixture
def mount(machine: Machine) -> Iterator[Callable[[str], None]]:
    """Mounts a memory file system of this size at the machine's store, or changes it."""
    mounted: list[str] = []

    def mount(options: str) -> None:
        how = "remount," if mounted else ""
        machine.storage.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", how + options, "tmpfs", str(machine.storage)]
        subprocess.run(command, check=True)
        mounted.append(options)

    yield mount
    if mounted:
        subprocess.run(["umount", str(machine.storage)], check=True)


def says_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Make the system say that this is free."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - free, free))


# --- known before ---------------------------------------------------------------------------------------------------


async def test_what_is_known_not_to_fit_starts_nothing(
    machine: Machine, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sum(item["size"] for item in (await machine.call("sync", "--dry-run", "--json")).document["items"])
    says_free(monkeypatch, 2 * whole - 1)
    server.forget_requests()
    refused = await machine.call("sync", "--json")
    assert refused.code == 1
    assert refused.states == dict.fromkeys(ITEMS, "failed")
    for item in refused.document["items"]:
        error = item["error"]
        assert error["type"] == "StoreFull"
        assert f"needs {2 * whole:,} bytes (an estimate: " in error["message"]
        assert f"{2 * whole - 1:,} are free in {machine.storage}" in error["message"]
        assert error["hint"]
    assert refused.err.count("Failed: ") == 1, "said once for them all"
    assert server.bytes_asked() == len(ITEMS) - 1, "nothing but the sizes of the addons"
    assert content(machine.storage) == {}
    says_free(monkeypatch, 2 * whole)
    assert (await machine.call("sync")).code == 0


async def test_only_what_is_missing_counts(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await machine.call("sync")).code == 0
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    says_free(monkeypatch, SIZE)
    refused = await machine.call("sync", "--json")
    assert refused.states == {name: "failed" if name == "maya" else "up_to_date" for name in ITEMS}
    says_free(monkeypatch, 3 * SIZE)
    assert (await machine.call("sync")).code == 0


async def test_what_arrived_already_is_not_counted(
    machine: Machine, server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part takes its room already: only the rest of it, and what it holds, need more."""
    assert (await machine.call("sync")).code == 0
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    server.faults.add("/addons/core/*", Drop(after_bytes=300_000))
    machine.env["AYON_SERVER_RETRIES"] = "0"
    assert (await machine.call("sync")).code == 1
    [part] = machine.storage.glob("addons/.ayon-async/parts/*.part")
    here = part.stat().st_size
    assert here == 300_000
    server.faults.clear()
    whole = next(
        item["size"] for item in (await machine.call("sync", "--dry-run", "--json")).document["items"] if item["size"]
    )
    says_free(monkeypatch, 2 * whole - here - 5000)
    refused = await machine.call("sync", "--json")
    assert refused.code == 1
    assert f"needs {2 * whole - here:,} bytes" in refused.err
    says_free(monkeypatch, 2 * whole - here)
    assert (await machine.call("sync")).code == 0


async def test_what_has_only_to_be_renamed_needs_no_room(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await machine.call("sync")).code == 0
    staged = machine.storage / "addons/.ayon-async/staging/core_1.0.0.0123456789abcdef0123456789abcdef"
    (machine.storage / "addons/core_1.0.0").rename(staged)
    says_free(monkeypatch, 0)
    done = await machine.call("sync", "--json")
    assert (done.code, done.document["bytes_downloaded"]) == (0, 0), done.err


async def test_unknown_sizes_are_said(machine: Machine, server: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.faults.add("/addons/maya/*", Status(503), probes=True)
    says_free(monkeypatch, 1000)
    machine.env["AYON_SERVER_RETRIES"] = "0"
    refused = await machine.call("sync", "--json")
    assert refused.states == dict.fromkeys(ITEMS, "failed")
    assert "sizes unknown and not counted: 1" in refused.err


async def test_leftovers_make_room_first(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run of another bundle left may be all that is in the way."""
    assert (await machine.call("sync", "--use-staging")).code == 0
    shutil.rmtree(machine.storage / "addons/maya_1.0.0")
    half = machine.storage / "addons/.ayon-async/staging/other_1.0.0.0123456789abcdef0123456789abcdef"
    half.mkdir()
    (half / "half").write_bytes(b"half")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000 if half.exists() else 10 * SIZE))
    assert (await machine.call("sync", "--use-staging")).code == 0
    assert not half.exists()


# --- met in the middle ----------------------------------------------------------------------------------------------


@as_root
async def test_full_disk_in_mid_run(machine: Machine, server: DevServer, mount: Callable[[str], None]) -> None:
    """Nobody knew the sizes; what fits is installed, what does not is told, and the next run goes on."""
    mount("size=1500k")
    server.faults.add("/addons/*", Status(404), probes=True, attempts=1)
    full = await machine.call("sync", "--json", "--jobs", "1")
    assert full.code == 1
    assert set(full.states.values()) <= {"installed", "failed"}
    errors = [item["error"] for item in full.document["items"] if item["error"]]
    assert errors
    assert {error["type"] for error in errors} == {"StoreFull"}
    assert all("room left" in error["message"] and str(machine.storage) in error["message"] for error in errors)
    installed = {name for name, state in full.states.items() if state == "installed"}
    mount("size=20m")
    server.forget_requests()
    server.faults.clear()
    again = await machine.call("sync", "--json")
    assert again.code == 0, again.err
    assert {name for name, state in again.states.items() if state == "up_to_date"} == installed
    assert leftovers(machine.storage) == []


# --- read-only ------------------------------------------------------------------------------------------------------


@as_root
async def test_complete_read_only_store(machine: Machine, mount: Callable[[str], None]) -> None:
    mount("size=20m")
    assert (await machine.call("sync")).code == 0
    # What a run that may write would tidy up.
    (machine.storage / "addons/addons.json").unlink()
    (machine.storage / "addons/.ayon-async/staging/core_1.0.0.0123").mkdir()
    for file in machine.storage.glob("addons/.ayon-async/bundles/*"):
        file.unlink()
    mount("ro")
    for command in (("sync", "--json"), ("status", "--json")):
        done = await machine.call(*command)
        assert (done.code, done.document["warnings"]) == (0, [])
        assert set(done.states.values()) == {"up_to_date"}


@as_root
async def test_incomplete_read_only_store(machine: Machine, server: DevServer, mount: Callable[[str], None]) -> None:
    mount("size=20m")
    assert (await machine.call("sync")).code == 0
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    mount("ro")
    server.forget_requests()
    missing = await machine.call("sync", "--json")
    assert missing.code == 1
    assert missing.states == {name: "failed" if name == "core" else "up_to_date" for name in ITEMS}
    assert "core 1.0.0: The store can't be written: " in missing.err
    assert "Read-only file system" in missing.err
    assert server.bytes_asked() <= 1, "nothing is fetched that has no place"
    assert (await machine.call("status", "--json")).states["core"] == "planned"
