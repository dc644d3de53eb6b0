"""A store on real file systems, each in a file of its own: crashes, power cuts, a full disk and a crowd."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Link, Status
from cli_machine import Machine
from store_processes import Zygote, content, leftovers, until
from store_steps import STEPS, STUDIO, check_never_half, leave_unfinished

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount file systems")

SIZE = 400_000
MEASURE = 320 << 20  # bytes of a file system: xfs takes no less
FEW = ("write the launcher's record", "flush the parent")
MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}


@dataclass
class Disk:
    """A file system in a file.

    Attributes:
        place: Where it is mounted.
    """

    place: Path
    _image: Path

    def plug_in(self) -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", self._image, self.place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"this file system can't be mounted here: {done.stderr.strip()}")

    def unplug(self) -> None:
        subprocess.run(["umount", self.place], check=True)

    def snapshot(self) -> Path:
        """What is on the device at this moment; what the system only keeps in memory is not."""
        copy = self._image.with_suffix(".cut")
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        return copy

    def replace(self, image: Path) -> None:
        """Go on with another device: whatever was not on it is lost."""
        self.unplug()
        image.replace(self._image)
        self.plug_in()


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def right(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a sync leaves that nothing happens to."""

    async def go() -> dict[str, Any]:
        async with DevServer(STUDIO) as server:
            machine = Machine(tmp_path_factory.mktemp("right"), server.url)
            assert (await zygote.run(machine, "sync")).code == 0
            return content(machine.storage)

    return asyncio.run(go())


@pytest.fixture(params=list(MAKE))
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    program, *options = MAKE[request.param]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    disk = Disk(tmp_path / "disk", tmp_path / "image")
    disk.place.mkdir()
    with disk._image.open("wb") as file:
        file.truncate(MEASURE)
    subprocess.run([program, *options, disk._image], check=True, capture_output=True)
    disk.plug_in()
    yield disk
    disk.unplug()


async def sync_again(zygote: Zygote, machine: Machine, right: dict[str, Any]) -> None:
    """A plain sync repairs all, whatever happened."""
    check_never_half(machine.storage, right)
    again = await zygote.run(machine, "sync", "--json")
    assert (again.code, again.document["warnings"]) == (0, []), again.err
    assert content(machine.storage) == right


@pytest.mark.parametrize("names", [FEW, pytest.param(tuple(STEPS), marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.timeout(300)
async def test_killed(zygote: Zygote, disk: Disk, right: dict[str, Any], names: tuple[str, ...]) -> None:
    async with DevServer(STUDIO) as server:
        for name in names:
            machine = Machine(disk.place, server.url)
            leave_unfinished(machine.storage)
            killed = await zygote.run(machine, "sync", "--jobs", "1", kill=STEPS[name])
            assert killed.code == -signal.SIGKILL, name
            await sync_again(zygote, machine, right)
            assert leftovers(machine.storage) == []
            shutil.rmtree(machine.storage)


@pytest.mark.parametrize("names", [FEW, pytest.param(tuple(STEPS), marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.timeout(300)
async def test_power_cut(zygote: Zygote, disk: Disk, right: dict[str, Any], names: tuple[str, ...]) -> None:
    """What the system had not yet put on the device is gone: no folder may say that it has what went with it."""
    async with DevServer(STUDIO) as server:
        for name in names:
            machine = Machine(disk.place, server.url)
            leave_unfinished(machine.storage)
            os.sync()
            stopped = zygote.start(machine, "sync", "--jobs", "1", stop=STEPS[name])
            await stopped.stopped()
            device = disk.snapshot()
            await stopped.send(signal.SIGKILL)
            await stopped.ended()
            disk.replace(device)
            await sync_again(zygote, machine, right)
            # That a part was removed may be lost too: it stays as long as any that nobody goes on with.
            assert [path for path in leftovers(machine.storage) if "/parts/" not in path] == []
            shutil.rmtree(machine.storage)
        assert (await zygote.run(machine, "sync")).code == 0
        disk.replace(disk.snapshot())
        there = content(machine.storage)
        folders = ("addons/core_1.0.0/", "dependency_packages/tiny.zip/")
        assert {path: there.get(path) for path in right if path.startswith(folders)} == {
            path: data for path, data in right.items() if path.startswith(folders)
        }


async def test_full(zygote: Zygote, disk: Disk) -> None:
    async with DevServer(tiny_studio(SIZE)) as server:
        machine = Machine(disk.place, server.url)
        assert (await zygote.run(machine, "status")).code == 1
        ballast = disk.place / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk.place).free - 4 * SIZE)
        server.faults.add("/addons/*", Status(404), probes=True, attempts=1)  # else it is known before
        full = await zygote.run(machine, "sync", "--json", "--jobs", "1")
        assert full.code == 1
        errors = [item["error"] for item in full.document["items"] if item["error"]]
        assert {error["type"] for error in errors} == {"StoreFull"}
        ballast.unlink()

        def is_free() -> bool:
            os.sync()  # btrfs counts what was removed as free only some time after it is on the device
            return shutil.disk_usage(disk.place).free > 10 * SIZE

        await until(is_free)
        server.faults.clear()
        again = await zygote.run(machine, "sync", "--json")
        assert (again.code, again.document["warnings"]) == (0, []), again.err
        assert leftovers(machine.storage) == []
        assert (await zygote.run(machine, "verify")).code == 0


async def test_crowd(zygote: Zygote, disk: Disk) -> None:
    async with DevServer(tiny_studio(100_000)) as server:
        machine = Machine(disk.place, server.url)
        server.faults.add("*", Link(500_000))
        processes = [zygote.start(machine, "sync", "--json") for _ in range(8)]
        ended = [await process.ended() for process in processes]
        assert [one.code for one in ended] == [0] * 8, [one.err for one in ended]
        sizes = [item["size"] for item in ended[0].document["items"]]
        assert sum(one.document["bytes_downloaded"] for one in ended) == sum(sizes), "each archive came once"
        assert leftovers(machine.storage) == []
        assert (await zygote.run(machine, "verify")).code == 0
