"""The tray as a process of its own on a desktop of its own, driven as a person would: over the bus and by the keys."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async.devserver import ARTIST, AddonVersion, DevServer, Studio, addon, client_zip, tiny_studio
from ayon_async.devserver.faults import Link, Status
from ayon_async.tray.ready import need_tray
from cli_machine import Machine, ended
from watching import configure

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine."""
STAGING, PRODUCTION = "ff8c00", "0ea5a0"


def driving_missing() -> str:
    """What keeps these tests from running here, in words."""
    if sys.platform != "linux":
        return "needs a desktop of Linux"
    programs = [name for name in ("Xvfb", "dbus-daemon", "xdotool") if shutil.which(name) is None]
    if programs:
        return f"needs {', '.join(programs)}"
    try:
        need_tray({"DISPLAY": ":0"})
    except Exception as error:  # whatever it is, it is why
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(bool(driving_missing()), reason=driving_missing() or "runs")
if not driving_missing():
    from tray_desktop import Desktop, desktop


class Driver:
    """A tray that runs, and the person in front of it."""

    def __init__(self, machine: Machine, desk: Desktop, process: asyncio.subprocess.Process) -> None:
        self.machine = machine
        self.desk = desk
        self.process = process

    async def until(self, holds: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait until it holds."""
        end = time.monotonic() + PATIENCE
        while not await holds():
            assert self.process.returncode is None, await ended(self.process)
            if time.monotonic() >= end:
                tooltip = await self.desk.tooltip() if self.desk.icons else "no icon"
                raise AssertionError(f"{what}: it never came; {tooltip!r}, {self.log()}")
            await asyncio.sleep(0.05)

    async def says(self, pattern: str) -> str:
        """Wait for a tooltip."""
        found = ""

        async def matches() -> bool:
            nonlocal found
            found = await self.desk.tooltip()
            return re.search(pattern, found) is not None

        await self.until(matches, pattern)
        return found

    async def notified(self, pattern: str) -> None:
        """Wait for a notification."""

        async def matches() -> bool:
            return any(re.search(pattern, f"{one.title}: {one.text}") for one in self.desk.notifications)

        await self.until(matches, pattern)

    async def coloured(self, colour: str) -> None:
        """Wait for an icon of this colour."""

        async def matches() -> bool:
            return (await self.desk.colours()).get(colour, 0) > 20

        await self.until(matches, colour)

    async def keys(self, *words: str) -> str:
        """Press keys, or ask for windows."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "xdotool", *words, env=self.machine.env, stdout=pipe, stderr=pipe
        )
        return (await ended(process)).out

    async def sees(self, title: str) -> None:
        """Wait for a window."""

        async def is_there() -> bool:
            return bool(await self.keys("search", "--onlyvisible", "--name", title))

        await self.until(is_there, title)

    async def is_gone(self, title: str) -> bool:
        """Whether there is no such window."""
        return not await self.keys("search", "--onlyvisible", "--name", title)

    async def has_keyboard(self, title: str) -> bool:
        """Whether what is typed goes to the window whose title begins so."""
        return (await self.keys("getwindowfocus", "getwindowname")).startswith(title)

    async def types(self, text: str, title: str) -> None:
        """Type into the window whose title begins so, once it has the keyboard."""

        async def is_heard() -> bool:
            return await self.has_keyboard(title)

        await self.until(is_heard, f"the keyboard for {title}")
        await self.keys("type", "--delay", "5", text)

    async def end(self) -> float:
        """Choose Quit; returns how many seconds it took."""
        started = time.monotonic()
        await self.desk.choose("Quit")
        async with asyncio.timeout(PATIENCE):
            done = await ended(self.process)
        assert done.code == 0, done
        assert "Traceback" not in done.err
        return time.monotonic() - started

    def log(self) -> str:
        """The last of what it logged."""
        logs = [*self.machine.home.rglob("tray.log")]
        return logs[0].read_text()[-3000:] if logs else ""


@asynccontextmanager
async def driving(machine: Machine, desk: Desktop, *arguments: str) -> AsyncIterator[Driver]:
    """A tray that has come up."""
    machine.env |= desk.env
    shown = desk.icons
    process = await machine.start("tray", *arguments)
    driver = Driver(machine, desk, process)
    try:

        async def is_up() -> bool:
            return desk.icons > shown

        await driver.until(is_up, "an icon")
        yield driver
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def studio(**large: int) -> Studio:
    """The tiny studio with some addons of these sizes in production."""
    tiny = tiny_studio()
    more: dict[tuple[str, str], AddonVersion] = {
        (name, "1.0.0"): addon(client_zip(name, "1.0.0", size)) for name, size in large.items()
    }
    bundles = tuple(
        replace(one, addons={**one.addons, **dict(list(more))}) if one.is_production else one for one in tiny.bundles
    )
    return replace(tiny, addons={**tiny.addons, **more}, bundles=bundles)


async def test_a_day_with_the_tray(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    configure(machine, news_wait=0)
    async with DevServer(studio(large=1_500_000)) as server, desktop() as desk, driving(machine, desk) as driver:
        # Signed out: it says so, asks once, and the dialog can be used by the keyboard alone.
        await driver.says("signed out")
        assert {line.label for line in await desk.menu()} >= {"Sign in…", "Production", "Staging", "Quit"}
        await driver.notified("Please sign in")
        await driver.sees("Sign in to AYON")
        await desk.choose("Sign in…")  # gives it the keyboard
        link = server.faults.add("/addons/*", Link(1_000_000))
        await driver.types(f"127.0.0.1:{server.port}\t\t{ARTIST.name}\t{ARTIST.password}\r", "Sign in to AYON")

        # The first sync shows how far it is.
        line = await driver.says(r"\d of \d · .*B/s")
        assert line.startswith("AYON production")
        await driver.says(r"prod · up to date")
        await driver.notified(r"^5 addons updated")
        server.faults.remove(link)
        await driver.coloured(PRODUCTION)
        assert (machine.storage / "addons/large_1.0.0/ayon_large").is_dir()

        # A promotion is heard of at once.
        took = []
        for name in ("staging", "prod"):
            await server.news.wait_for_listeners()
            server.forget_requests()
            started = time.monotonic()
            await server.promote(name)

            async def asked() -> bool:
                return bool(server.requests_to("/api/bundles"))

            await driver.until(asked, "a question for the bundles")
            took.append(time.monotonic() - started)
            await driver.says(rf"{name} · up to date")
        assert min(took) < 2.0, took

        # Staging is orange.
        assert STAGING not in await desk.colours()
        await server.patch_bundle("staging", {"isStaging": True})
        await desk.choose("Staging")
        await driver.coloured(STAGING)
        await driver.says(r"AYON staging · staging · up to date")
        assert PRODUCTION not in await desk.colours()
        assert [line.label for line in await desk.menu() if line.checked] == ["Staging"]
        await desk.choose("Production")
        await driver.says(r"AYON production · prod · up to date")

        # The server goes and comes back.
        await server.stop()
        await driver.says("can't be reached")
        await server.start()
        await driver.says(r"prod · up to date")

        # A click shows the window.
        await desk.activate()
        await driver.sees("AYON addons")
        assert await driver.end() < 2.0


async def test_a_broken_archive_and_quitting_in_the_middle(tmp_path: Path) -> None:
    async with DevServer(studio(large=6_000_000)) as server, desktop() as desk:
        machine = Machine(tmp_path, server.url)
        configure(machine, news_wait=0)
        broken = server.faults.add("/addons/maya/*", Status(404))
        link = server.faults.add("/addons/large/*", Link(2_000_000))
        async with driving(machine, desk) as driver:
            # Pausing stops in the middle, and the icon says so.
            await driver.says(r"\d of \d · .*B/s")
            working = await desk.pixels(22)
            await desk.choose("Pause")
            await driver.says("paused")
            assert await desk.pixels(22) != working
            seen = [-1]

            async def stands_still() -> bool:
                seen.append(server.bytes_sent("/addons/large/*"))
                await asyncio.sleep(0.5)
                return seen[-1] == seen[-2]

            await driver.until(stands_still, "an end of what the server sends")
            await desk.choose("Resume")
            await driver.says(r"\d of \d · .*B/s")

            # Quitting in the middle is quick.
            assert await driver.end() < 2.0
        assert not (machine.storage / "addons/large_1.0.0").exists()

        arrived = server.bytes_sent("/addons/large/*")
        assert 0 < arrived < 6_000_000
        server.faults.remove(link)
        server.forget_requests()
        async with driving(machine, desk) as driver:
            # What had arrived is not fetched again, and what is broken is told.
            await driver.says("1 item failed")
            await driver.notified("1 addon could not be updated: maya 1.0.0")
            assert (machine.storage / "addons/large_1.0.0").is_dir()
            assert server.bytes_asked("/addons/large/*") < 6_000_000
            # Whoever wants another try in a pause wants no pause any more.
            await desk.choose("Pause")
            await driver.says("paused")
            await desk.activate()
            await driver.sees("AYON addons")
            await driver.keys("key", "F5")
            await driver.says("1 item failed")
            server.faults.remove(broken)
            await desk.choose("Check now")
            await driver.says("prod · up to date")
            await driver.end()


async def test_it_is_small_when_idle_and_its_window_comes_and_goes(tmp_path: Path) -> None:
    def megabytes(driver: Driver) -> float:
        status = Path(f"/proc/{driver.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmRSS"))

    async with DevServer(studio(large=20_000_000)) as server, desktop() as desk:
        machine = Machine(tmp_path, server.url)
        configure(machine, news_wait=0)
        async with driving(machine, desk) as driver:
            await driver.says("prod · up to date")

            async def is_small() -> bool:
                return megabytes(driver) < 90

            await driver.until(is_small, "less than 90 MB")  # seconds after the update
            for _ in range(3):
                await desk.activate()
                await driver.sees("AYON addons")
                await driver.until(lambda: driver.has_keyboard("AYON addons"), "the keyboard")
                await driver.keys("key", "Escape")
                await driver.until(lambda: driver.is_gone("AYON addons"), "an end of the window")
            assert await driver.end() < 2.0


async def test_a_second_start_shows_the_first_one_s_window(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server, desktop() as desk:
        machine = Machine(tmp_path, server.url)
        async with driving(machine, desk) as driver:
            assert not await driver.keys("search", "--onlyvisible", "--name", "AYON addons")
            second = await machine.run("tray")
            assert second.code == 0, second
            await driver.sees("AYON addons")
            driver.process.send_signal(signal.SIGTERM)
            assert (await ended(driver.process)).code == 0


async def test_of_two_at_once_one_shows_its_window(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server, desktop() as desk:
        machine = Machine(tmp_path, server.url, **desk.env)
        both = [await machine.start("tray"), await machine.start("tray")]
        ending = [asyncio.create_task(ended(process)) for process in both]
        try:
            async with asyncio.timeout(PATIENCE):
                [one], [other] = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            assert (await one).code == 0, await one
            await Driver(machine, desk, both[ending.index(other)]).sees("AYON addons")
        finally:
            for process in both:
                if process.returncode is None:
                    process.terminate()
            await asyncio.wait(ending)


async def test_without_a_tray_the_window_serves(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server, desktop(tray=False) as desk:
        machine = Machine(tmp_path, server.url, **desk.env)
        process = await machine.start("tray")
        driver = Driver(machine, desk, process)
        try:
            await driver.sees("AYON addons")

            # A panel that comes up later is noticed.
            await desk.offer_tray()

            async def has_icon() -> bool:
                return desk.icons > 0

            await driver.until(has_icon, "an icon")
            await driver.says("prod · up to date")
            await driver.keys("key", "ctrl+q")
            async with asyncio.timeout(PATIENCE):
                assert (await ended(process)).code == 0
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_panel_that_comes_a_little_later_needs_no_window(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server, desktop(tray=False) as desk:
        machine = Machine(tmp_path, server.url, **desk.env)
        process = await machine.start("tray")
        driver = Driver(machine, desk, process)
        try:

            async def misses_it() -> bool:
                return "no tray yet" in driver.log()

            async def has_icon() -> bool:
                return desk.icons > 0

            await driver.until(misses_it, "a look for a tray")
            await desk.offer_tray()
            await driver.until(has_icon, "an icon")
            await driver.says("prod · up to date")
            assert await driver.is_gone("AYON addons")
            await driver.end()
        finally:
            if process.returncode is None:
                process.kill()


async def test_without_a_display_it_says_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    none, wrong = await machine.run("tray"), Machine(tmp_path, DISPLAY=":65000")
    assert none.code == 2
    assert none.err.startswith("Error: The tray needs a display")
    far = await wrong.run("tray")
    assert far.code == 2
    assert far.err.startswith("Error: The tray can't be shown")
    assert len(far.err.splitlines()) == 2


async def test_in_headless_mode_it_is_a_watch(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server:
        process = await Machine(tmp_path, server.url, AYON_HEADLESS_MODE="1").start("tray")
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while b"up to date" not in await process.stdout.readline():
                pass
        process.send_signal(signal.SIGTERM)
        done = await ended(process)
        assert done.code == 143
        assert "Traceback" not in done.err
