"""Tables as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ayon_async.text import printable


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows with their columns one below the other."""
    lines = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
