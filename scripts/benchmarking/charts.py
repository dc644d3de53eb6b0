"""Charts as SVG, drawn by hand: bars for the peers, lines for the growth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

Json = Mapping[str, Any]

_WIDTH = 900
_LEGEND = 318
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
_OURS, _THEIRS, _INK, _FAINT = "#0a7d4f", "#9aa5b1", "#1f2933", "#d9dee4"


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" {_FONT}>'
    # A background of its own: pages are dark for some.
    ground = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="white"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", ground, *parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = _INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {more}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = _FAINT) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _bar(y: float, label: str, value: float, scale: float, colour: str, note: str) -> list[str]:
    left, height = 330, 15
    return [
        _text(left - 8, y + 12, label, "end"),
        f'<rect x="{left}" y="{y:.1f}" width="{max(1.0, value * scale):.1f}" height="{height}" fill="{colour}"/>',
        _text(left + value * scale + 6, y + 12, note),
    ]


def bars(rows: Sequence[Json]) -> str:
    """Each row's times, as multiples of ours."""
    parts: list[str] = []
    y = 30.0
    most = max(1 / one["wall_ratio"]["median"] for row in rows for one in row["comparisons"])
    scale = 390 / max(most, 1.0)
    for row in rows:
        parts.append(_text(10, y, row["title"], more='font-weight="bold"'))
        y += 8
        parts += _bar(y, "ayon-async", 1.0, scale, _OURS, "1")
        y += 20
        for one in row["comparisons"]:
            times = 1 / one["wall_ratio"]["median"]
            low, high = 1 / one["wall_ratio"]["most"], 1 / one["wall_ratio"]["least"]
            parts += _bar(y, one["peer"], times, scale, _THEIRS, f"{times:.3g} x ({low:.3g}…{high:.3g})")
            y += 20
        y += 22
    return _svg(y, parts, "Time of other ways, as multiples of ayon-async's")


def lines(growth: Sequence[Json]) -> str:
    """Time against what grows, ours and the simple way's, each in a panel of its own; both axes are logarithmic."""
    parts = []
    width = _WIDTH / max(1, len(growth))
    for number, one in enumerate(growth):
        counts = [point["count"] for point in one["points"]]
        ours, theirs = ([point[name] for point in one["points"]] for name in ("wall", "theirs"))
        parts += _panel(number * width, width, one["title"], one["unit"], counts, (theirs, ours))
    for left, colour, name in ((280, _OURS, "ayon-async"), (460, _THEIRS, "requests + zipfile")):
        parts.append(f'<rect x="{left}" y="{_LEGEND - 10}" width="22" height="4" fill="{colour}"/>')
        parts.append(_text(left + 30, _LEGEND - 3, name))
    return _svg(_LEGEND + 15, parts, "How the time of a sync grows")


def _panel(
    left: float, width: float, title: str, unit: str, xs: Sequence[float], series: Sequence[Sequence[float]]
) -> list[str]:
    """The last of the series is ours."""
    inner_left, inner_right, top, bottom = left + 62, left + width - 18, 44, 250
    x_of = _axis(min(xs), max(xs), inner_left, inner_right)
    low = 10 ** math.floor(math.log10(min(map(min, series))))
    high = 10 ** math.ceil(math.log10(max(map(max, series)) * 1.01))
    y_of = _axis(low, high, bottom, top)
    middle = (inner_left + inner_right) / 2
    parts = [_text(middle, 24, title, "middle", more='font-weight="bold"')]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        y = y_of(10**power)
        parts += [_line(inner_left, y, inner_right, y), _text(inner_left - 6, y + 4, f"{10**power:g} s", "end")]
    parts += [_text(x_of(x), bottom + 18, _short(x), "middle") for x in xs]
    parts.append(_text(middle, bottom + 38, unit, "middle"))
    for number, ys in enumerate(series, 1):
        colour = _OURS if number == len(series) else _THEIRS
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in zip(xs, ys, strict=True):
            parts.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{colour}"/>')
    return parts


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _axis(least: float, most: float, start: float, end: float) -> Callable[[float], float]:
    """From a value to where it is drawn, logarithmically."""
    low = math.log10(least)
    span = (math.log10(most) - low) or 1.0
    return lambda value: start + (end - start) * (math.log10(value) - low) / span
