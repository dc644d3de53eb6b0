"""Whether the tray can run here; knows no Qt, since that may be what is missing."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from ayon_async.errors import UsageError

INSTEAD = "'ayon-async watch' does the same without a window."


def need_tray(environ: Mapping[str, str] = os.environ, python: tuple[int, int] = sys.version_info[:2]) -> None:
    """See to it that a tray can run.

    Raises:
        UsageError: It can't; the message is the reason.
    """
    if python >= (3, 14):
        message = f"The tray does not run on Python {python[0]}.{python[1]} yet."
        raise UsageError(message, f"Use Python 3.11 to 3.13; {INSTEAD}")
    missing = [name for name in ("PySide6", "qasync") if find_spec(name) is None]
    if missing:
        message = f"The tray needs {' and '.join(missing)}, which this installation lacks."
        raise UsageError(message, f"Install it with: pip install 'ayon-async[tray]'; {INSTEAD}")
    if sys.platform == "linux" and not any(
        environ.get(name) for name in ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY", "DISPLAY")
    ):
        raise UsageError(
            "The tray needs a display, and there is none: neither DISPLAY nor WAYLAND_DISPLAY is set.", INSTEAD
        )
    plain = builtins.__import__
    try:
        from PySide6 import QtWidgets  # noqa: F401 - Debian's smallest systems lack libraries that it needs
    except ImportError as error:
        hint = (
            f"On Debian and Ubuntu: apt-get install libgl1 libegl1 libxkbcommon0 libfontconfig1 libdbus-1-3; {INSTEAD}"
        )
        raise UsageError(f"The tray can't be shown: {error}.", hint) from error
    finally:
        # PySide6 has put its own there, which reads and keeps the source of every module that imports anything later.
        builtins.__import__ = plain
