"""``ayon-async repair``: reinstall just what is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.progress import Watcher
    from ayon_async.report import SyncReport


def repair(
    ctx: typer.Context,
    server: options.Server = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    group_writable: options.GroupWritable = False,
    jobs: options.Jobs = None,
    limit_rate: options.LimitRate = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Verify, and install anew what is damaged.

    The archives are fetched again, and must have the same bytes as before.
    """
    command.run(ctx, _repair)


async def _repair(setup: Setup) -> command.Answer:
    from dataclasses import replace

    from ayon_async.cli.reports import answer_of
    from ayon_async.cli.sync import watched
    from ayon_async.cli.verify import check
    from ayon_async.repairing import repair as reinstall
    from ayon_async.report import SyncReport
    from ayon_async.text import counted

    damaged = [one for one in await check(setup) if one.state == "damaged"]

    async def work(watch: Watcher) -> SyncReport:
        async with setup.open_server() as server:
            jobs, rate = setup.settings.jobs, setup.settings.limit_rate
            return await reinstall(server, setup.store, damaged, jobs=jobs, rate=rate, progress=watch)

    report = await watched(setup, work) if damaged else SyncReport(setup.settings.server)
    mended = sum(item.state == "installed" for item in report.items)
    text = f"{mended} of {counted(len(damaged), 'damaged item')} repaired." if damaged else "Nothing is damaged."
    answer = answer_of(report, text)
    return replace(answer, document={**(answer.document or {}), "damaged": [one.to_dict() for one in damaged]})
