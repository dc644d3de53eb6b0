"""Medians, and what a table says of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Several values of one figure."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of these values; at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """As the tables have it: the median, and the range behind it.

        >>> Spread(0.5, 0.45, 0.61).text()
        '0.50 (0.45…0.61)'
        """
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}…{self.most:.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of the pairs that were measured one after the other: each pair's own ratio."""
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The straight line through points, by least squares of relative errors: its start and its slope.

    Relative, because the points lie orders of magnitude apart: otherwise the largest alone would decide.
    """
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    above = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    below = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    rise = above / below if below else 0.0
    return mean_y - rise * mean_x, rise
