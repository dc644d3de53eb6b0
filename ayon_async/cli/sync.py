"""``ayon-async sync``: make the store equal to the bundle."""

from __future__ import annotations

import asyncio
import functools
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, interrupt, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.progress import Snapshot, Watcher
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
    trust_store: options.TrustStore = False,
    group_writable: options.GroupWritable = False,
    also: options.Also = None,
    jobs: options.Jobs = None,
    limit_rate: options.LimitRate = None,
    start_jitter: options.StartJitter = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Fetch anew what may have changed on the server under the same version.")
    ] = False,
    lock: options.Lock = None,
    offline: options.Offline = False,
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
    from ayon_async.cli.reports import answer_of, plan_text, summary

    dry_run = setup.given["dry_run"]
    report = await synchronize(setup, dry_run=dry_run, refresh=setup.given["refresh"])
    text = plan_text(report) if dry_run else "" if setup.output.quiet else summary(report)
    return answer_of(report, text)


async def synchronize(setup: Setup, *, dry_run: bool = False, refresh: bool = False) -> SyncReport:
    """Sync as the settings and the options `lock` and `offline` say; see `watched`.

    Raises:
        UsageError: No server is known, or the lock file can't be used.
        NotSignedIn: A token is kept where others may have had it.
    """
    from ayon_async.paths import other_store
    from ayon_async.syncing import sync as install

    sentence = other_store(setup.paths, os.environ, setup.folders)
    if sentence:
        setup.output.warning(sentence)
    how = functools.partial(
        install, platform=setup.settings.platform, lock=setup.lock, dry_run=dry_run, refresh=refresh
    )
    if setup.given["offline"]:
        return await how(setup.server(), setup.store, setup.settings.choice, offline=True)

    async def work(watch: Watcher) -> SyncReport:
        seconds = random.uniform(0, setup.settings.start_jitter)
        if seconds >= 1:  # whoever sits before it may not know what the machine's file says
            setup.output.note(f"Waiting {seconds:.0f} s before the start (start_jitter).")
        await asyncio.sleep(seconds)
        async with setup.open_server() as server:
            return await how(
                server,
                setup.store,
                setup.settings.choice,
                jobs=setup.settings.jobs,
                rate=setup.settings.limit_rate,
                progress=watch,
            )

    return await watched(setup, work)


async def watched(setup: Setup, work: Callable[[Watcher], Awaitable[SyncReport]]) -> SyncReport:
    """Do the work with progress on standard error; where a signal ends it, that is the report's error.

    Raises:
        UsageError: No server is known.
    """
    from ayon_async import progress
    from ayon_async.cli.progress import showing

    last, started = progress.Snapshot(setup.server_url), time.monotonic()
    output = setup.output
    with showing(output.note, quiet=output.quiet, still=setup.settings.headless) as show:

        def watch(snapshot: Snapshot) -> None:
            nonlocal last
            last = snapshot
            show(snapshot)

        try:
            return await work(watch)
        except asyncio.CancelledError:
            error = interrupt.error()
            if error is None:
                raise
            return progress.report_of(last, time.monotonic() - started, error)
