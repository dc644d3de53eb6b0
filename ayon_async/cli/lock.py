"""``ayon-async lock``: write down exactly which bytes a bundle is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.lockfile import Lock
    from ayon_async.progress import Watcher
    from ayon_async.report import SyncReport


def lock(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The lock file to write.")],
    server: options.Server = None,
    bundle: options.Bundle = None,
    use_staging: options.UseStaging = False,
    use_dev: options.UseDev = False,
    project: options.Project = None,
    platform: options.Platform = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    group_writable: options.GroupWritable = False,
    also: options.Also = None,
    jobs: options.Jobs = None,
    limit_rate: options.LimitRate = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Sync, and write a lock file of the bundle.

    It has the SHA-256 and the size of each item's archive, for sync --lock.
    """
    command.run(ctx, _lock)


async def _lock(setup: Setup) -> command.Answer:
    from dataclasses import replace

    from ayon_async.cli.reports import answer_of
    from ayon_async.cli.sync import watched
    from ayon_async.lockfile import write_lock
    from ayon_async.locking import make_lock
    from ayon_async.text import counted

    lock: Lock | None = None

    async def work(watch: Watcher) -> SyncReport:
        nonlocal lock
        async with setup.open_server() as server:
            made = await make_lock(
                server,
                setup.store,
                setup.settings.choice,
                platform=setup.settings.platform,
                jobs=setup.settings.jobs,
                rate=setup.settings.limit_rate,
                progress=watch,
            )
        lock = made.lock
        return made.report

    report = await watched(setup, work)
    path = Path(setup.given["output"])
    text = ""
    if lock is not None:
        write_lock(path, lock)
        text = f"{path}: {counted(len(lock.items), 'item')} of the bundle {lock.bundle}."
    answer = answer_of(report, text)
    return replace(answer, document={**(answer.document or {}), "lock": str(path) if lock is not None else None})
