"""Draws a `Mark` with vectors, on the pixel grid of each size, so that it is crisp from 16 to 64 pixels.

The colours stand out from light and dark panels alike; nothing is ever drawn in the panel's own black or white.
"""

from __future__ import annotations

import functools

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

from ayon_async.tray.mark import RING_STEPS, Mark
from ayon_async.watch.state import Followed

SIZES = (16, 20, 22, 24, 32, 44, 48, 64)

COLOURS: dict[Followed, str] = {"production": "#0ea5a0", "staging": "#ff8c00", "dev": "#8b5cf6"}
_WARNING, _ON_WARNING = "#ffca28", "#3a2c00"
_FAILURE = "#e5383b"
_LIGHT = "#ffffff"


@functools.lru_cache(maxsize=8)
def icon_of(mark: Mark) -> QIcon:
    """The mark as an icon with a picture for each size."""
    icon = QIcon()
    for size in SIZES:
        icon.addPixmap(picture(mark, size))
    return icon


def picture(mark: Mark, size: int) -> QPixmap:
    """The mark as a square picture of so many pixels."""
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _Drawing(painter, size, QColor(COLOURS[mark.colour])).draw(mark)
    painter.end()
    return pixmap


class _Drawing:
    """One picture; lengths are shares of its side, and what must be crisp is rounded to whole pixels."""

    def __init__(self, painter: QPainter, size: int, colour: QColor) -> None:
        self._painter = painter
        self._size = size
        self._colour = colour
        self._edge = max(1, round(size / 16))  # free on each side
        self._stroke = max(2, round(size / 8.5))

    def draw(self, mark: Mark) -> None:
        match mark.shape:
            case "idle":
                self._disc()
                self._line((0.29, 0.52), (0.44, 0.67), (0.72, 0.36))
            case "paused":
                self._disc()
                self._pause()
            case "checking":
                self._disc()
                self._looking_glass()
            case "working":
                self._ring(mark.ring / RING_STEPS)
                self._arrow()
            case "attention":
                self._disc()
                self._warning()
            case "error":
                self._disc()
                self._failure()
            case "offline":
                self._cloud()
                self._slash()
            case "signed_out":
                self._hoop()
                self._person()

    # --- grounds ----------------------------------------------------------------------------------------------------

    @property
    def _whole(self) -> QRectF:
        side = self._size - 2 * self._edge
        return QRectF(self._edge, self._edge, side, side)

    def _disc(self) -> None:
        self._fill(self._colour)
        self._painter.drawEllipse(self._whole)

    def _hoop(self) -> None:
        half = self._stroke / 2
        self._pen(self._colour, self._stroke)
        self._painter.drawEllipse(self._whole.adjusted(half, half, -half, -half))

    def _ring(self, share: float) -> None:
        half = self._stroke / 2
        path = self._whole.adjusted(half, half, -half, -half)
        faint = QColor(self._colour)
        faint.setAlphaF(0.32)
        self._pen(faint, self._stroke, Qt.PenCapStyle.FlatCap)
        self._painter.drawEllipse(path)
        self._pen(self._colour, self._stroke, Qt.PenCapStyle.FlatCap)
        self._painter.drawArc(path, 90 * 16, -round(360 * 16 * share))

    # --- signs ------------------------------------------------------------------------------------------------------

    def _line(self, *points: tuple[float, float], colour: str = _LIGHT) -> None:
        self._pen(QColor(colour), self._stroke)
        self._painter.drawPolyline(QPolygonF([self._at(*point) for point in points]))

    def _pause(self) -> None:
        self._fill(QColor(_LIGHT))
        width, gap = max(2, round(self._size / 8)), max(2, round(self._size / 8))
        height, middle = round(self._size * 0.44 / 2) * 2, self._size / 2
        for left in (middle - gap / 2 - width, middle + gap / 2):
            self._painter.drawRect(QRectF(round(left), middle - height / 2, width, height))

    def _looking_glass(self) -> None:
        self._pen(QColor(_LIGHT), self._stroke * 0.85)
        self._painter.drawEllipse(self._at(0.45, 0.45), self._size * 0.165, self._size * 0.165)
        self._painter.drawLine(self._at(0.57, 0.57), self._at(0.72, 0.72))

    def _arrow(self) -> None:
        self._pen(self._colour, max(2.0, self._stroke * 0.85))
        self._painter.drawLine(self._at(0.5, 0.31), self._at(0.5, 0.66))
        self._painter.drawPolyline(QPolygonF([self._at(0.36, 0.53), self._at(0.5, 0.67), self._at(0.64, 0.53)]))

    def _cloud(self) -> None:
        cloud = QPainterPath()
        cloud.setFillRule(Qt.FillRule.WindingFill)
        for x, y, radius in ((0.27, 0.6, 0.21), (0.5, 0.44, 0.26), (0.74, 0.6, 0.2)):
            cloud.addEllipse(self._at(x, y), self._size * radius, self._size * radius)
        cloud.addRect(QRectF(self._at(0.27, 0.6), self._at(0.74, 0.805)))
        self._fill(self._colour)
        self._painter.drawPath(cloud.simplified())

    def _slash(self) -> None:
        start, end = self._at(0.17, 0.13), self._at(0.85, 0.9)
        self._painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Clear)
        self._pen(QColor(_LIGHT), self._stroke * 2.0)
        self._painter.drawLine(start, end)
        self._painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)
        self._pen(self._colour, self._stroke * 0.75)
        self._painter.drawLine(start, end)

    def _person(self) -> None:
        self._fill(self._colour)
        self._painter.drawEllipse(self._at(0.5, 0.4), self._size * 0.125, self._size * 0.125)
        shoulders = QPainterPath(self._at(0.28, 0.74))
        shoulders.cubicTo(self._at(0.3, 0.52), self._at(0.7, 0.52), self._at(0.72, 0.74))
        shoulders.closeSubpath()
        self._painter.drawPath(shoulders)

    # --- badges in the corner, cut out of the ground ----------------------------------------------------------------

    def _warning(self) -> None:
        triangle = QPolygonF([self._at(0.68, 0.4), self._at(0.97, 0.95), self._at(0.39, 0.95)])
        self._cut(triangle)
        self._pen(QColor(_WARNING), self._size * 0.06)
        self._painter.setBrush(QColor(_WARNING))
        self._painter.drawPolygon(triangle)
        self._pen(QColor(_ON_WARNING), max(1.5, self._size * 0.085))
        self._painter.drawLine(self._at(0.68, 0.6), self._at(0.68, 0.75))
        self._painter.drawPoint(self._at(0.68, 0.88))

    def _failure(self) -> None:
        box = QRectF(self._at(0.44, 0.44), self._at(1.0, 1.0))
        octagon = QPolygonF(
            [
                QPointF(box.x() + box.width() * x, box.y() + box.height() * y)
                for x, y in ((0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7), (0, 0.3))
            ]
        )
        self._cut(octagon)
        self._fill(QColor(_FAILURE))
        self._painter.drawPolygon(octagon)
        self._pen(QColor(_LIGHT), max(1.5, self._size * 0.09))
        self._painter.drawLine(self._at(0.61, 0.61), self._at(0.83, 0.83))
        self._painter.drawLine(self._at(0.61, 0.83), self._at(0.83, 0.61))

    def _cut(self, shape: QPolygonF) -> None:
        """Take the shape and a rim around it out of what is drawn."""
        self._painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Clear)
        self._pen(QColor(_LIGHT), max(3.0, self._size * 0.16))
        self._painter.setBrush(QColor(_LIGHT))
        self._painter.drawPolygon(shape)
        self._painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)

    # --- tools ------------------------------------------------------------------------------------------------------

    def _at(self, x: float, y: float) -> QPointF:
        return QPointF(self._size * x, self._size * y)

    def _fill(self, colour: QColor) -> None:
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(colour)

    def _pen(self, colour: QColor, width: float, cap: Qt.PenCapStyle = Qt.PenCapStyle.RoundCap) -> None:
        self._painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, cap, Qt.PenJoinStyle.RoundJoin))
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
