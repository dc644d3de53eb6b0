"""The command line: a command gathers settings, calls one function of the core and shows its report. No policy here."""

from __future__ import annotations

import sys

from ayon_async.version import __version__


def main() -> None:
    """Run the command ``ayon-async`` with this process's arguments, and end with its exit code."""
    _main(sys.argv[1:])


def tray() -> None:
    """Run the command ``ayon-async tray``; where a desktop starts it there is no console."""
    _main(["tray", *sys.argv[1:]])


def _main(arguments: list[str]) -> None:
    if arguments == ["--version"]:  # answered before anything is imported that takes its time
        print(__version__)
        return
    from ayon_async.cli import interrupt

    interrupt.listen()
    try:
        if arguments == ["tray"]:  # as desktops start it
            from ayon_async.cli.desktop import run_plain_tray

            code = run_plain_tray()
        else:
            from ayon_async.cli.app import run

            code = run(arguments)
    except interrupt.Stopped:  # before a command could see to it
        from ayon_async.cli.command import end_early

        code = end_early(arguments)
    interrupt.leave(code)
