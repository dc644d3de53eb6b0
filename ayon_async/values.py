"""Kinds of values that a setting may have: what a place gave, checked and converted, or a ValueError in words.

The error's words go on after the setting's name: "must be true or false".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

from ayon_async.errors import UsageError
from ayon_async.urls import normalize_url


def line(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("must be a line of text")
    return value.strip()


def user(value: object) -> str:
    """A user's name, or number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else line(value)


def secret(value: object) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be ASCII text without spaces")
    return value


def web_address(value: object) -> str:
    try:
        return normalize_url(line(value))
    except UsageError as error:
        raise ValueError(f"can't be used: {error.message.rstrip('.')}") from error


def switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def whole_number(lowest: int, highest: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        raise ValueError(f"must be a whole number from {lowest} to {highest}")

    return read


def seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 3600 and math.isfinite(value):
        return float(value)
    raise ValueError("must be a number of seconds, above 0 and up to 3600")


def rate(value: object) -> float:
    """Bytes per second as a number, or as text with a decimal unit: 500k, 2M, 1.5G."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?(?:/s)?", str(value).strip(), re.IGNORECASE)
    rate = float(match[1]) * _UNITS[match[2].lower()] if match and not isinstance(value, bool) else 0.0
    if rate >= 1000:
        return rate
    raise ValueError("must be bytes per second, at least 1k, such as 500k or 2M")


def duration(value: object) -> float:
    """Seconds as a number, or as text with a unit: 30s, 2m."""
    seconds = _time(value)
    if not 0 <= seconds <= 3600:
        raise ValueError("must be a time up to an hour, such as 30s or 2m")
    return seconds


def period(value: object) -> float:
    """Seconds between two things that are done again and again."""
    seconds = _time(value)
    if not 1 <= seconds <= 86_400:
        raise ValueError("must be a time from 1s to 24h, such as 10m")
    return seconds


def _time(value: object) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        return -1.0
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2].lower()]


def age(value: object) -> float:
    """Seconds as a number of days, or as text with a unit: 14d, 12h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw]|)", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise ValueError("must be a time such as 14d or 12h")
    seconds = float(match[1]) * {"": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2].lower()]
    return min(seconds, _LONGEST_AGE)


def size(value: object) -> int:
    """Bytes as a number, or as text with a decimal or binary unit: 500M, 64GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise ValueError("must be bytes, such as 500M or 64GiB")
    unit = (match[2] or "").lower()
    bytes_ = float(match[1]) * (1024 if unit.endswith("i") else 1000) ** " kmgt".index(unit[:1] or " ")
    if not 1 <= bytes_ < 1 << 63:
        raise ValueError("must be bytes, from 1 to 8388607TiB")
    return int(bytes_)


_LONGEST_AGE = 1000 * 365.25 * 86400
"""Seconds; nothing is older, and dates do not go much further back."""
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def platform_name(value: object) -> str:
    if isinstance(value, str) and value in ("windows", "linux", "darwin"):
        return value
    raise ValueError("must be windows, linux or darwin")


def ahead(value: object) -> str:
    if isinstance(value, str) and value in ("off", "staging", "all"):
        return value
    raise ValueError("must be off, staging or all")


def file_path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise ValueError("must be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("can't start with ~: this user has no home folder") from error


def folders(value: object) -> tuple[Path, ...]:
    """Several paths, or one."""
    return tuple(file_path(one) for one in (value if isinstance(value, (list, tuple)) else [value]))


# --- what a variable's text stands for ------------------------------------------------------------------------------

_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def word(text: str) -> object:
    return _WORDS.get(text.lower(), text)


def number(text: str) -> object:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text
