"""``ayon-async exec``: the program that is run, what it is given, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Status
from cli_machine import Machine, ended

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals and modes")

PROGRAM = """
import json, os, signal, sys
ignored = [s.name for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) == signal.SIG_IGN]
json.dump({"arguments": sys.argv[1:], "variables": dict(os.environ), "path": sys.path, "ignored": ignored}, sys.stdout)
sys.exit(7)
"""
WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(33))
print("waiting", flush=True)
time.sleep(30)
"""


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(100)) as dev:
        yield dev


@pytest.fixture
def machine(tmp_path: Path, dev: DevServer) -> Machine:
    return Machine(tmp_path, dev.url)


async def test_the_command_runs_with_the_bundle_in_place_and_its_exit_code_is_ours(
    dev: DevServer, machine: Machine
) -> None:
    machine.env["AYON_BUNDLE_NAME"] = "prod"  # as a process that the launcher started has it
    machine.env["AYON_USE_DEV"] = "0"
    done = await machine.run("exec", "--use-staging", "--", sys.executable, "-c", PROGRAM, "--debug", "a b", "")
    assert done.code == 7, done.err
    told = json.loads(done.out)
    assert told["arguments"] == ["--debug", "a b", ""]
    assert told["ignored"] == [], "signals are as any program expects them"
    variables = told["variables"]
    assert variables["AYON_BUNDLE_NAME"] == variables["AYON_STUDIO_BUNDLE_NAME"] == "staging"
    assert (variables["AYON_USE_STAGING"], variables.get("AYON_USE_DEV")) == ("1", None)
    assert (variables["AYON_SERVER_URL"], variables["AYON_API_KEY"]) == (dev.url, "artist-key")
    assert str(machine.storage / "addons/core_1.1.0") in told["path"], "Python finds the addons"
    assert "dependencies" in [Path(path).name for path in told["path"]]
    assert (machine.storage / "addons/core_1.1.0/ayon_core/__init__.py").is_file()
    assert "Bundle staging (staging): 4 installed" in done.err, "standard output is the command's own"


async def test_print_shows_the_variables_and_hides_the_key(machine: Machine) -> None:
    done = await machine.call("exec", "--project", "demo", "--print", "--quiet")
    lines = dict(line.split("=", 1) for line in done.out.splitlines())
    assert (done.code, done.err) == (0, "")
    assert (lines["AYON_PROJECT_NAME"], lines["AYON_BUNDLE_NAME"]) == ("demo", "__project__demo__production")
    assert lines["AYON_API_KEY"] == "***"
    assert "AYON_USE_STAGING" not in lines
    assert str(machine.storage / "addons/nuke_1.1.0") in lines["PYTHONPATH"]


async def test_where_the_sync_fails_nothing_runs(dev: DevServer, machine: Machine) -> None:
    dev.faults.add("/addons/maya/*", Status(404))
    done = await machine.run("exec", "--", sys.executable, "-c", "print('ran')")
    assert (done.code, done.out) == (1, "")
    assert "maya 1.0.0" in done.err
    machine.env["AYON_API_KEY"] = "junk"
    done = await machine.run("exec", "--", sys.executable, "-c", "print('ran')")
    assert (done.code, done.out) == (4, "")


async def test_a_command_that_is_not_there_is_127_and_one_that_can_t_run_126(machine: Machine, tmp_path: Path) -> None:
    done = await machine.run("exec", "--", "no-such-command-anywhere")
    assert (done.code, done.out) == (127, "")
    assert "There is no command 'no-such-command-anywhere'." in done.err
    assert "Traceback" not in done.err
    if sys.platform != "win32":
        plain = tmp_path / "plain.txt"
        plain.write_text("no program")
        done = await machine.run("exec", "--", str(plain))
        assert (done.code, "can't be run: Permission denied" in done.err) == (126, True)
        plain.chmod(0o755)
        done = await machine.run("exec", "--", str(plain))
        assert (done.code, "can't be run: Exec format error" in done.err) == (126, True)


@pytest.mark.parametrize("arguments", [["exec"], ["exec", "--"], ["exec", "--use-staging"]], ids=" ".join)
async def test_wrong_usage(machine: Machine, arguments: list[str]) -> None:
    done = await machine.call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Say what to run" in done.err


@posix_only
async def test_a_signal_reaches_the_command_which_decides(machine: Machine) -> None:
    process = await machine.start("exec", "--", sys.executable, "-c", WAITS)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGTERM)
    assert (await ended(process)).code == 33


@posix_only
async def test_a_command_that_a_signal_kills_ends_as_if_it_had_been_run_directly(machine: Machine) -> None:
    process = await machine.start("exec", "--", "sh", "-c", "kill -TERM $$")
    assert (await ended(process)).code == -signal.SIGTERM
    # Python ignores SIGPIPE; a program in a pipe whose reader has left should not.
    process = await machine.start("exec", "--quiet", "--", "sh", "-c", "kill -PIPE $$; echo still here")
    assert (await ended(process)).code == -signal.SIGPIPE


@posix_only
async def test_ctrl_c_during_the_sync_is_130_and_nothing_runs(dev: DevServer, machine: Machine) -> None:
    from ayon_async.devserver.faults import Silence

    dev.faults.add("/addons/maya/*", Silence(10))
    process = await machine.start("exec", "--", sys.executable, "-c", "print('ran')")
    while not dev.bytes_sent("/addons/maya/*"):  # noqa: ASYNC110 - what a server sent makes no event
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    done = await ended(process)
    assert (done.code, done.out) == (130, "")
