"""Starting the tray when a person logs in: XDG autostart, Windows' Run key, a macOS LaunchAgent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ayon_async import fs
from ayon_async.errors import AyonAsyncError

_NAME = "ayon-async"
_LABEL = "io.github.ayon-async.tray"
_RUN = r"Software\Microsoft\Windows\CurrentVersion\Run"


def tray_command() -> tuple[str, ...]:
    """How this installation's tray is started, by absolute paths and without a console."""
    python = Path(sys.executable)
    script = python.with_name("ayon-async-tray.exe" if sys.platform == "win32" else "ayon-async-tray")
    if script.is_file():
        return (str(script),)
    windowed = python.with_name("pythonw.exe")
    return (str(windowed if sys.platform == "win32" and windowed.is_file() else python), "-m", "ayon_async", "tray")


def is_enabled() -> bool:
    """Whether the tray is started at login."""
    if sys.platform == "win32":
        return _read_run_key() is not None
    path = _file(os.environ)
    try:
        content = path.read_bytes()
    except OSError:
        return False
    # Desktops switch an entry off by this line.
    return sys.platform == "darwin" or b"\nHidden=true" not in content.replace(b" ", b"")


def enable(command: Sequence[str] | None = None) -> None:
    """Start the tray at login.

    Args:
        command: Instead of `tray_command`.

    Raises:
        AyonAsyncError: That can't be written.
    """
    command = tuple(command or tray_command())
    try:
        if sys.platform == "win32":
            _write_run_key(subprocess.list2cmdline(command))
            return
        path = _file(os.environ)
        fs.make_folders(path.parent)
        fs.write_atomic(path, launch_agent(command) if sys.platform == "darwin" else desktop_entry(command))
    except OSError as error:
        raise _failed(error) from error


def disable() -> None:
    """Start the tray at login no more.

    Raises:
        AyonAsyncError: That can't be written.
    """
    try:
        if sys.platform == "win32":
            _write_run_key(None)
        else:
            fs.remove(_file(os.environ))
    except OSError as error:
        raise _failed(error) from error


def desktop_entry(command: Sequence[str]) -> bytes:
    """An entry of the XDG autostart folder.

    >>> print(desktop_entry(["/opt/my python", "100%"]).decode().splitlines()[4])
    Exec="/opt/my python" "100%%"
    """
    lines = (
        "[Desktop Entry]",
        "Type=Application",
        "Name=AYON addons",
        "Comment=Keeps the AYON addons of this computer up to date",
        f"Exec={' '.join(map(_desktop_quoted, command))}",
        "Terminal=false",
        "X-GNOME-Autostart-enabled=true",
        "",
    )
    return "\n".join(lines).encode()


def launch_agent(command: Sequence[str]) -> bytes:
    """A property list for ``~/Library/LaunchAgents``."""
    import plistlib  # late: macOS alone needs it, and the parser of XML that comes with it

    return plistlib.dumps(
        {"Label": _LABEL, "ProgramArguments": [*command], "RunAtLoad": True, "ProcessType": "Interactive"}
    )


def _desktop_quoted(argument: str) -> str:
    """As the desktop entry specification has it: quoted for Exec, then its backslashes once more as in any string."""
    quoted = "".join("\\" + char if char in '"`$\\' else char for char in argument)
    return '"' + quoted.replace("\\", "\\\\").replace("%", "%%") + '"'


def _file(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{_LABEL}.plist"
    named = environ.get("XDG_CONFIG_HOME", "")
    config = Path(named) if named.startswith("/") else Path.home() / ".config"
    return config / "autostart" / f"{_NAME}.desktop"


def _failed(error: OSError) -> AyonAsyncError:
    where = error.filename or "the list of programs that are started at login"
    return AyonAsyncError(f"{where} can't be written: {error.strerror}.", "Look at its rights.")


if sys.platform == "win32":
    import winreg

    def _read_run_key() -> str | None:
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, _RUN) as key:
                return str(winreg.QueryValueEx(key, _NAME)[0])
        except OSError:
            return None

    def _write_run_key(command: str | None) -> None:
        with winreg.CreateKey(winreg.HKEY_CURRENT_USER, _RUN) as key:
            if command is not None:
                winreg.SetValueEx(key, _NAME, 0, winreg.REG_SZ, command)
            elif _read_run_key() is not None:
                winreg.DeleteValue(key, _NAME)

else:

    def _read_run_key() -> str | None:
        raise NotImplementedError

    def _write_run_key(command: str | None) -> None:
        raise NotImplementedError
