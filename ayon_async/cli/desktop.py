"""The tray as a program: it runs for weeks, so it does without the parser of options where there is none to parse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ayon_async.cli import command, interrupt

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup


def run_plain_tray() -> int:
    """Run the command ``tray`` without options and return its exit code."""
    return command.perform("tray", {}, show_tray)


def show_tray(setup: Setup, log_to: Callable[[Path], None]) -> command.Answer:
    """Show the tray until it is ended, or the one that is there already; in headless mode, watch."""
    from ayon_async.cli.logs import rotating_log

    if setup.settings.log_file is not None:
        log_to(setup.settings.log_file)
    if setup.settings.headless:
        from ayon_async.cli.watch import run_headless

        return interrupt.run(lambda: run_headless(setup))
    if setup.settings.log_file is not None:
        return _show(setup, setup.settings.log_file)
    log_file = setup.folders.log / "tray.log"
    with rotating_log(log_file):
        return _show(setup, log_file)


def _show(setup: Setup, log_file: Path) -> command.Answer:
    """Show the tray, or the one that is there already."""
    from ayon_async.tray.ready import need_tray
    from ayon_async.watch.memory import share_one_heap
    from ayon_async.watch.single import take_or_show_first

    share_one_heap()
    need_tray()
    instance = take_or_show_first(setup.paths.addons)
    if instance is None:
        setup.output.note("The tray runs already; its window shows itself.")
        return command.Answer()
    try:
        from ayon_async.tray.app import run_tray

        run_tray(setup, instance, log_file)
    finally:
        instance.release()
    return command.Answer()
