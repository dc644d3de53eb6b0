"""The tray on a small real desktop, a window manager and a panel, beside a program in which somebody works."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from unittest import mock

import pytest

from ayon_async.credentials import Credentials
from ayon_async.devserver import ARTIST, DevServer, tiny_studio
from cli_machine import Machine
from test_tray_driven import Driver, driving_missing
from watching import configure, settings_file

if not driving_missing():
    from tray_desktop import Desktop, desktop

_PROGRAMS = [name for name in ("openbox", "trayer") if shutil.which(name) is None]
_MISSING = driving_missing() or (f"needs {' and '.join(_PROGRAMS)}" if _PROGRAMS else "")

WORK = """
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QSystemTrayIcon
application = QApplication([])
editor = QPlainTextEdit()
editor.setWindowTitle("Somebody's work")

def look():
    if QSystemTrayIcon.isSystemTrayAvailable():
        panel.stop()
        editor.show()

panel = QTimer(interval=50)
panel.timeout.connect(look)
panel.start()
application.exec()
"""
"""Nobody works before there is a panel."""


@asynccontextmanager
async def running(machine: Machine, desk: Desktop, *command: str) -> AsyncIterator[Driver]:
    """A program, as long as it is wanted."""
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, env=machine.env, stdout=nowhere, stderr=pipe)
    try:
        yield Driver(machine, desk, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.mark.skipif(bool(_MISSING), reason=_MISSING or "runs")
async def test_an_expired_token_is_asked_for_once_and_takes_nobody_s_keyboard(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as server, desktop(tray=False) as desk, AsyncExitStack() as programs:
        machine = Machine(tmp_path, AYON_SERVER_URL=server.url, **desk.env)
        configure(machine, news_wait=0, check_every="1s")
        with mock.patch.dict(os.environ, machine.env, clear=True):
            tokens = Credentials(settings_file(machine).parent)
            await asyncio.to_thread(tokens.save, server.url, server.accounts.open_session(ARTIST))

        async def start(*command: str) -> Driver:
            return await programs.enter_async_context(running(machine, desk, *command))

        # One after the other: a window manager gives no keyboard to a window that was there before it, and a tray that
        # starts long before the panel shows its window, which takes the keyboard.
        manager = await start("openbox")

        async def is_managed() -> bool:
            return bool(await manager.keys("get_desktop"))

        await manager.until(is_managed, "a window manager")
        panel = await start("trayer", "--edge", "top")

        async def is_there() -> bool:
            return bool(await panel.keys("search", "--class", "trayer"))

        await panel.until(is_there, "a panel")
        work = await start(sys.executable, "-c", WORK)

        async def is_at_work() -> bool:
            if await work.has_keyboard("Somebody's work"):
                return True
            await work.keys("search", "--onlyvisible", "--name", "Somebody's work", "windowactivate")  # as a click does
            return False

        await work.until(is_at_work, "a window that has the keyboard")

        driver = await start(sys.executable, "-m", "ayon_async", "tray")

        async def windows(title: str) -> bool:
            return bool(await driver.keys("search", "--onlyvisible", "--name", title))

        async def is_up_to_date() -> bool:
            return "up to date" in driver.log()

        await driver.until(is_up_to_date, "an update")
        assert not await windows("Sign in to AYON")
        assert not await windows("AYON addons")
        assert await is_at_work()

        # The dialog comes by itself, and what is typed still goes where it went.
        server.accounts.end_all_sessions()
        await driver.sees("Sign in to AYON")
        await asyncio.sleep(0.3)  # in which a window manager would have given it the keyboard
        assert await is_at_work()

        # Whoever sends it away is not asked again, however often the server says the same.
        [dialog] = (await driver.keys("search", "--onlyvisible", "--name", "Sign in to AYON")).split()
        await driver.keys("windowactivate", "--sync", dialog, "key", "Escape")
        server.forget_requests()

        async def asked_again() -> bool:
            return len(server.requests_to("/api/users/me")) >= 2

        await driver.until(asked_again, "more questions")
        assert not await windows("Sign in to AYON")

        # A click on the icon in the panel shows why.
        await driver.keys("search", "--onlyvisible", "--class", "trayer", "mousemove", "--window", "%1", "12", "12")
        await driver.keys("click", "1")
        await driver.sees("AYON addons")
