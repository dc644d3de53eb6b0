"""``ayon-async demo``: it needs nothing, shows what it did, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import ItemReport, Store, SyncReport
from ayon_async.cli.demo import Show, changes
from ayon_async.cli.output import Output
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Status
from cli_machine import Machine, ended

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine whose settings, variables and proxy would break every other command."""
    folder = tmp_path_factory.mktemp("demo")
    machine = Machine(folder, "no server's URL", "no key", XDG_CACHE_HOME=str(folder / "cache"))
    machine.env |= {"http_proxy": "http://127.0.0.1:1", "NO_PROXY": "", "PYTHON_KEYRING_BACKEND": "no.such.Keyring"}
    machine.env |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    (folder / "tmp").mkdir()
    config = machine.home / ".config/ayon-async/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("this is no TOML")
    return machine


def left_behind(machine: Machine) -> list[Path]:
    """What is not meant to outlive a demo: its store, and archives that were not finished."""
    folder = machine.home.parent
    return [*(folder / "tmp").iterdir(), *folder.rglob(".sample-*")]


@pytest.mark.timeout(180)  # the first time its archives are made; seconds, unless the machine does much else
async def test_it_shows_two_syncs_and_what_the_promotion_changed(machine: Machine) -> None:
    done = await machine.run("demo")
    assert done.code == 0, done.err
    rows = [re.split(r"  +", line) for line in done.out.splitlines()]
    first, second, third = (
        next(row for row in rows if row[0] == title) for title in ("first sync", "after the promotion", "once more")
    )
    assert (first[1], second[1]) == ("prod-2026-07", "staging-2026-08")
    assert all(re.fullmatch(r"[\d.]+ MB/s", row[5]) for row in (first, second))
    assert third[1:4] == ["staging-2026-08", "0", "0 B"]
    assert int(third[-1]) <= 2, "requests"
    assert ["nuke", "0.4.13", "->", "0.4.14"] in rows
    assert "fusion" not in done.out, "what stayed is only counted"
    assert "ayon_2608150900" in done.out
    assert "first sync, into an empty store" in done.err
    assert left_behind(machine) == []
    assert {path.name for path in machine.home.iterdir()} <= {".config", "Library", "AppData"}, "the last two: caches"
    assert not machine.storage.exists()


async def said(process: asyncio.subprocess.Process, words: str) -> None:
    """Wait until the program has said these words on standard error."""
    assert process.stderr is not None
    while words not in (line := (await process.stderr.readline()).decode()):
        assert line, f"it never said {words!r}"


@posix_only
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "terminated"]
)
async def test_a_signal_ends_it_cleanly(machine: Machine, number: signal.Signals, code: int) -> None:
    process = await machine.start("demo")
    await said(process, ": installed")
    began = time.monotonic()
    process.send_signal(number)
    done = await ended(process)
    assert (done.code, done.out) == (code, ""), done.err
    assert "Interrupted" in done.err
    assert left_behind(machine) == []
    assert time.monotonic() - began < 10


@posix_only
async def test_ctrl_c_while_the_archives_are_made(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    machine = Machine(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), TMPDIR=str(tmp_path / "tmp"))
    process = await machine.start("demo")
    while process.returncode is None and not left_behind(machine):  # noqa: ASYNC110 - another process makes them
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert (await ended(process)).code == 130
    assert left_behind(machine) == []


# --- the steps ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def show(folder: Path) -> AsyncIterator[tuple[DevServer, Show]]:
    async with DevServer(tiny_studio(100)) as server:
        yield server, Show(server, Store.at(folder), Output(), still=True)


async def test_0_only_if_both_bundles_are_in_place(tmp_path: Path) -> None:
    async with show(tmp_path / "good") as (_, good):
        answer = await good.run()
    assert (answer.exit_code, "1 of its items" in answer.text) == (0, True)

    async with show(tmp_path / "second") as (server, second):
        server.faults.add("/addons/core/1.1.0/*", Status(404))
        answer = await second.run()
    assert (answer.exit_code, answer.text) == (1, "")
    assert [label for label, _ in answer.failures] == ["core 1.1.0"]

    async with show(tmp_path / "first") as (server, first):
        server.faults.add("/addons/core/1.0.0/*", Status(404))
        assert (await first.run()).exit_code == 1
        assert server.studio.production() == tiny_studio(100).production(), "nothing was promoted"


def test_changes() -> None:
    def report(*items: tuple[str, str | None]) -> SyncReport:
        return SyncReport(
            None,
            items=tuple(ItemReport("addon" if v else "dependency_package", n, v, "installed") for n, v in items),
        )

    before = report(("core", "1.0"), ("maya", "1.0"), ("old", "1.0"), ("a.zip", None))
    after = report(("core", "1.0"), ("maya", "1.1"), ("new", "2.0"), ("b.zip", None))
    server_only = replace(after.items[0], name="slack", state="skipped")
    assert changes(before, replace(after, items=(*after.items, server_only))) == (
        1,
        [
            ["dependency package", "a.zip", "->", "b.zip"],
            ["maya", "1.0", "->", "1.1"],
            ["new", "added", "", "2.0"],
            ["old", "1.0", "", "removed"],
        ],
    )
