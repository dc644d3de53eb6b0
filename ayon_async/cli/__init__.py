"""The command line: a command gathers settings, calls one function of the core and shows its report. No policy here."""

from __future__ import annotations

import sys

from ayon_async.cli import interrupt
from ayon_async.version import __version__


def main() -> None:
    """Run the command ``ayon-async`` with this process's arguments, and end with its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything is imported that takes its time
        print(__version__)
        return
    interrupt.listen()
    from ayon_async.cli.app import run

    interrupt.leave(run(arguments))
