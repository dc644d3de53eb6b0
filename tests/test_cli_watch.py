"""``ayon-async watch`` as a process of its own: what it says, how it ends, and the unit that it writes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Slow
from cli_machine import Ended, Machine, ended
from watching import configure, until

SIGNALS = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process of its own")


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(400_000), heartbeat=0.2) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    machine = Machine(tmp_path, server.url)
    configure(machine, news_wait=0)
    return machine


async def stopped(process: asyncio.subprocess.Process, by: signal.Signals) -> Ended:
    """What it leaves when it gets the signal; two seconds are the promise."""
    process.send_signal(by)
    async with asyncio.timeout(2):
        return await ended(process)


@SIGNALS
@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_in_a_download(machine: Machine, server: DevServer, by: signal.Signals, code: int) -> None:
    slow = server.faults.add("/addons/[mn]*", Slow(200_000))
    process = await machine.start("watch")
    await until(lambda: server.bytes_sent("/addons/maya/*") > 150_000)
    left = await stopped(process, by)
    assert left.code == code
    assert left.err == ""
    assert "Nothing is lost." in left.out.splitlines()[-1]
    server.faults.remove(slow)
    server.forget_requests()
    assert (await machine.call("sync", "--json")).states["maya"] == "installed"
    assert server.bytes_asked("/addons/maya/*") < 400_000, "what had arrived was kept"


@SIGNALS
async def test_what_it_says(machine: Machine, server: DevServer) -> None:
    process = await machine.start("watch")
    await until(lambda: "addons/maya_1.0.0/dist_progress.json" in machine.store)
    await server.news.wait_for_listeners()
    await server.promote("staging")
    await until(lambda: "addons/core_1.1.0/dist_progress.json" in machine.store)
    assert process.stdout is not None
    said: list[str] = []
    async with asyncio.timeout(20):
        while not said or "1 addon updated: core 1.1.0. Bundle staging." not in said[-1]:
            said.append((await process.stdout.readline()).decode())
    left = await stopped(process, signal.SIGTERM)
    assert (left.code, left.err) == (143, "")
    text = "".join(said)
    assert f"Watching {server.url}." in text
    assert "core 1.1.0 · installed" in text
    assert "AYON production · staging · up to date." in text
    [log] = machine.home.rglob("watch.log")
    assert "core 1.1.0 · installed" in log.read_text(encoding="utf-8")
    assert "artist-key" not in text + log.read_text(encoding="utf-8")


@SIGNALS
async def test_without_a_server_it_waits_to_be_signed_in(tmp_path: Path) -> None:
    process = await Machine(tmp_path).start("watch")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"signed out" not in await process.stdout.readline():
            pass
    assert (await stopped(process, signal.SIGTERM)).code == 143


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
async def test_the_unit(machine: Machine, server: DevServer) -> None:
    done = await machine.call("watch", "--install", "--use-staging", "--limit-rate", "2M", "--also", "near by")
    assert done.code == 0, done.err
    [unit] = machine.home.rglob("*.service")
    assert str(unit) in done.out
    assert "systemctl --user enable --now ayon-async.service" in " ".join(done.out.split())
    assert "AYON_API_KEY" in done.err
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if line.startswith("Exec"))
    near = Path.cwd() / "near by"
    assert lines["ExecStart"].startswith(f"{sys.executable} -m ayon_async watch --use-staging ")
    assert f' --also "{near}"' in lines["ExecStart"]
    assert " --limit-rate 2M" in lines["ExecStart"]
    assert f"Environment=AYON_SERVER_URL={server.url}\n" in unit.read_text()
    assert "artist-key" not in unit.read_text()


async def test_elsewhere_there_is_no_unit(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    done = await machine.call("watch", "--install")
    assert done.code == 2
    assert "systemd" in done.err


async def test_a_unit_needs_a_server(tmp_path: Path) -> None:
    assert (await Machine(tmp_path).call("watch", "--install")).code == 2
