"""``ayon-async sync`` and ``status``: what they print, and the exit code that tells the outcome."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, addon, tiny_studio
from ayon_async.devserver.faults import Body, Status
from cli_machine import Machine

REPORT: dict[str, type | tuple[type, ...]] = {
    "ok": bool,
    "server": (str, type(None)),
    "bundle": (str, type(None)),
    "variant": (str, type(None)),
    "seconds": (int, float),
    "bytes_downloaded": int,
    "items": list,
    "error": (dict, type(None)),
}
ITEM: dict[str, type | tuple[type, ...]] = {
    "kind": str,
    "name": str,
    "version": (str, type(None)),
    "state": str,
    "path": (str, type(None)),
    "size": (int, type(None)),
    "bytes_downloaded": int,
    "verified_by": list,
    "checksum": (str, type(None)),
    "checksum_algorithm": (str, type(None)),
    "source": (str, type(None)),
    "seconds": (int, float),
    "error": (dict, type(None)),
}


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


async def test_a_wait_before_the_start_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits may not know what the machine's file says."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    assert (await machine.call("sync", "--start-jitter", "1s")).err.startswith(
        "Waiting 1 s before the start (start_jitter).\n"
    )
    assert "start_jitter" not in (await machine.call("sync", "--start-jitter", "0.1s")).err


async def test_result_on_stdout_and_a_line_for_each_item_on_stderr(machine: Machine) -> None:
    done = await machine.call("sync")
    assert done.code == 0
    assert re.fullmatch(r"Bundle prod \(production\): 4 installed; 82\.\d kB in \d+\.\d s\.\n", done.out), done.out
    labels, told = zip(*(line.split(": ") for line in sorted(done.err.splitlines())), strict=True)
    assert labels == ("ayon_tiny_linux.zip", "core 1.0.0", "maya 1.0.0", "nuke 1.0.0")
    assert all(re.fullmatch(r"installed, 20\.\d kB in \d+\.\d s, verified by (checksum, )?archive", t) for t in told)
    assert (machine.storage / "addons/maya_1.0.0/ayon_maya/version.py").read_text() == '__version__ = "1.0.0"\n'


async def test_second_run_downloads_nothing_with_two_requests(machine: Machine, server: DevServer) -> None:
    assert (await machine.call("sync")).code == 0
    before = machine.store
    server.forget_requests()
    again = await machine.call("sync", "--json")
    assert (again.code, set(again.states.values()), again.document["bytes_downloaded"]) == (0, {"up_to_date"}, 0)
    assert len(server.requests) <= 2
    assert machine.store == before


async def test_document_has_the_promised_shape(machine: Machine) -> None:
    done = await machine.call("sync", "--json", "--quiet")
    document = done.document
    assert done.err == ""
    assert {key: isinstance(document[key], kind) for key, kind in REPORT.items()} == dict.fromkeys(REPORT, True)
    for item in document["items"]:
        assert {key: isinstance(item[key], kind) for key, kind in ITEM.items()} == dict.fromkeys(ITEM, True)
    package = document["items"][-1]
    assert (package["kind"], package["version"], package["verified_by"]) == (
        "dependency_package",
        None,
        ["checksum", "archive"],
    )
    assert (document["bundle"], document["variant"], document["error"]) == ("prod", "production", None)


async def test_one_failing_item_stops_no_other(machine: Machine, server: DevServer) -> None:
    server.faults.add("/addons/maya/*", Status(404, "Not found"))
    failed = await machine.call("sync", "--json")
    assert failed.code == 1
    assert failed.states == {
        "core": "installed",
        "maya": "failed",
        "nuke": "installed",
        "ayon_tiny_linux.zip": "installed",
    }
    assert failed.document["error"] is None
    [error] = [item["error"] for item in failed.document["items"] if item["error"]]
    assert failed.err.endswith(f"Failed: maya 1.0.0: {error['message']}\n  {error['hint']}\n")
    server.faults.clear()
    assert (await machine.call("sync", "--json")).states["maya"] == "installed"


async def test_dry_run_prints_sizes_and_writes_nothing(machine: Machine, server: DevServer) -> None:
    planned = await machine.call("sync", "--dry-run")
    assert planned.code == 0
    assert planned.out.splitlines() == [
        "core 1.0.0           20.6 kB",
        "maya 1.0.0           20.6 kB",
        "nuke 1.0.0           20.6 kB",
        "ayon_tiny_linux.zip  20.4 kB",
        "Bundle prod (production): 4 to install; 82.1 kB.",
    ]
    assert machine.store == {}
    server.faults.add("/addons/nuke/*", Status(404), probes=True)
    unknown = await machine.call("sync", "--dry-run", "--json")
    assert [item["size"] is None for item in unknown.document["items"]] == [False, False, True, False]
    assert (unknown.code, set(unknown.states.values())) == (0, {"planned"})


async def test_status_tells_what_is_missing(machine: Machine, server: DevServer) -> None:
    missing = await machine.call("status")
    assert missing.code == 1
    assert missing.out.splitlines()[-1] == "Bundle prod (production): 4 missing."
    assert missing.err == ""
    assert (await machine.call("sync", "--quiet")).out == ""
    complete = await machine.call("status", "--json")
    assert (complete.code, set(complete.states.values())) == (0, {"up_to_date"})
    partly = await machine.call("status", "--use-staging", "--json")
    assert (partly.code, partly.states["core"], partly.document["error"]) == (1, "planned", None)
    assert server.bytes_asked("/addons/core/1.1.0/*") == 0


@pytest.mark.parametrize(
    ("options", "bundle", "variant"),
    [
        ((), "prod", "production"),
        (("--use-staging",), "staging", "staging"),
        (("--use-dev",), "dev-artist", "dev"),
        (("--bundle", "staging"), "staging", "named"),
        (("--project", "demo"), "__project__demo__production", "project"),
    ],
)
async def test_choice_of_the_bundle(machine: Machine, options: tuple[str, ...], bundle: str, variant: str) -> None:
    document = (await machine.call("status", "--json", *options)).document
    assert (document["bundle"], document["variant"]) == (bundle, variant)


async def test_other_options_reach_the_core(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    done = await machine.call("sync", "--json", "--platform", "darwin", "--storage-dir", str(elsewhere), "--jobs", "1")
    assert done.states["ayon_tiny_darwin.zip"] == "installed"
    assert (elsewhere / "dependency_packages/ayon_tiny_darwin.zip").is_dir()
    assert machine.store == {}
    layout = await machine.call("sync", "--json", "--launcher-layout")
    assert layout.code == 0
    assert machine.store, "the launcher's variable names the launcher's folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sync", "--use-dev", "--bundle", "x"), "--bundle and --use-dev contradict each other."),
        (("sync", "--jobs", "99"), "--jobs must be a whole number from 1 to 16, not 99."),
        (("sync", "--jobs", "many"), "Invalid value for '--jobs'"),
        (("sync", "--platform", "amiga"), "--platform must be windows, linux or darwin"),
        (("sync", "--server", "http://me:pw@host"), "--server can't be used"),
        (("sync", "--fast"), "No such option"),
        (("--json", "sync"), "No such option"),
        (("tidy",), "No such command"),
    ],
)
async def test_wrong_usage(machine: Machine, arguments: tuple[str, ...], message: str) -> None:
    wrong = await machine.call(*arguments, *(["--json"] if arguments[0] == "sync" else []))
    assert (wrong.code, wrong.out) == (2, "")
    assert message in wrong.err
    assert "Traceback" not in wrong.err
    assert "pw" not in wrong.err


async def test_no_server_is_known(tmp_path: Path) -> None:
    for command in ("sync", "status", "bundles"):
        unknown = await Machine(tmp_path).call(command, "--json")
        assert (unknown.code, unknown.out) == (2, "")
        assert "No AYON server is known" in unknown.err
        assert "--server" in unknown.err


async def test_refused_in_mid_run_keeps_what_is_done(machine: Machine, server: DevServer) -> None:
    server.faults.add("/addons/nuke/*", Status(401, "Expired"))
    refused = await machine.call("sync", "--json", "--jobs", "1")
    assert refused.code == 4
    assert refused.document["error"]["type"] == "NotSignedIn"
    assert refused.states["core"] == "installed"
    assert refused.states["nuke"] == "failed"
    assert refused.err.count(refused.document["error"]["message"]) == 1, "the run's error is not an item's as well"


async def test_server_that_fails_in_mid_run(machine: Machine, server: DevServer) -> None:
    """Both lists are asked for at once; what goes wrong with one is the run's error all the same."""
    server.faults.add("/api/addons", Body(), probes=True)
    broken = await machine.call("sync", "--json")
    assert (broken.code, broken.document["error"]["type"]) == (3, "InvalidAnswer")
    assert set(broken.states.values()) == {"planned"}


async def test_development_and_server_only_addons_are_skipped(tmp_path: Path, server: DevServer) -> None:
    machine = Machine(tmp_path, server.url)
    dev = await machine.call("sync", "--use-dev")
    assert dev.code == 0
    assert "maya 1.0.0: skipped, in development" in dev.err
    assert "Warning: maya 1.0.0 is in development, but" in dev.err
    studio = server.studio
    server.studio = replace(studio, addons={**studio.addons, ("core", "1.0.0"): addon()})
    done = await machine.call("sync")
    assert "core 1.0.0: skipped, no client part" in done.err
    assert "1 skipped" in done.out
    quiet = await machine.call("sync", "--use-dev", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
