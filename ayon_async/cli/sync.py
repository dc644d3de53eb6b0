"""``ayon-async sync``: make the store equal to the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.report import SyncReport


def sync(
    ctx: typer.Context,
    server: options.Server = None,
    bundle: options.Bundle = None,
    use_staging: options.UseStaging = False,
    use_dev: options.UseDev = False,
    project: options.Project = None,
    platform: options.Platform = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    jobs: options.Jobs = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Install what is missing of the bundle."""
    command.run(ctx, _sync)


async def _sync(setup: Setup) -> command.Answer:
    report = await synchronize(setup, dry_run=setup.given["dry_run"])
    return command.Answer("synced", report.to_dict(), report.error, exit_code=report.exit_code)


async def synchronize(setup: Setup, *, dry_run: bool = False) -> SyncReport:
    """Sync as the settings say, with progress on standard error; what an interruption leaves is a report too."""
    from ayon_async.sync import sync as core_sync

    async with setup.open_server() as server:
        return await core_sync(
            server,
            setup.store,
            setup.settings.choice,
            platform=setup.settings.platform,
            jobs=setup.settings.jobs,
            dry_run=dry_run,
        )
