"""The window: what is happening, a row an item, what was last updated, which server and who."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QByteArray, QEvent, QSettings, QSize, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QColor,
    QHideEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPalette,
    QShortcut,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ayon_async.tray.mark import Mark
from ayon_async.tray.page import Page, Trouble
from ayon_async.tray.paint import COLOURS, icon_of, picture
from ayon_async.tray.rows import Bar, QuietLabel, Rows
from ayon_async.tray.theme import is_dark

_GEOMETRY = "geometry"
_GAP = 12  # pixels below the box


@dataclass(frozen=True, slots=True)
class Actions:
    """What a person can ask for in the window."""

    check: Callable[[], object]
    pause: Callable[[bool], object]
    sign_in: Callable[[], object]
    quit: Callable[[], object]


class Window(QWidget):
    """The window; `show_page` says what it shows, and it remembers its own place and size.

    Args:
        menu: The tray's menu, which the window has too.
        remembered: Where its place and size are kept.
        has_tray: See below.

    Attributes:
        has_tray: Whether it may go away where a person closes it; else it only becomes small.
    """

    opened = Signal()
    closed = Signal()

    def __init__(self, actions: Actions, menu: QMenu, remembered: QSettings, *, has_tray: bool) -> None:
        super().__init__()
        self._actions = actions
        self._remembered = remembered
        self.has_tray = has_tray
        self._page: Page | None = None
        self.setWindowTitle("AYON addons")
        self.setMinimumSize(QSize(560, 360))
        self.resize(720, 600)
        self._head = _Head(menu, actions)
        self._trouble = _TroubleBox(actions)
        self._rows = Rows(actions.check)
        self._updated, self._account = QuietLabel(), QuietLabel()
        self._lay_out()
        for keys, do in (
            ("Esc", self.close),
            ("F5", actions.check),
            ("Ctrl+R", actions.check),
            ("Ctrl+Q", actions.quit),
        ):
            QShortcut(QKeySequence(keys), self, activated=lambda do=do: do())  # type: ignore[call-overload]
        geometry = remembered.value(_GEOMETRY)
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)

    def _lay_out(self) -> None:
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(self._rows)
        area.setAccessibleName("Items")
        for ground in (area.viewport(), self._rows):
            ground.setBackgroundRole(QPalette.ColorRole.Base)
            ground.setAutoFillBackground(True)
        foot = QVBoxLayout()
        foot.setContentsMargins(16, 10, 16, 12)
        foot.setSpacing(3)
        for label in (self._updated, self._account):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            foot.addWidget(label)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self._head)
        outer.addWidget(self._trouble)
        outer.addWidget(area, 1)
        outer.addLayout(foot)

    def show_page(self, page: Page) -> None:
        """Show what is happening now."""
        before, self._page = self._page, page
        if page == before:
            return
        colour = COLOURS[page.mark.colour]
        if before is None or page.mark != before.mark:
            self.setWindowIcon(icon_of(page.mark))
        self._head.show_page(page, before, colour)
        if before is None or page.trouble != before.trouble:
            self._trouble.show_trouble(page.trouble)
        self._rows.show_rows(page.rows, colour)
        if before is None or (page.updated, page.account) != (before.updated, before.account):
            for label, text in ((self._updated, page.updated), (self._account, page.account)):
                label.setText(text)
                label.setToolTip(text)

    def come_forward(self) -> None:
        """Show the window before all others, because a person asked for it."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def remember(self) -> None:
        """Keep place and size for the next time."""
        self._remembered.setValue(_GEOMETRY, self.saveGeometry())

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.opened.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.remember()
        self.closed.emit()

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.has_tray and event.spontaneous():
            event.ignore()
            self.showMinimized()


class _Head(QWidget):
    """What is happening, in large letters, with the bar of the whole and the two most wanted buttons."""

    def __init__(self, menu: QMenu, actions: Actions) -> None:
        super().__init__()
        self._picture = _Picture(44)
        self._title, self._subtitle, self._progress = QLabel(), QuietLabel(), QuietLabel()
        self._title.setTextFormat(Qt.TextFormat.PlainText)
        font = self._title.font()
        font.setPointSizeF(font.pointSizeF() * 1.45)
        font.setBold(True)
        self._title.setFont(font)
        for label in (self._title, self._subtitle):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._bar = Bar(10)
        self._bar.setAccessibleName("Progress of the update")
        self._check, self._pause, self._more = QPushButton("Check now"), QPushButton("Pause"), QPushButton("Menu")
        self._check.clicked.connect(lambda: actions.check())
        self._pause.clicked.connect(lambda: actions.pause(self._pause.text() == "Pause"))
        self._more.setMenu(menu)

        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._title)
        words.addWidget(self._subtitle)
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(self._picture)
        line.addLayout(words, 1)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for button in (self._check, self._pause, self._more):
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            buttons.addWidget(button)
        line.addLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 16, 16, 12)
        outer.setSpacing(8)
        outer.addLayout(line)
        outer.addWidget(self._bar)
        outer.addWidget(self._progress)

    def show_page(self, page: Page, before: Page | None, colour: str) -> None:
        self._picture.show_mark(page.mark)
        if page.share is not None:
            self._bar.show_share(page.share, colour)
        if before is None or page.progress != before.progress:
            self._progress.setText(page.progress)
        if before is not None and _settled(page) == _settled(before):
            return
        self._title.setText(page.title)
        self._subtitle.setText(page.subtitle)
        self._bar.setVisible(page.share is not None)
        self._progress.setVisible(bool(page.progress))
        self._check.setEnabled(page.can_check)
        self._pause.setText("Resume" if page.paused else "Pause")
        self._pause.setEnabled(page.can_pause)


def _settled(page: Page) -> tuple[object, ...]:
    """What of the head does not change all the time."""
    return page.title, page.subtitle, page.share is None, not page.progress, page.can_check, page.paused, page.can_pause


class _Picture(QWidget):
    """The icon, drawn for the screen's own pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self._mark = Mark()
        self.setFixedSize(QSize(side, side))

    def show_mark(self, mark: Mark) -> None:
        if mark != self._mark:
            self._mark = mark
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        ratio = self.devicePixelRatioF()
        pixmap = picture(self._mark, round(self.width() * ratio))
        pixmap.setDevicePixelRatio(ratio)
        painter = QPainter(self)
        painter.drawPixmap(0, 0, pixmap)
        painter.end()


class _TroubleBox(QFrame):
    """What a person should know or do, on a ground of its own."""

    def __init__(self, actions: Actions) -> None:
        super().__init__()
        self._actions = actions
        self._shown: Trouble | None = None
        self._text, self._hint, self._button = QLabel(), QuietLabel(), QPushButton()
        for label in (self._text, self._hint):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._button.clicked.connect(self._help)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._text)
        words.addWidget(self._hint)
        line = QHBoxLayout(self)
        line.setContentsMargins(28, 10, 28, 10 + _GAP)
        line.setSpacing(12)
        line.addLayout(words, 1)
        line.addWidget(self._button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.setVisible(False)

    def show_trouble(self, trouble: Trouble | None) -> None:
        self._shown = trouble
        self.setVisible(trouble is not None)
        if trouble is not None:
            self._text.setText(trouble.text)
            self._hint.setText(trouble.hint)
            self._hint.setVisible(bool(trouble.hint))
            self._button.setText("Sign in…" if trouble.remedy == "sign_in" else "Retry")
            self._button.setVisible(trouble.remedy is not None)
            self.setAccessibleName(f"{trouble.text} {trouble.hint}".strip())

    def _help(self) -> None:
        if self._shown is not None:
            (self._actions.sign_in if self._shown.remedy == "sign_in" else self._actions.check)()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor("#4a3313" if is_dark(self.palette()) else "#fff1d6"))
        painter.drawRoundedRect(self.rect().adjusted(16, 0, -16, -_GAP), 8, 8)
        painter.end()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        self.update()
