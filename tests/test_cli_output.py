"""What goes to which stream, in what form, and what happens where a stream can't take it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from ayon_async.cli import setup as cli_setup
from ayon_async.cli.logs import logging_to
from ayon_async.cli.output import Output
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Busy, Status
from cli_machine import Machine, ended


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


# --- the streams ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
async def test_reader_that_leaves_is_no_error(machine: Machine, server: DevServer) -> None:
    """``ayon-async sync 2>&1 | head -1`` still syncs, and no traceback comes behind the pipe's end."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await machine.start("sync", "-v", stdout=writing, stderr=writing)
    os.close(writing)
    assert await process.wait() == 0
    assert (await machine.call("status")).code == 0

    reading, writing = os.pipe()
    os.close(reading)
    listing = await machine.start("bundles", stdout=writing)
    os.close(writing)
    left = await ended(listing)
    assert (left.code, left.err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
async def test_result_that_can_not_be_written_is_an_error(machine: Machine) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    process = await machine.start("bundles", stdout=full)
    os.close(full)
    left = await ended(process)
    assert left.code == 1
    assert left.err == "Error: The result can't be written to standard output: No space left on device.\n"


async def test_terminal_without_the_characters(tmp_path: Path, server: DevServer) -> None:
    bundle = replace(server.studio.bundles[2], name="Größe-制作")
    server.studio = replace(server.studio, bundles=(bundle,))
    machine = Machine(tmp_path, server.url, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    text = await machine.run("bundles")
    assert (text.code, text.out.split()[0]) == (0, r"Gr\xf6\xdfe-\u5236\u4f5c")
    document = await machine.run("bundles", "--json")
    assert document.out.isascii()
    assert document.document["bundles"][0]["name"] == "Größe-制作"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes as a path")
async def test_paths_that_are_no_text(machine: Machine, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff")
    machine.env["AYON_LAUNCHER_STORAGE_DIR"] = str(odd)
    left = await ended(await machine.start("sync", "--json"))
    assert Path(left.document["items"][0]["path"]) == odd / "addons/core_1.0.0"
    assert (await ended(await machine.start("paths"))).code == 0


async def test_names_do_not_steer_the_terminal(machine: Machine, server: DevServer) -> None:
    [*bundles, production, project] = server.studio.bundles
    hostile = replace(production, addons={**production.addons, "ma\x1b]0;owned\x07\nError: x": "1.0.0"})
    server.studio = replace(server.studio, bundles=(*bundles, hostile, project))
    left = await machine.call("sync")
    assert left.code == 1
    assert "\x1b" not in left.out + left.err
    assert not any(line.startswith("Error: x") for line in (left.out + left.err).splitlines())
    assert r"ma\x1b]0;owned\x07\nError: x 1.0.0: failed" in left.err
    server.faults.add("/api/bundles", Status(403, "\x1b]0;owned\x07"))
    refused = await machine.call("sync")
    assert r"not allowed for this user: \x1b]0;owned\x07" in refused.err


# --- logs and errors ------------------------------------------------------------------------------------------------


async def test_retries_and_outcomes_are_logged(machine: Machine, server: DevServer, tmp_path: Path) -> None:
    server.faults.add("/api/bundles", Busy(503), attempts=1)
    server.faults.add("/addons/maya/*", Status(404))
    file = tmp_path / "logs/ayon.log"
    plain = await machine.call("sync", "--log-file", str(file))
    assert (plain.code, "INFO" in plain.err) == (1, False)
    log = file.read_text()
    assert "/api/bundles answered 503" in log
    assert " INFO ayon_async.progress: core 1.0.0: installed" in log
    assert " WARNING ayon_async.progress: maya 1.0.0: failed" in log
    assert file.stat().st_mode & 0o022 == 0
    verbose = await machine.call("sync", "-v")
    assert "INFO ayon_async.progress: core 1.0.0: up to date" in verbose.err


async def test_secrets_are_in_no_log(tmp_path: Path, server: DevServer) -> None:
    machine = Machine(tmp_path, server.url, "secret-key")
    server.faults.add("/api/bundles", Status(401, "no access to https://me:hidden@example.com/a?token=hidden"))
    left = await machine.call("sync", "--debug", "--json", "--log-file", str(tmp_path / "log"))
    assert left.code == 4
    everything = left.out + left.err + (tmp_path / "log").read_text()
    assert "https://***@example.com/a?token=***" in everything
    assert "hidden" not in everything
    assert "secret-key" not in everything


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
async def test_log_file_that_fills_the_disk(machine: Machine) -> None:
    left = await machine.call("sync", "--json", "--log-file", "/dev/full")
    assert (left.code, left.document["ok"]) == (0, True)
    assert left.err.count("The log file /dev/full can't be written any more: No space left on device.") == 1
    assert "Traceback" not in left.err


async def test_log_file_that_can_not_be_written(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    left = await machine.call("sync", "--json", "--log-file", str(tmp_path / "file/log"))
    assert (left.code, left.out) == (2, "")
    assert left.err.startswith(f"Error: The log file {tmp_path / 'file/log'} can't be written")


async def test_traceback_only_with_debug(machine: Machine) -> None:
    """A fault of ours, which a test has to make, is told like any error; in the document too."""
    secret = "https://me:hidden@example.com"
    with mock.patch.object(cli_setup.Setup, "store", property(lambda self: dict[str, str]()[secret])):
        plain = await machine.call("sync", "--json")
        debug = await machine.call("sync", "--debug")
    assert plain.code == debug.code == 1
    assert plain.document["error"]["type"] == "InternalError"
    assert "Traceback" not in plain.err
    assert "Error: KeyError: 'https://***@example.com'" in plain.err
    assert "Traceback" in debug.err
    assert "hidden" not in plain.out + plain.err + debug.err


def test_other_libraries_errors_come_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for output, traceback in ((Output(verbose=True), False), (Output(debug=True), True)):
        with logging_to(output):
            try:
                raise ValueError("at https://me:hidden@example.com")
            except ValueError:
                logging.getLogger("asyncio").exception("Something was never retrieved")
        left = capsys.readouterr().err
        assert left.startswith("ERROR asyncio: Something was never retrieved\n")
        assert ("Traceback" in left, "hidden" in left) == (traceback, False)


async def test_hints_are_said_once(machine: Machine, server: DevServer) -> None:
    server.faults.add("/addons/*", Status(404))
    left = await machine.call("sync")
    hint = json.loads((await machine.call("sync", "--json")).out)["items"][0]["error"]["hint"]
    assert left.err.count("Failed: ") == 3
    assert left.err.count(hint) == 1
