"""``ayon-async watch``: keep the store equal to the bundle for as long as this runs, without a window."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, interrupt, options
from ayon_async.errors import UsageError

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup

log = logging.getLogger(__name__)


def watch(
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
    install: Annotated[
        bool, typer.Option("--install", help="Write a systemd user unit that runs this with these options, and end.")
    ] = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
) -> None:
    """Sync again and again, until it is stopped.

    SIGTERM or Ctrl-C stops it. What happens is logged.

    It listens for news from the server, and asks now and then all the same. Changes of the settings files are taken
    without a restart.
    """
    command.run(ctx, _install if install else run_headless)


async def run_headless(setup: Setup) -> command.Answer:
    """Watch until a signal comes."""
    from ayon_async.cli.logs import log_to_standard_output, rotating_log
    from ayon_async.watch import Watch
    from ayon_async.watch.describe import Narrator

    own_log = rotating_log(setup.folders.log / "watch.log") if setup.settings.log_file is None else nullcontext()
    with log_to_standard_output(setup.output), own_log:
        narrator = Narrator(log.info)
        log.info("Watching %s.", setup.settings.server or "no server yet")
        try:
            await Watch(setup, on_change=narrator.tell, on_update=narrator.updated).run()
        except asyncio.CancelledError:
            error = interrupt.error()
            if error is None:
                raise
            log.info("%s Nothing is lost.", error.message)
            return command.Answer(exit_code=error.exit_code)
    raise AssertionError("a watch ends only when it is cancelled")


async def _install(setup: Setup) -> command.Answer:
    from ayon_async.watch.unit import NAME, unit_environment, unit_text, write_unit

    if setup.settings.server is None:
        raise UsageError("No AYON server is known.", "Name it with --server, or sign in first with 'ayon-async login'.")
    words = [sys.executable, "-m", "ayon_async", "watch", *_options(setup)]
    path = write_unit(unit_text(words, unit_environment(os.environ)))
    warnings = []
    if setup.settings.api_key is not None:
        warnings.append(
            "The key in AYON_API_KEY is not written to the unit, which others may read: sign in with"
            " 'ayon-async login', or give it to the unit by 'systemctl --user edit ayon-async'."
        )
    text = (
        f"Wrote {path}.\nStart it now and at every login:\n"
        f"  systemctl --user daemon-reload && systemctl --user enable --now {NAME}\n"
        "Let it run also while nobody is logged in:\n"
        f"  loginctl enable-linger\nSee what it says:\n  journalctl --user -u {NAME}"
    )
    return command.Answer(text, warnings=tuple(warnings))


def _options(setup: Setup) -> list[str]:
    """The options as they were given, paths made absolute."""
    from ayon_async.settings import BY_KEY
    from ayon_async.values import file_path, folders

    words: list[str] = []
    for key, value in setup.given.items():
        setting = BY_KEY.get(key)
        if setting is None or setting.flag is None or value is None or value is False:
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words.append(setting.flag)
            if one is not True:
                is_path = setting.read in (file_path, folders)
                words.append(str(Path(one).expanduser().absolute() if is_path else one))
    return words
