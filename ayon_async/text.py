"""Numbers and strangers' names as text for people."""

from __future__ import annotations


def size_text(count: float | None) -> str:
    """Bytes in decimal units, as shops and networks count them.

    >>> size_text(999), size_text(12_345_678), size_text(None)
    ('999 B', '12.3 MB', '?')
    """
    if count is None:
        return "?"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_text(seconds: float) -> str:
    """A time span.

    >>> time_text(0.84), time_text(75), time_text(7260)
    ('0.8 s', '1:15 min', '2:01 h')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "item"), counted(0, "item")
    ('1 item', '0 items')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    r"""One line of text, without anything that would steer a terminal.

    >>> print(printable("maya\x1b]0;x\n"))
    maya\x1b]0;x\n
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
