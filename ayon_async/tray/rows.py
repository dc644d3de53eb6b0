"""The rows of the window: a line an item, with what failed and what can be done about it below."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ayon_async.item import Item
from ayon_async.tray.page import Row, Tone
from ayon_async.tray.paint import COLOURS

_STEPS = 1000
_GOOD, _BAD = "#2e9e5b", "#e5383b"
_AT_ONCE = 4  # rows that are made before others have their turn
_VERSION, _SPEED, _BAR = 15, 10, 140  # characters, characters, pixels


class Bar(QProgressBar):
    """A progress bar that looks the same on every desktop; a screen reader takes it for what it is.

    Args:
        height: In pixels.
    """

    def __init__(self, height: int) -> None:
        super().__init__()
        self.setRange(0, _STEPS)
        self.setTextVisible(False)
        self.setFixedHeight(height)
        self.colour = COLOURS["production"]
        self._shown = 0
        self.setValue(0)

    def show_share(self, share: float, colour: str) -> None:
        """From 0 to 1."""
        value = round(share * _STEPS)
        if value != self._shown:
            self._shown = value
            self.setValue(value)
        if colour != self.colour:
            self.colour = colour
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        ground = self.palette().color(QPalette.ColorRole.WindowText)
        ground.setAlphaF(0.13)
        radius = self.height() / 2
        painter.setBrush(ground)
        painter.drawRoundedRect(QRectF(self.rect()), radius, radius)
        if self.value() > 0:
            width = max(self.height(), self.width() * self.value() / _STEPS)
            painter.setBrush(QColor(self.colour))
            painter.drawRoundedRect(QRectF(0, 0, width, self.height()), radius, radius)
        painter.end()


class Sign(QWidget):
    """A row's state as a small shape: a check mark, a cross, an arrow or a dot."""

    def __init__(self) -> None:
        super().__init__()
        self._tone: Tone = "quiet"
        self._colour = COLOURS["production"]
        self.setFixedSize(QSize(16, 16))

    def show_tone(self, tone: Tone, colour: str) -> None:
        """Show another one; the colour is that of work under way."""
        if (tone, colour) != (self._tone, self._colour):
            self._tone, self._colour = tone, colour
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        quiet = self.palette().color(QPalette.ColorRole.PlaceholderText)
        colour = {"good": QColor(_GOOD), "bad": QColor(_BAD), "busy": QColor(self._colour)}.get(self._tone, quiet)
        painter.setPen(QPen(colour, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
        for line in _SIGNS[self._tone]:
            painter.drawPolyline(QPolygonF([QPointF(*point) for point in line]))
        if self._tone == "quiet":
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(8, 8), 1, 1)
        painter.end()


_SIGNS: dict[Tone, tuple[tuple[tuple[float, float], ...], ...]] = {
    "good": (((3, 8.5), (6.5, 12), (13, 4.5)),),
    "bad": (((4, 4), (12, 12)), ((4, 12), (12, 4))),
    "busy": (((8, 3), (8, 12.5)), ((4, 8.5), (8, 12.5), (12, 8.5))),
    "quiet": (),
}


class QuietLabel(QLabel):
    """A label that stands back, yet is easy to read in light and dark; what strangers wrote is no markup to it."""

    _STRENGTH = 0.7  # of the text's own colour: its contrast stays above 4.5 to 1

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self._colour: QColor | None = None
        self._applied: QColor | None = None
        self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._apply()

    def show_in(self, colour: QColor | None) -> None:
        """Show the text in this colour; in the quiet one again where None."""
        self._colour = colour
        self._apply()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            self._apply()

    def _apply(self) -> None:
        # Through a role that no label uses by itself: what the desktop says of all others stays as it is.
        palette = self.palette()
        colour = self._colour
        if colour is None:
            colour = palette.color(QPalette.ColorRole.WindowText)
            colour.setAlphaF(self._STRENGTH)
        if colour != self._applied:
            self._applied = colour
            palette.setColor(QPalette.ColorRole.PlaceholderText, colour)
            self.setPalette(palette)


class RowView(QFrame):
    """One item.

    Args:
        retry: Called by the button "Retry".
    """

    def __init__(self, retry: Callable[[], object]) -> None:
        super().__init__()
        self._row: Row | None = None
        self._sign = Sign()
        self._name = QLabel()
        self._name.setTextFormat(Qt.TextFormat.PlainText)
        self._name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._version, self._phase, self._speed, self._reason = (QuietLabel() for _ in range(4))
        self._bar = Bar(6)
        digit = self.fontMetrics().horizontalAdvance("0")
        self._version.setFixedWidth(digit * _VERSION)
        self._phase.setMinimumWidth(self.fontMetrics().horizontalAdvance("Waiting for another"))
        self._speed.setFixedWidth(digit * _SPEED)
        self._speed.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._bar.setFixedWidth(_BAR)
        self._below = QWidget()
        self._lay_out(retry)

    def _lay_out(self, retry: Callable[[], object]) -> None:
        line = QGridLayout()
        line.setHorizontalSpacing(10)
        line.setContentsMargins(0, 0, 0, 0)
        for column, widget in enumerate((self._sign, self._name, self._version, self._phase, self._bar, self._speed)):
            line.addWidget(widget, 0, column, Qt.AlignmentFlag.AlignVCenter)
        line.addWidget(self._name, 0, 1)
        line.setColumnStretch(1, 1)
        keep = self._bar.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self._bar.setSizePolicy(keep)

        self._retry, self._copy = QPushButton("Retry"), QPushButton("Copy details")
        self._retry.clicked.connect(lambda: retry())
        self._copy.clicked.connect(self._copy_details)
        below = QHBoxLayout(self._below)
        below.setContentsMargins(26, 0, 0, 0)
        self._reason.setWordWrap(True)
        self._reason.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        below.addWidget(self._reason, 1)
        for button in (self._retry, self._copy):
            below.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)

        rule = QWidget()  # what Qt draws without Python does not wait for Python's other threads
        rule.setFixedHeight(1)
        rule.setBackgroundRole(QPalette.ColorRole.Midlight)
        rule.setAutoFillBackground(True)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(16, 8, 16, 0)
        outer.setSpacing(5)
        outer.addLayout(line)
        outer.addWidget(self._below)
        outer.addSpacing(3)
        outer.addWidget(rule)

    @property
    def item(self) -> Item | None:
        """The item that is shown."""
        return None if self._row is None else self._row.item

    def show_row(self, row: Row, colour: str) -> None:
        """Show an item; touches only what has changed."""
        before, self._row = self._row, row
        if row == before and colour == self._bar.colour:
            return
        # Each of Qt's functions lets other threads run first, and these have much to do: none is called for nothing.
        self._sign.show_tone(row.tone, colour)
        if before is None:
            self._show_name(row)
        if before is None or row.phase != before.phase:
            self._phase.setText(row.phase)
        if before is None or row.speed != before.speed:
            self._speed.setText(row.speed)
        if before is None or (row.share is None) != (before.share is None):
            self._bar.setVisible(row.share is not None)
        if row.share is not None:
            self._bar.show_share(row.share, colour)
        if before is None or (row.reason, row.details) != (before.reason, before.details):
            self._show_reason(row)
        if before is None or row.spoken != before.spoken:
            self.setAccessibleName(row.spoken)

    def _show_name(self, row: Row) -> None:
        self._name.setText(row.name)
        self._name.setToolTip(row.name)
        width = self._version.width()
        self._version.setText(self.fontMetrics().elidedText(row.version, Qt.TextElideMode.ElideMiddle, width))
        self._version.setToolTip(row.version)
        self._bar.setAccessibleName(f"Progress of {row.name}")
        self._retry.setAccessibleName(f"Retry {row.name}")
        self._copy.setAccessibleName(f"Copy details of {row.name}")

    def _show_reason(self, row: Row) -> None:
        self._reason.setText(row.reason)
        self._reason.show_in(self.palette().color(QPalette.ColorRole.WindowText) if row.details else None)
        self._below.setVisible(bool(row.reason))
        for button in (self._retry, self._copy):
            button.setVisible(bool(row.details))

    def _copy_details(self) -> None:
        if self._row is not None:
            QGuiApplication.clipboard().setText(self._row.details)


class Rows(QWidget):
    """All items, in the order in which they are given."""

    def __init__(self, retry: Callable[[], object]) -> None:
        super().__init__()
        self._retry = retry
        self._views: dict[Item, RowView] = {}
        self._order: list[Item] = []
        self._rows: tuple[Row, ...] = ()
        self._colour = COLOURS["production"]
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addStretch(1)

    def show_rows(self, rows: tuple[Row, ...], colour: str) -> None:
        """Show these; a view follows its item, so that the keyboard's focus stays where it is."""
        self._rows, self._colour = rows, colour
        wanted = {row.item for row in rows}
        for item in self._views.keys() - wanted:
            view = self._views.pop(item)
            self._order.remove(item)
            self._layout.removeWidget(view)
            view.deleteLater()
        missing = [row.item for row in rows if row.item not in self._views]
        for item in missing[:_AT_ONCE]:
            self._views[item] = RowView(self._retry)
            self._order.append(item)
            self._layout.insertWidget(self._layout.count() - 1, self._views[item])
        for row in rows:
            if row.item in self._views:
                self._views[row.item].show_row(row, colour)
        self._sort([row.item for row in rows if row.item in self._views])
        if len(missing) > _AT_ONCE:
            QTimer.singleShot(0, self, lambda: self.show_rows(self._rows, self._colour))

    def _sort(self, order: list[Item]) -> None:
        """Move what stands elsewhere than it should."""
        for place, item in enumerate(order):
            if self._order[place] != item:
                self._order.remove(item)
                self._order.insert(place, item)
                self._layout.removeWidget(self._views[item])
                self._layout.insertWidget(place, self._views[item])
