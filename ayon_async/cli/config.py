"""``ayon-async config``: every setting's value and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup


def config(
    ctx: typer.Context,
    server: options.Server = None,
    bundle: options.Bundle = None,
    use_staging: options.UseStaging = False,
    use_dev: options.UseDev = False,
    project: options.Project = None,
    platform: options.Platform = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    also: options.Also = None,
    jobs: options.Jobs = None,
    limit_rate: options.LimitRate = None,
    start_jitter: options.StartJitter = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Show each setting and where it came from.

    The options show what they would change.
    """
    command.run(ctx, _config)


async def _config(setup: Setup) -> command.Answer:
    from ayon_async.cli.text import table
    from ayon_async.settings import SETTINGS

    settings, keys = setup.settings, [setting.key for setting in SETTINGS]
    return command.Answer(text=table([key, settings.shown(key) or "-", str(settings.origin(key))] for key in keys))
