"""Where the log goes: to standard error as far as was asked for, and in every detail to a file where one is named."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ayon_async import fs
from ayon_async.cli.output import Output, complain, show
from ayon_async.errors import SettingsError
from ayon_async.urls import redact

_LONGEST = 5_000_000  # bytes of a log file, before it is put aside
_KEPT = 3
_OWN = "ayon_async.cli.watch"


class _Line(logging.Formatter):
    """One record as text without secrets, with a traceback only where that is wanted."""

    def __init__(self, form: str, tracebacks: bool) -> None:
        super().__init__(form)
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        if not self._tracebacks:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        return redact(super().format(record))


class _ToStandardError(logging.Handler):
    """Looks the stream up each time, since the progress display takes its place for a while."""

    def __init__(self, level: int, tracebacks: bool) -> None:
        super().__init__(level)
        self.setFormatter(_Line("%(levelname)s %(name)s: %(message)s", tracebacks))

    def emit(self, record: logging.LogRecord) -> None:
        complain(self.format(record))


class _ToStandardOutput(logging.Handler):
    """The watch's own lines and what is wrong; with all that happens, where that was asked for."""

    def __init__(self, everything: bool) -> None:
        super().__init__(logging.INFO)
        self._everything = everything
        self.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s", tracebacks=False))

    def emit(self, record: logging.LogRecord) -> None:
        if self._everything or record.levelno >= logging.WARNING or record.name.startswith(_OWN):
            with contextlib.suppress(OSError):  # nobody reads it any more; the work goes on
                show(self.format(record))


class _ToFile(RotatingFileHandler):
    """A log that can't be written any more is a pity and nothing else: it is said once, and the work goes on."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told, error = True, sys.exc_info()[1]
            reason = error.strerror if isinstance(error, OSError) else error
            complain(f"Warning: The log file {self.baseFilename} can't be written any more: {reason}.")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what was not written yet does not fit either
            super().close()


@contextmanager
def logging_to(output: Output) -> Iterator[Callable[[Path], None]]:
    """Log to standard error while in the block, and to the file that the function is given.

    Raises:
        SettingsError: By that function: the file can't be written.
    """
    # At the root, where other libraries' warnings come by too; the details are only our own.
    root, ours = logging.getLogger(), logging.getLogger("ayon_async")
    before, handlers = ours.level, list[logging.Handler]()

    def add(handler: logging.Handler) -> None:
        handlers.append(handler)
        root.addHandler(handler)
        ours.setLevel(min(handler.level for handler in handlers))

    level = logging.DEBUG if output.debug else logging.INFO if output.verbose else logging.ERROR
    add(_ToStandardError(level, output.debug))
    try:
        yield lambda path: add(_log_file(path))
    finally:
        ours.setLevel(before)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


@contextmanager
def log_to_standard_output(output: Output) -> Iterator[None]:
    """While in the block, the log is what was asked for: with time, on standard output."""
    handler = _ToStandardOutput(output.verbose or output.debug)
    with _handling(handler):
        yield


@contextmanager
def rotating_log(path: Path) -> Iterator[None]:
    """While in the block, everything is logged to this file, which is put aside before it grows too long.

    Raises:
        SettingsError: The file can't be written.
    """
    with _handling(_log_file(path)):
        yield


@contextmanager
def _handling(handler: logging.Handler) -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ayon_async")
    before = ours.level
    ours.setLevel(min(before or logging.ERROR, handler.level))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        ours.setLevel(before)


def _log_file(path: Path) -> logging.Handler:
    try:
        fs.make_folders(path.parent)
        handler = _ToFile(path, maxBytes=_LONGEST, backupCount=_KEPT, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        hint = "Name another one with --log-file."
        raise SettingsError(f"The log file {path} can't be written: {error.strerror}.", hint) from error
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s: %(message)s", tracebacks=True))
    return handler
