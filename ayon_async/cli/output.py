"""Where what is said goes: what was asked for to standard output, everything else to standard error."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from ayon_async.text import printable

if TYPE_CHECKING:
    from ayon_async.errors import AyonAsyncError

_READER_LEFT = frozenset({errno.EPIPE, errno.EINVAL, errno.ESHUTDOWN})  # EINVAL is what Windows says


@dataclass(frozen=True, slots=True)
class Output:
    """How much is said, and in which form.

    Attributes:
        as_json: One JSON document on standard output instead of text.
        quiet: No progress, notes and warnings.
        verbose: Log what happens.
        debug: Log every detail, with tracebacks.
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Output:
        """As the options say, by their parameters' names."""
        return cls(**{name: bool(given.get(name)) for name in ("as_json", "quiet", "verbose", "debug")})

    def result(self, text: str) -> None:
        """What was asked for, as text.

        Raises:
            OSError: It can't be written, and somebody may be waiting for it.
        """
        if not self.as_json:
            _write(sys.stdout, harmless(text))

    def document(self, document: Mapping[str, Any]) -> None:
        """What was asked for, as a JSON document; ASCII, so that half a character in a name breaks nothing.

        Raises:
            OSError: As with `result`.
        """
        if self.as_json:
            _write(sys.stdout, json.dumps(document, indent=2))

    def note(self, text: str) -> None:
        """Something on the way."""
        if not self.quiet:
            complain(text)

    def warning(self, text: str) -> None:
        """Something that a person should know, although nothing failed."""
        self.note(f"Warning: {text}")

    def errors(self, failures: Sequence[tuple[str, AyonAsyncError]], own: AyonAsyncError | None = None) -> None:
        """What went wrong and what to do; what several say alike is said once.

        Args:
            failures: Errors of single items, each with the item's label.
            own: The command's own error.
        """
        alike: dict[tuple[str, str], list[str]] = {}
        for label, error in failures:
            alike.setdefault((error.message.removeprefix(f"{label}: "), error.hint), []).append(label)
        said = [(f"Failed: {', '.join(labels)}", *words) for words, labels in alike.items()]
        said += [] if own is None else [("Error", own.message, own.hint)]
        for number, (title, message, hint) in enumerate(said, 1):
            complain(f"{printable(title)}: {message}")
            if hint and (number == len(said) or said[number][2] != hint):
                complain(f"  {hint}")


def be_lenient() -> None:
    """Characters that the terminal's encoding lacks are escaped, in place of an exception."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """A line on standard error; where nobody reads it, it is lost and nothing else."""
    with contextlib.suppress(OSError):
        _write(sys.stderr, harmless(text))


def show(text: str) -> None:
    """A line on standard output.

    Raises:
        OSError: It can't be written.
    """
    _write(sys.stdout, harmless(text))


def harmless(text: str) -> str:
    """The text's lines without what would steer a terminal: names and messages in it are strangers'."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # a process may be started without
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        _abandon(stream)
        if error.errno not in _READER_LEFT:
            raise


def _abandon(stream: TextIO) -> None:
    """Let nothing more come out, not even at the interpreter's end, which would complain about it."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
