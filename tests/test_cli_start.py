"""How the command starts: fast, lazily, by either name, with help for every command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ayon_async.version import __version__
from cli_machine import Machine

COMMANDS = (
    *("sync", "status", "verify", "repair", "prune", "history", "lock"),
    *("bundles", "login", "logout", "paths", "config", "exec", "tray", "watch", "demo"),
)
HEAVY = {"aiohttp", "rich", "keyring"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_costs_less_than_half_of_importing_an_http_library(machine: Machine) -> None:
    def fastest(*arguments: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], env=machine.env, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest("-m", "ayon_async", "--version") < fastest("-c", "import aiohttp") / 2


async def test_help_imports_nothing_heavy(machine: Machine) -> None:
    loaded = "import sys, atexit; atexit.register(lambda: print(*{m.split('.')[0] for m in sys.modules}))"
    script = f"{loaded}; sys.argv = ['ayon-async', *sys.argv[1:]]; from ayon_async.cli import main; main()"
    for arguments in (["--help"], ["sync", "--help"]):
        process = await machine.start_python("-c", script, *arguments)
        out, _ = await process.communicate()
        *text, modules = out.decode().splitlines()
        assert process.returncode == 0
        assert text[0].startswith("Usage: ayon-async")
        assert not HEAVY & set(modules.split())


async def test_a_tray_without_options_needs_no_parser(machine: Machine) -> None:
    script = """
import atexit, sys
atexit.register(lambda: print("typer" in sys.modules))
sys.argv = ["ayon-async", "tray"]
from ayon_async.cli import main
main()
"""
    process = await machine.start_python("-c", script)
    out, err = await process.communicate()
    assert err.decode().startswith("Error: The tray ")  # needs a display, or what else is missing here
    assert (process.returncode, out.decode().split()) == (2, ["False"])


async def test_both_names(machine: Machine) -> None:
    by_module = await machine.run("--version")
    assert (by_module.code, by_module.out) == (0, f"{__version__}\n")
    assert (await machine.call("--version")).out == f"{__version__}\n"
    script = "import sys; sys.argv = ['ayon-async', 'config']; from ayon_async.cli import main; sys.exit(main())"
    process = await machine.start_python("-c", script)
    assert (await process.communicate())[0].startswith(b"server ")


async def test_every_command_is_listed_and_explained(machine: Machine) -> None:
    listed = await machine.call("--help")
    assert tuple(line.split()[0] for line in listed.out.partition("Commands:\n")[2].splitlines()) == COMMANDS
    for command in COMMANDS:
        explained = await machine.call(command, "--help")
        assert explained.code == 0
        assert explained.out.startswith(f"Usage: ayon-async {command} ")
    nothing = await machine.call()
    assert (nothing.code, nothing.out) == (2, "")
    assert "Usage: ayon-async" in nothing.err
