"""Take the README's pictures of the tray: python3 scripts/screenshots.py [FOLDER]

Runs the tray against the embedded server on a display of its own, light and dark, and photographs what it shows. Needs
the packages of requirements-dev.txt, those of tests/system-packages.txt, and ImageMagick.
"""

# ruff: noqa: E402 - what is imported is found only once the path is set

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from environment import CHECKOUT, say

sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from ayon_async.devserver import ARTIST, DevServer, Studio, sample_studio
from ayon_async.devserver.faults import Link, Reset, Status
from ayon_async.tray.mark import RING_STEPS, Mark
from ayon_async.watch import Followed
from cli_machine import Machine
from tray_desktop import Desktop, desktop
from watching import configure

_PICTURES = CHECKOUT / ".github/pictures"
_PATIENCE = 120.0
_FOLLOWED: tuple[Followed, ...] = ("production", "staging", "dev")
_SHAPES: tuple[Any, ...] = (
    "idle", "checking", "working", "paused", "attention", "error", "offline", "signed_out",
)  # fmt: skip


class Camera:
    """What one run of the tray shows.

    Args:
        desk: Where it runs.
        machine: Whose folders it uses.
        folder: Where pictures go.
        suffix: Of their names.
    """

    def __init__(self, desk: Desktop, machine: Machine, folder: Path, suffix: str) -> None:
        self.desk = desk
        self.machine = machine
        self._folder = folder
        self._suffix = suffix

    async def start(self) -> asyncio.subprocess.Process:
        """Start the tray, and wait for its icon."""
        before = self.desk.icons
        self.machine.env |= self.desk.env
        process = await self.machine.start("tray", stdout=None, stderr=None)

        async def is_up() -> bool:
            return self.desk.icons > before

        await until(is_up)
        return process

    async def says(self, text: str) -> None:
        """Wait until the tooltip has this text."""

        async def does() -> bool:
            return text in await self.desk.tooltip()

        await until(does)

    async def tool(self, *command: str) -> str:
        """Run one of the display's tools."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, env=self.machine.env, stdout=pipe)
        out, _ = await process.communicate()
        return out.decode().strip()

    async def window(self, title: str) -> str:
        """Wait for a window; returns its number."""
        found: list[str] = []

        async def is_there() -> bool:
            found[:] = (await self.tool("xdotool", "search", "--onlyvisible", "--name", title)).split()
            return bool(found)

        await until(is_there)
        return found[-1]

    async def shoot(self, name: str, title: str = "AYON addons") -> None:
        """Photograph a window."""
        number = await self.window(title)
        await asyncio.sleep(0.6)  # what is drawn is drawn by then
        await self.shoot_window(name, number)

    async def shoot_window(self, name: str, number: str) -> None:
        """Photograph the window of this number."""
        path = self._folder / f"{name}-{self._suffix}.png"
        await self.tool("import", "-window", number, "-strip", str(path))
        say(path.name)

    async def place(self, number: str) -> dict[str, int]:
        """Where a window is, and how large."""
        lines = (await self.tool("xdotool", "getwindowgeometry", "--shell", number)).split()
        return {name: int(value) for name, _, value in (line.partition("=") for line in lines)}


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it does."""
    async with asyncio.timeout(_PATIENCE):
        while not await holds():  # noqa: ASYNC110 - a desktop tells by no event of asyncio's
            await asyncio.sleep(0.05)


async def photograph(studio: Studio, folder: Path, *, dark: bool) -> None:
    """Every picture of a light or dark desktop."""
    with tempfile.TemporaryDirectory(prefix="ayon-async-screenshots-") as temporary:
        machine = Machine(Path(temporary))
        configure(machine, news_wait=0)
        async with DevServer(studio) as server, desktop(dark=dark) as desk:
            camera = Camera(desk, machine, folder, "dark" if dark else "light")
            process = await camera.start()
            await sign_in(camera, server)
            await work(camera, server, staging=dark)
            await fail(camera, server)
            await desk.choose("Quit")
            await process.wait()


async def sign_in(camera: Camera, server: DevServer) -> None:
    """The dialog, with a wrong password and then the right one."""
    await camera.desk.choose("Sign in…")
    await camera.window("Sign in to AYON")
    await camera.tool("xdotool", "type", f"127.0.0.1:{server.port}\t\t{ARTIST.name}\tguess\r")
    await asyncio.sleep(2)
    await camera.shoot("dialog", "Sign in to AYON")
    slow = server.faults.add("/addons/*", Link(6_000_000))
    packages = server.faults.add("/api/desktop/dependencyPackages/*", Link(3_000_000))
    broken = server.faults.add("/addons/maya/*", Reset(400_000), attempts={1, 2})
    await camera.tool("xdotool", "type", f"{ARTIST.password}\r")
    await camera.desk.activate()
    await camera.says(" of ")
    await asyncio.sleep(1.5)
    for fault in (slow, packages, broken):
        server.faults.remove(fault)
    await camera.says("up to date")
    await camera.shoot("idle")


async def work(camera: Camera, server: DevServer, *, staging: bool) -> None:
    """The window in the middle of an update."""
    faults = [
        server.faults.add("/addons/*", Link(2_500_000)),
        server.faults.add("/api/desktop/dependencyPackages/*", Link(4_000_000)),
        server.faults.add("/addons/maya/*", Reset(300_000), attempts=1),
    ]
    if staging:
        await camera.desk.choose("Staging")
    else:
        await server.promote("staging-2026-08")
    await camera.says(" of ")
    await asyncio.sleep(2.0)
    await camera.shoot("working")
    await menu(camera)
    for fault in faults:
        server.faults.remove(fault)
    await camera.says("up to date")
    if staging:
        await camera.desk.choose("Production")
        await camera.says("AYON production")


async def menu(camera: Camera) -> None:
    """The menu, as the window shows it too."""
    number = await camera.window("AYON addons")
    place = await camera.place(number)
    button = (place["X"] + place["WIDTH"] - 40, place["Y"] + 38)
    await camera.tool("xdotool", "mousemove", str(button[0]), str(button[1]), "click", "1")
    await asyncio.sleep(0.6)
    shown = (await camera.tool("xdotool", "search", "--onlyvisible", "--maxdepth", "1", "--name", "")).split()
    widths = {one: (await camera.place(one))["WIDTH"] for one in shown}
    await camera.shoot_window("menu", min((one for one in shown if widths[one] > 100), key=lambda one: widths[one]))
    await camera.tool("xdotool", "key", "Escape")


async def fail(camera: Camera, server: DevServer) -> None:
    """The window after one archive could not be had."""
    fault = server.faults.add("/addons/unreal/*", Status(404, "File not found"))
    name = "next-2026-09"
    production = server.studio.production()
    assert production is not None
    addons = {**production.addons, "kitsu": "1.3.0-rc.1", "unreal": "0.2.2"}  # which no bundle here had before
    await server.add_bundle(replace(production, name=name, addons=addons, is_production=False))
    await server.promote(name)
    await camera.says("1 item failed")
    await camera.shoot("failed")
    server.faults.remove(fault)


def icon_sheet(folder: Path, *, dark: bool) -> None:
    """Every icon in the sizes that panels use."""
    from PySide6.QtGui import QColor, QGuiApplication, QImage, QPainter

    from ayon_async.tray.paint import picture

    application = QGuiApplication.instance() or QGuiApplication(["screenshots", "-platform", "offscreen"])
    sizes, cell = (16, 24, 32, 48), 64
    sheet = QImage(cell * len(_SHAPES) + 16, 3 * (sum(sizes) + 12 * len(sizes)) + 16, QImage.Format.Format_RGB32)
    sheet.fill(QColor("#202124" if dark else "#f4f4f4"))
    painter = QPainter(sheet)
    top = 14
    for followed, size in itertools.product(_FOLLOWED, sizes):
        for place, shape in enumerate(_SHAPES):
            mark = Mark(shape, followed, RING_STEPS * 5 // 8)
            painter.drawPixmap(8 + cell * place + (cell - size) // 2, top, picture(mark, size))
        top += size + 12
    painter.end()
    name = f"icons-{'dark' if dark else 'light'}.png"
    sheet.save(str(folder / name))
    say(name)
    assert application is not None, "pictures need it"


def main(arguments: list[str]) -> None:
    """Take every picture."""
    folder = Path(arguments[0]) if arguments else _PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    studio = sample_studio(Path(tempfile.gettempdir()) / "ayon-async-screenshots-studio")
    for dark in (False, True):
        icon_sheet(folder, dark=dark)
        asyncio.run(photograph(studio, folder, dark=dark))


if __name__ == "__main__":
    main(sys.argv[1:])
