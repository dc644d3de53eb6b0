"""Ctrl-C and SIGTERM: the exit code, the one document, the store as it should be, all within two seconds."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Silence, Slow
from cli_machine import Ended, Machine, ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to a process of its own")

# The command, in a process that does something at the moment when a module is first looked for.
HOOKED = """
import json, os, signal, socket, sys, time

moment = sys.argv[1]
sys.argv[:2] = ["ayon-async"]

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGTERM)

def hang(*arguments, **more):
    print("looking up", file=sys.stderr, flush=True)
    time.sleep(30)

def dump(document, **more):
    if "ok" in document:  # the report, and none of the store's records
        os.kill(os.getpid(), signal.SIGTERM)
    return write(document, **more)

sys.meta_path.insert(0, Hook())
if moment == "look-up":
    socket.getaddrinfo = hang
if moment == "telling":
    write, json.dumps = json.dumps, dump
from ayon_async.cli import main
main()
"""


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(400_000)) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


async def until(happened: Callable[[], object]) -> None:
    """Wait until the function's result is true."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - the server's counts have no event
            await asyncio.sleep(0.02)


async def stopped(process: asyncio.subprocess.Process, by: signal.Signals) -> Ended:
    """What the process leaves when it gets the signal; two seconds are the promise."""
    process.send_signal(by)
    async with asyncio.timeout(2):
        return await ended(process)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_download(machine: Machine, server: DevServer, by: signal.Signals, code: int) -> None:
    slow = server.faults.add("/addons/[mn]*", Slow(200_000))
    process = await machine.start("sync", "--json")
    await until(lambda: server.bytes_sent("/addons/maya/*") > 150_000)
    left = await stopped(process, by)
    assert left.code == code
    assert left.document["error"]["type"] == "Interrupted"
    assert (left.document["bundle"], left.document["variant"]) == ("prod", "production")
    assert left.states == {
        "core": "installed",
        "maya": "planned",
        "nuke": "planned",
        "ayon_tiny_linux.zip": "installed",
    }
    assert left.document["bytes_downloaded"] > 800_000
    assert "Traceback" not in left.err
    shown = {path.split("/")[1] for path in machine.store if path.count("/") > 1}
    assert shown == {"core_1.0.0", "ayon_tiny_linux.zip"}
    server.faults.remove(slow)
    server.forget_requests()
    assert (await machine.call("sync", "--json")).states["maya"] == "installed"
    assert server.bytes_asked("/addons/maya/*") < 400_000, "what had arrived was kept"


async def test_interrupted_before_anything_is_known(machine: Machine, server: DevServer) -> None:
    server.faults.add("/api/bundles", Silence(-1))
    process = await machine.start("sync", "--json")
    await until(lambda: server.requests_to("/api/bundles"))
    left = await stopped(process, signal.SIGTERM)
    assert (left.code, left.document["items"], left.document["error"]["type"]) == (143, [], "Interrupted")
    assert left.document["server"] == server.url
    assert not machine.storage.exists()


@pytest.mark.parametrize(
    ("moment", "command"),
    [("typer", "sync"), ("ayon_async.settings", "sync"), ("aiohttp", "sync"), ("typer", "bundles")],
)
async def test_interrupted_while_it_starts(machine: Machine, moment: str, command: str) -> None:
    left = await ended(await machine.start_python("-c", HOOKED, moment, command, "--json"))
    assert left.code == 143, left.err
    assert left.document["error"]["type"] == "Interrupted"
    assert command in ("sync", *left.document), "the document has its command's shape"
    assert "Traceback" not in left.err


async def test_a_signal_while_the_result_is_told_changes_nothing(machine: Machine) -> None:
    left = await ended(await machine.start_python("-c", HOOKED, "telling", "sync", "--json"))
    assert (left.code, set(left.states.values()), left.document["error"]) == (0, {"installed"}, None)


async def test_the_first_of_two_signals_counts(machine: Machine, server: DevServer) -> None:
    server.faults.add("/addons/*", Slow(100_000))
    process = await machine.start("sync")
    await until(lambda: server.bytes_sent("/addons/*") > 50_000)
    process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.02)  # two that wait for a process have no order of their own
    left = await stopped(process, signal.SIGTERM)
    assert left.code == 130
    assert left.err.splitlines()[-2] == "Error: Interrupted by Ctrl-C."
    assert "not installed" in left.out


async def test_a_look_up_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "http://ayon.example")
    process = await machine.start_python("-c", HOOKED, "look-up", "sync", "--json")
    assert process.stderr is not None
    assert await process.stderr.readline() == b"looking up\n"
    left = await stopped(process, signal.SIGINT)
    assert (left.code, left.document["error"]["type"]) == (130, "Interrupted")
