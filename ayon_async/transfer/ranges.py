"""Which bytes of a file are there: sets of half-open ranges, immutable and always in their simplest form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of byte positions as sorted, disjoint, non-touching ranges ``(start, end)``, the end not included.

    >>> Ranges().add(0, 10).add(20, 30).add(10, 20)
    Ranges(spans=((0, 30),))
    >>> Ranges(((0, 10),)).missing(25)
    ((10, 25),)
    """

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Ranges:
        """The set of all positions in any of these ranges, which may overlap.

        Raises:
            ValueError: A range begins below zero or ends before it begins.
        """
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if not 0 <= start <= end:
                raise ValueError(f"no range: {start} to {end}")
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(merged[-1][1], end)
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def add(self, start: int, end: int) -> Ranges:
        """The set with one more range."""
        return Ranges.of((*self.spans, (start, end)))

    def missing(self, size: int) -> tuple[tuple[int, int], ...]:
        """What lacks of the range from 0 to size, in order."""
        gaps = []
        position = 0
        for start, end in self.spans:
            if position < min(start, size):
                gaps.append((position, min(start, size)))
            position = max(position, end)
        if position < size:
            gaps.append((position, size))
        return tuple(gaps)

    @property
    def front(self) -> int:
        """How many bytes there are from 0 on without a gap."""
        return self.spans[0][1] if self.spans and self.spans[0][0] == 0 else 0

    @property
    def total(self) -> int:
        """How many bytes there are."""
        return sum(end - start for start, end in self.spans)
