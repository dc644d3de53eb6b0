"""Changing single keys of the user's settings file, which is a person's: comments and order stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from ayon_async import fs
from ayon_async.errors import SettingsError

Value = str | bool | float | None
_SCALAR = r"""(?:true|false|[-+\w.:]+|"(?:[^"\\]|\\.)*"|'[^']*')"""


def change_settings(path: Path, changes: Mapping[str, Value]) -> None:
    """Set keys of a settings file, None to remove one; does nothing where they are so already.

    Raises:
        SettingsError: The file can't be read or written, or is no TOML that can be changed safely.
    """
    path = path.resolve()  # a link, from a folder of dot files say, stays one
    try:
        before = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
        known = tomllib.loads(before)
        wanted = {key: value for key, value in {**known, **changes}.items() if value is not None}
        if wanted == known:
            return
        after = with_changes(before, changes)
        if tomllib.loads(after) != wanted:
            raise ValueError("it is written in a way that can't be changed here")
        fs.make_folders(path.parent, 0o700)
        fs.write_atomic(path, after.encode(), path.stat().st_mode & 0o777 if path.exists() else 0o644)
    except OSError as error:
        message = f"The settings file {path} can't be changed: {error.strerror}."
        raise SettingsError(message, "Look at its rights.") from error
    except ValueError as error:
        lines = ", ".join(f"{key} = {_toml(value)}" for key, value in changes.items())
        message = f"The settings file {path} can't be changed: {error}."
        raise SettingsError(message, f"Correct it, or change it by hand: {lines}") from error


def with_changes(text: str, changes: Mapping[str, Value]) -> str:
    """The TOML with these keys of its root set; each on a line of its own, else the caller sees that it went wrong.

    >>> print(with_changes("jobs = 4 # enough\\n[other]\\n", {"jobs": 8, "use_staging": True}), end="")
    jobs = 8 # enough
    use_staging = true
    [other]
    """
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    root = next((number for number, line in enumerate(lines) if re.match(r"\s*\[", line)), len(lines))
    head, rest = lines[:root], lines[root:]
    for key, value in changes.items():
        place = re.compile(rf"(\s*{re.escape(key)}\s*=\s*){_SCALAR}(\s*(?:#.*)?)")
        at = next((number for number, line in enumerate(head) if place.fullmatch(line)), None)
        if at is None:
            head += [] if value is None else [f"{key} = {_toml(value)}"]
        elif value is None:
            del head[at]
        else:
            found = place.fullmatch(head[at])
            assert found is not None, "it was found by this"
            head[at] = f"{found[1]}{_toml(value)}{found[2]}"
    return "".join(line + end for line in (*head, *rest))


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_escaped(char) for char in value) + '"'
    return "" if value is None else f"{value:.15g}"


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08x}"
