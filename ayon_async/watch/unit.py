"""A systemd user unit that keeps a headless watch running."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ayon_async import fs
from ayon_async.errors import AyonAsyncError, UsageError
from ayon_async.settings import SETTINGS
from ayon_async.values import file_path

NAME = "ayon-async.service"
_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)


def unit_text(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """The unit.

    Args:
        command: What it runs; the first word is an absolute path.
        environ: Variables to run it with.
    """
    lines = (
        "[Unit]",
        "Description=Keeps this computer's AYON addons up to date",
        "",
        "[Service]",
        *(f"Environment={_quoted(f'{name}={value}', command=False)}" for name, value in sorted(environ.items())),
        f"ExecStart={' '.join(_quoted(word, command=True) for word in command)}",
        "Restart=on-failure",
        "RestartSec=30",
        "RestartPreventExitStatus=2",
        "SuccessExitStatus=143",
        "TimeoutStopSec=10",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    )
    return "\n".join(lines)


def unit_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are settings of ours, without what is secret or of no use there; paths are absolute."""
    settings = [setting for setting in SETTINGS if setting.variable and setting.in_files and setting.key != "headless"]
    given = {str(setting.variable): (setting, environ.get(str(setting.variable), "").strip()) for setting in settings}
    return {
        name: str(file_path(text).absolute()) if setting.read is file_path else text
        for name, (setting, text) in given.items()
        if text
    }


def write_unit(text: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the unit for this user; returns its path.

    Raises:
        UsageError: This is no system with systemd.
        AyonAsyncError: It can't be written.
    """
    if sys.platform != "linux":
        hint = "Let the tray start at login, or start 'ayon-async watch' by this system's own means."
        raise UsageError("There is no systemd on this system.", hint)
    named = environ.get("XDG_CONFIG_HOME", "")
    path = (Path(named) if named.startswith("/") else Path.home() / ".config") / "systemd" / "user" / NAME
    try:
        fs.make_folders(path.parent)
        fs.write_atomic(path, text.encode())
    except OSError as error:
        raise AyonAsyncError(f"{path} can't be written: {error.strerror}.", "Look at its rights.") from error
    return path


def _quoted(word: str, *, command: bool) -> str:
    r"""A word as systemd reads it: specifiers, and in a command variables too, have their first letter doubled.

    >>> print(_quoted("/opt/my addons/100%", command=True))
    "/opt/my addons/100%%"
    """
    doubled = word.replace("%", "%%")
    doubled = doubled.replace("$", "$$") if command else doubled
    if _PLAIN.fullmatch(doubled):
        return doubled
    escaped = "".join(
        "\\" + char if char in '"\\' else char if char.isprintable() else _escaped(char) for char in doubled
    )
    return f'"{escaped}"'


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))
