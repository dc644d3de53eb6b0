"""``ayon-async tray``: an icon that shows what is happening, and keeps the store equal to the bundle meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, options

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
    """Show an icon in the desktop's tray, and keep the store equal to the bundle as long as it runs.

    Needs the extra 'tray'. A second start shows the first one's window. In headless mode it is 'ayon-async watch'.
    """
    command.run_without_loop(ctx, _tray)


def _tray(setup: Setup, log_to: Callable[[Path], None]) -> command.Answer:
    log_file = setup.settings.log_file or setup.folders.log / "tray.log"
    from ayon_async.tray.ready import need_tray
    from ayon_async.watch.single import Instance, raise_first

    storage = setup.paths.addons
    instance = Instance.take(storage)
    if instance is None:
        raise_first(storage)
        return command.Answer()
    try:
        need_tray()
        log_to(log_file)
        from ayon_async.tray.app import run_tray

        run_tray(setup, instance, log_file)
    finally:
        instance.release()
    return command.Answer()
