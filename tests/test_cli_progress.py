"""Progress on a terminal: moving rows for what is running and a total, gone when the result is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from ayon_async.cli.progress import picture
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Slow
from ayon_async.item import Item
from ayon_async.progress import ItemProgress, Ledger, Phase, Snapshot, Speedometer
from cli_machine import Machine

MAYA, NUKE, CORE = (Item("addon", name, "1.0.0") for name in ("maya", "nuke", "core"))


def drawn(*items: ItemProgress, speed: float = 2e6, rows: int = 20) -> list[str]:
    """The lines that a person sees, bars left out."""
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(picture(Snapshot(items=items, speed=speed), rows))
    return [re.sub(r"[ ━╸╺]+", " ", line).strip() for line in capture.get().splitlines()]


def downloading(item: Item, done: int, size: int | None, speed: float = 1e6) -> ItemProgress:
    return ItemProgress(item, Phase.DOWNLOADING, done, done, size, speed=speed)


def test_rows_and_total() -> None:
    unpacking = ItemProgress(CORE, Phase.UNPACKING, 4_000_000, size=4_000_000, unpacked=0.5)
    assert drawn(downloading(MAYA, 2_000_000, 8_000_000), unpacking, ItemProgress(NUKE, size=3_000_000)) == [
        "maya 1.0.0 2.0 MB of 8.0 MB 1.0 MB/s 6.0 s left",
        "core 1.0.0 4.0 MB unpacking",
        "0 of 3 items 6.0 MB of 15.0 MB 2.0 MB/s 4.5 s left",
    ]


def test_time_left_only_when_all_sizes_are_known() -> None:
    assert drawn(downloading(MAYA, 2_000_000, 8_000_000), downloading(NUKE, 1_000_000, None)) == [
        "maya 1.0.0 2.0 MB of 8.0 MB 1.0 MB/s 6.0 s left",
        "nuke 1.0.0 1.0 MB 1.0 MB/s",
        "0 of 2 items 3.0 MB 2.0 MB/s",
    ]


def test_what_is_not_moving_says_why() -> None:
    waiting = ItemProgress(MAYA, Phase.WAITING)
    again = ItemProgress(NUKE, Phase.CONNECTING, 500_000, size=1_000_000, attempt=3)
    assert drawn(waiting, again, speed=0)[:2] == [
        "maya 1.0.0 0 B waiting for another process",
        "nuke 1.0.0 500.0 kB of 1.0 MB connecting (try 3)",
    ]


def test_small_terminal_keeps_the_total() -> None:
    many = [downloading(Item("addon", f"a{n}", "1"), 0, 10) for n in range(30)]
    lines = drawn(*many, rows=5)
    assert (len(lines), lines[-1][:13]) == (5, "0 of 30 items")


async def test_speed_sinks_where_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speedometer, "WINDOW", 0.4)
    speeds: list[float] = []
    still = asyncio.Event()

    def watch(snapshot: Snapshot) -> None:
        speeds.append(snapshot.speed)
        if snapshot.speed == 0:
            still.set()

    ledger = Ledger(watch)
    ledger.begin("prod", "production", [MAYA])
    ledger[MAYA].add(1_000_000)
    async with asyncio.timeout(5):
        await still.wait()
    assert speeds[0] > 0


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(200_000)) as server:
        yield server


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
async def test_on_a_terminal(tmp_path: Path, server: DevServer) -> None:
    server.faults.add("/addons/maya/*", Slow(300_000))
    machine = Machine(tmp_path, server.url, TERM="xterm")
    code, out, screen = await on_terminal(machine, "sync")
    assert (code, out[:25]) == (0, "Bundle prod (production):")
    row = re.search(r"maya 1\.0\.0 .*? kB of 200\.\d kB .*? kB/s .*? s left", screen)
    total = re.search(r"[0-3] of 4 items .*? of 8\d\d\.\d kB .*?B/s .*? s left", screen)
    assert row, screen
    assert total, screen
    assert "maya 1.0.0: installed, 200" in screen
    assert screen.rstrip().endswith(("\x1b[2K", "\x1b[?25h")), "the rows are cleared and the cursor is back"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
async def test_headless_does_not_animate(tmp_path: Path, server: DevServer) -> None:
    machine = Machine(tmp_path, server.url, TERM="xterm")
    code, _, screen = await on_terminal(machine, "sync", "--headless")
    assert (code, "\x1b" in screen, screen.count(": installed")) == (0, False, 4)


async def on_terminal(machine: Machine, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what a terminal got that was standard error."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = await machine.start(*arguments, stderr=theirs)
    os.close(theirs)

    def read() -> bytes:
        screen = b""
        with contextlib.suppress(OSError):  # Linux says so at the end
            while more := os.read(ours, 65536):
                screen += more
        return screen

    screen = await asyncio.to_thread(read)
    os.close(ours)
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), screen.decode()
