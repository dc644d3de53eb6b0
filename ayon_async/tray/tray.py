"""The tray itself: shows the watch's state in icon, tooltip, menu and window, and does what a person chooses there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QSettings, Qt, QTimer, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QMenu, QMessageBox, QSystemTrayIcon

from ayon_async.errors import AyonAsyncError
from ayon_async.report import SyncReport
from ayon_async.settings import Place
from ayon_async.tray.bridge import Bridge
from ayon_async.tray.mark import Mark, mark_of
from ayon_async.tray.menu import Circumstances, Entry, menu_of
from ayon_async.tray.menuview import MenuView
from ayon_async.tray.paint import icon_of
from ayon_async.tray.tasks import Tasks
from ayon_async.watch import autostart
from ayon_async.watch.describe import failure_text, status_line, update_text
from ayon_async.watch.state import Mood, Update, WatchState

if TYPE_CHECKING:  # windows, of which most people seldom see one, are imported when they are opened
    from ayon_async.tray.dialog import SignInDialog
    from ayon_async.tray.window import Window

_BUSY = (Mood.CHECKING, Mood.WORKING)
_TICK = 100  # milliseconds
_SLOW = 5  # ticks between changes of what goes over the desktop's bus
# At login we may well start before the panel: a window that nobody asked for would take the keyboard each time.
_EARLY, _EARLY_LOOKS = 500, 6  # milliseconds between the first looks for a tray, and how many there are
_LATE = 5000  # milliseconds between two looks where the window serves
# As long as the desktop wants. With a number of milliseconds Qt would, for so long, also show the notification's text
# in place of the tooltip, and its picture in place of the icon: what they say would not be so any more.
_SHOWN = -1

_WITHOUT_FOCUS = Qt.WidgetAttribute.WA_ShowWithoutActivating

log = logging.getLogger(__name__)


class Tray(QObject):
    """Everything on the screen; lives in the GUI thread.

    Args:
        bridge: To the watch.
        tasks: Runs what has to be waited for.
        log_file: Where "Show log" leads.
        quit: Ends the program.
    """

    def __init__(self, bridge: Bridge, tasks: Tasks, log_file: Path, quit: Callable[[], object]) -> None:
        super().__init__()
        self._bridge = bridge
        self._watch = bridge.watch
        self._tasks = tasks
        self._log_file = log_file
        self._quit = quit
        self._shown = WatchState()
        self._mark: Mark | None = None
        self._dialog: SignInDialog | None = None
        self._about: QMessageBox | None = None
        self._asked = False  # to sign in, since it last worked
        self._message_leads_to: Callable[[], object] = self.open_window
        self._ticks = 0
        self._timer = QTimer(self, interval=_TICK)
        self._timer.timeout.connect(self._tick)

        self._icon: QSystemTrayIcon | None = None  # where the desktop has a tray
        self._menu = QMenu()
        self._menu_view = MenuView(self._menu, self._chosen)
        self._window: Window | None = None  # made when it is first opened
        self._bridge.changed.connect(self._changed)
        self._bridge.updated.connect(self._updated)
        self._bridge.failed.connect(self._failed)
        self._looks = 0
        self._looking = QTimer(self, interval=_EARLY)
        self._looking.timeout.connect(self._look_for_tray)
        self._looking.start()
        self._look_for_tray()
        self._show_all(self._bridge.state)

    def _look_for_tray(self) -> None:
        """Put the icon into the desktop's tray if there is one; where there is none for a while the window serves."""
        if not QSystemTrayIcon.isSystemTrayAvailable():
            self._looks += 1
            if self._looks == 1:
                log.info("This desktop has no tray yet.")
            elif self._looks == _EARLY_LOOKS:
                log.info("This desktop has no tray; the window serves.")
                self._looking.setInterval(_LATE)
                self.open_window()
            return
        self._looking.stop()
        self._icon = QSystemTrayIcon(self)
        self._icon.activated.connect(self._activated)
        self._icon.messageClicked.connect(lambda: self._message_leads_to())
        self._icon.setContextMenu(self._menu)
        self._show_icon(self._bridge.state)
        self._icon.show()
        if self._window is not None:
            self._window.has_tray = True

    def close(self) -> None:
        """Take everything from the screen."""
        self._timer.stop()
        self._looking.stop()
        if self._icon is not None:
            self._icon.hide()
        if self._window is not None:
            self._window.hide()
        for dialog in (self._dialog, self._about):
            if dialog is not None:
                dialog.reject()

    # --- showing the state ------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        """The watch has a new state; while it is busy the timer is who looks."""
        state = self._bridge.state
        busy = state.mood in _BUSY
        if busy and self._timer.isActive() and state.mood is self._shown.mood:
            return
        self._show_all(state)
        if not busy:
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()

    def _tick(self) -> None:
        self._ticks += 1
        state = self._bridge.state
        if self._ticks % _SLOW == 0 or state.mood is not self._shown.mood:
            self._show_all(state)
        else:
            self._show_page(state)

    def _show_all(self, state: WatchState) -> None:
        self._shown = state
        self._show_icon(state)
        self._menu_view.show_entries(menu_of(state, self._circumstances()))
        self._show_page(state)
        if state.mood is Mood.SIGNED_OUT:
            self._ask_to_sign_in()
        elif state.user is not None:
            self._asked = False

    def _show_icon(self, state: WatchState) -> None:
        if self._icon is None:
            return
        mark, line = mark_of(state), status_line(state)
        if mark != self._mark:
            self._mark = mark
            self._icon.setIcon(icon_of(mark))
        if line != self._icon.toolTip():
            self._icon.setToolTip(line)

    def _show_page(self, state: WatchState) -> None:
        if self._window is not None and self._window.isVisible():
            from ayon_async.tray.page import page_of

            self._window.show_page(page_of(state, self._log_file))

    def _circumstances(self) -> Circumstances:
        origins = self._watch.setup.settings.origins
        locked = frozenset(key for key, origin in origins.items() if origin.place is Place.LOCKED)
        return Circumstances(locked, autostart.is_enabled())

    # --- the window -------------------------------------------------------------------------------------------------

    def open_window(self) -> None:
        """Show the window before all others."""
        if self._window is None:
            from ayon_async.tray.window import Actions, Window

            actions = Actions(self._check, self._pause, self.sign_in, self._quit)
            # Not a setting: nothing but where the window stood.
            remembered = QSettings(str(self._watch.setup.folders.config / "window.ini"), QSettings.Format.IniFormat)
            self._window = Window(actions, self._menu, remembered, has_tray=self._icon is not None)
            self._window.opened.connect(self._window_opened)
            self._window.closed.connect(self._window_closed)
        self._window.come_forward()

    def _window_opened(self) -> None:
        self._watch.watched = True
        self._show_page(self._bridge.state)

    def _window_closed(self) -> None:
        self._watch.watched = False
        if self._window is not None and not self._window.isVisible():  # nor small: nobody needs its memory
            self._window.deleteLater()
            self._window = None

    def _activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        # On macOS a click opens the menu already.
        if reason is QSystemTrayIcon.ActivationReason.Trigger and sys.platform != "darwin":
            self.open_window()

    # --- what a person chose ----------------------------------------------------------------------------------------

    def _chosen(self, entry: Entry) -> None:
        match entry.command, entry.value:
            case "show", _:
                self.open_window()
            case "check", _:
                self._check()
            case ("pause" | "resume") as command, _:
                self._pause(command == "pause")
            case "follow", ("production" | "staging" | "dev") as which:
                self._watch.follow(which)
            case "limit", rate:
                self._watch.limit(None if rate is None else float(rate))
            case "folder", _:
                self._open(self._watch.setup.paths.addons)
            case "log", _:
                self._open(self._log_file)
            case "sign_in", _:
                self.sign_in()
            case "sign_out", _:
                self._asked = True  # whoever signs out wants no dialog
                self._watch.sign_out()
            case "autostart", _:
                self._set_autostart(not autostart.is_enabled())
            case "about", _:
                self._show_about()
            case "quit", _:
                self._quit()

    def _check(self) -> None:
        """What "Retry" does too, and whoever wants that wants no pause any more."""
        (self._watch.resume if self._bridge.state.paused else self._watch.check_now)()

    def _pause(self, paused: bool) -> None:
        (self._watch.pause if paused else self._watch.resume)()

    def _open(self, path: Path) -> None:
        """Show a file or folder in the desktop's own program for it."""
        there = next((one for one in (path, *path.parents) if one.exists()), path)
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(there))):
            self._say("No program opens this", str(path))

    def _set_autostart(self, wanted: bool) -> None:
        try:
            (autostart.enable if wanted else autostart.disable)()
        except AyonAsyncError as error:
            self._say(error.message, error.hint)
        self._show_all(self._bridge.state)

    def _show_about(self) -> None:
        if self._about is None:
            from ayon_async.tray.page import about_text

            self._about = QMessageBox(
                QMessageBox.Icon.NoIcon, "About AYON addons", about_text(self._watch.setup, self._log_file)
            )
            self._about.setIconPixmap(icon_of(Mark()).pixmap(64))
            self._about.setModal(False)
        self._about.show()
        self._about.raise_()
        self._about.activateWindow()

    # --- signing in -------------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Show the dialog before all others, because a person asked for it."""
        dialog = self._sign_in_dialog()
        dialog.show()
        dialog.raise_()
        dialog.activateWindow()

    def _ask_to_sign_in(self) -> None:
        """Show the dialog, once, without taking the keyboard from what a person is doing."""
        if self._asked:
            return
        self._asked = True
        error = self._bridge.state.error
        dialog = self._sign_in_dialog()
        if not dialog.isVisible():
            dialog.setAttribute(_WITHOUT_FOCUS, True)
            dialog.show()
            dialog.setAttribute(_WITHOUT_FOCUS, False)
        text = error.message if error is not None else "The studio's AYON server wants to know who you are."
        self._say("Please sign in to AYON", text, self.sign_in)

    def _sign_in_dialog(self) -> SignInDialog:
        if self._dialog is None:
            from ayon_async.tray.dialog import SignInDialog

            state = self._bridge.state
            why = state.error.message if state.error is not None and state.mood is Mood.SIGNED_OUT else ""
            self._dialog = SignInDialog(self._watch.setup, self._tasks, why, state.was_user or "")
            self._dialog.setWindowIcon(icon_of(mark_of(state)))
            self._dialog.signed_in.connect(self._watch.signed_in)
            self._dialog.finished.connect(self._dialog_finished)
        return self._dialog

    def _dialog_finished(self) -> None:
        if self._dialog is not None:
            self._dialog.deleteLater()
            self._dialog = None

    # --- notifications ----------------------------------------------------------------------------------------------

    def _updated(self, update: Update) -> None:
        self._say(*update_text(update))

    def _failed(self, report: SyncReport) -> None:
        self._say(*failure_text(report))

    def _say(self, title: str, text: str, leads_to: Callable[[], object] | None = None) -> None:
        self._message_leads_to = leads_to or self.open_window
        if self._icon is not None:
            self._icon.showMessage(title, text, icon_of(self._mark or Mark()), _SHOWN)
