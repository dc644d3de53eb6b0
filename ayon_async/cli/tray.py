"""``ayon-async tray``: an icon that shows what is happening, and keeps the store equal to the bundle meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, interrupt, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup


def tray(
    ctx: typer.Context,
    server: options.Server = None,
    bundle: options.Bundle = None,
    use_staging: options.UseStaging = False,
    use_dev: options.UseDev = False,
    project: options.Project = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    group_writable: options.GroupWritable = False,
    also: options.Also = None,
    jobs: options.Jobs = None,
    limit_rate: options.LimitRate = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Watch, with an icon in the desktop's tray.

    Keeps the store equal to the bundle as long as it runs.

    Needs the extra 'tray'. A second start shows the first one's window. In headless mode it is 'ayon-async watch'.
    """
    command.run_without_loop(ctx, _tray)


def _tray(setup: Setup, log_to: Callable[[Path], None]) -> command.Answer:
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
    # Before Qt: PySide6 reads the source of whatever is imported after it, in time and memory.
    import ayon_async.watch.sso
    import ayon_async.watch.watch  # noqa: F401
    from ayon_async.tray.ready import need_tray
    from ayon_async.watch.single import take_or_show_first

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
