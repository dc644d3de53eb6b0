"""The program around the tray: Qt's application, an event loop in it, and an end in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

# Before qasync, which takes whichever Qt is imported.
from PySide6.QtCore import QEvent, QMessageLogContext, QtMsgType, Signal, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

import qasync  # isort: skip

from ayon_async.errors import AyonAsyncError, UsageError
from ayon_async.tray.bridge import Bridge
from ayon_async.tray.garbage import collect_here
from ayon_async.tray.mark import Mark
from ayon_async.tray.paint import icon_of
from ayon_async.tray.ready import INSTEAD
from ayon_async.tray.tasks import Tasks
from ayon_async.tray.theme import follow_desktop
from ayon_async.tray.tray import Tray
from ayon_async.version import __version__
from ayon_async.watch.setup import Setup
from ayon_async.watch.single import Instance

log = logging.getLogger(__name__)

_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.DEBUG,
    QtMsgType.QtWarningMsg: logging.INFO,
    QtMsgType.QtCriticalMsg: logging.WARNING,
    QtMsgType.QtFatalMsg: logging.DEBUG,
}


class DisplayLost(AyonAsyncError):
    """The screen is gone, and Qt's event loop with it."""


class _Application(QApplication):
    """Ends when it is told to by us, and only then: the desktop's wish to end it is passed on."""

    end_wished = Signal()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Quit:
            self.end_wished.emit()
            return True
        return super().event(event)


def run_tray(setup: Setup, instance: Instance, log_file: Path) -> None:
    """Show the tray until a person, a signal or the desktop ends it.

    Args:
        setup: The settings.
        instance: That we are the one tray of this user and store.
        log_file: Where "Show log" leads.

    Raises:
        Exception: Whatever fault ended the watch.
    """
    qInstallMessageHandler(_QtLog())
    application = _Application(["ayon-async"])
    collect_here(application)
    application.setApplicationName("ayon-async")
    application.setApplicationDisplayName("AYON addons")
    application.setApplicationVersion(__version__)
    application.setDesktopFileName("ayon-async-tray")
    application.setQuitOnLastWindowClosed(False)
    follow_desktop(application)
    application.setWindowIcon(icon_of(Mark()))
    with qasync.QEventLoop(application) as loop:
        main = loop.create_task(_main(application, setup, instance, log_file))
        try:
            loop.run_until_complete(main)
        except RuntimeError as error:
            if main.done():
                raise
            raise DisplayLost(
                "The desktop ended the tray's connection to the display.", "Start the tray again."
            ) from error


async def _main(application: _Application, setup: Setup, instance: Instance, log_file: Path) -> None:
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows; there is no console to press Ctrl-C in
            loop.add_signal_handler(number, end.set)
    application.end_wished.connect(end.set)
    bridge, tasks = Bridge(setup), Tasks()
    tray = Tray(bridge, tasks, log_file, end.set)

    def show_window() -> None:
        loop.call_soon_threadsafe(tray.open_window)

    instance.show_with(show_window)
    watching, ending = asyncio.ensure_future(bridge.run()), asyncio.ensure_future(end.wait())
    try:
        await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
    finally:
        instance.close_door()
        tray.close()
        await tasks.stop()
        ending.cancel()
        watching.cancel()
        await asyncio.wait([watching])
    if not watching.cancelled() and (error := watching.exception()) is not None:
        raise error


class _QtLog:
    """What Qt complains of goes to the log; what would abort the process ends it in words."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        log.log(_LEVELS[kind], "Qt: %s", message)
        if kind is QtMsgType.QtFatalMsg:
            # The general sentence comes last, the reason before it.
            reason = (self._last or message).strip().partition("\n")[0]
            print(f"Error: The tray can't be shown: {reason}\n  {INSTEAD}", file=sys.stderr, flush=True)
            os._exit(UsageError.exit_code)
        self._last = message
