"""``ayon-async status``: compare the store with the bundle and change nothing."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup


def status(
    ctx: typer.Context,
    server: options.Server = None,
    bundle: options.Bundle = None,
    use_staging: options.UseStaging = False,
    use_dev: options.UseDev = False,
    project: options.Project = None,
    platform: options.Platform = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask whether archives may have changed on the server as well.")
    ] = False,
    lock: options.Lock = None,
    offline: options.Offline = False,
    also: options.Also = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Say what is missing of the bundle.

    Changes nothing; the exit code is 1 where something is missing.
    """
    command.run(ctx, _status)


async def _status(setup: Setup) -> command.Answer:
    from ayon_async.cli.reports import answer_of, status_text
    from ayon_async.syncing import status as survey

    how = functools.partial(survey, platform=setup.settings.platform, remote=setup.given["remote"], lock=setup.lock)
    if setup.given["offline"]:
        report = await how(setup.server(), setup.store, setup.settings.choice, offline=True)
    else:
        async with setup.open_server() as server:
            report = await how(server, setup.store, setup.settings.choice)
    missing = any(item.state == "planned" for item in report.items)
    return answer_of(report, status_text(report), report.exit_code or int(missing))
