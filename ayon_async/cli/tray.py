"""``ayon-async tray``: an icon that shows what is happening, and keeps the store equal to the bundle meanwhile."""

from __future__ import annotations

import typer

from ayon_async.cli import command, options
from ayon_async.cli.desktop import show_tray


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
    command.run_without_loop(ctx, show_tray)
