"""``ayon-async exec``: sync, then run a program as if the official launcher had started it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, interrupt, options
from ayon_async.cli.output import Output
from ayon_async.cli.sync import synchronize
from ayon_async.credentials import find_credential
from ayon_async.errors import AyonAsyncError, ServerError
from ayon_async.paths import site_id

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup

_NOT_FOUND, _NOT_RUNNABLE = 127, 126  # as shells have it


class CommandNotRun(AyonAsyncError):
    """The program to run is not there, or can't be run."""


def execute(
    ctx: typer.Context,
    program: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND [ARGUMENT]...", help="What to run, behind two dashes.")
    ] = None,
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
    start_jitter: options.StartJitter = None,
    lock: options.Lock = None,
    offline: options.Offline = False,
    offline_ok: Annotated[
        bool, typer.Option("--offline-ok", help="Run it also when the server is away and nothing is missing.")
    ] = False,
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the variables that would be set, the key hidden, and run nothing.")
    ] = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Sync, then run a command as the launcher does.

    It gets the environment that the AYON launcher would have set for the bundle.

    The command's exit code is this one's. Where the sync fails the command is not run.
    """
    if not program and not print_only:
        raise typer.BadParameter("Say what to run: ayon-async exec [OPTIONS] -- COMMAND [ARGUMENT]...")
    from ayon_async.environment import applied

    variables: dict[str, str | None] = {}

    async def prepare(setup: Setup) -> command.Answer:
        return await _prepare(setup, variables)

    try:
        command.run(ctx, prepare)
    except typer.Exit as ended:
        if ended.exit_code or print_only or not program:
            raise
    interrupt.forget()
    try:
        _become(program, applied(variables))
    except OSError as error:
        failure = _explain(error, program[0])
        Output.of(ctx.params).errors((), failure)
        raise typer.Exit(failure.exit_code) from error


async def _prepare(setup: Setup, variables: dict[str, str | None]) -> command.Answer:
    """Sync, and put into the dictionary what is to be set."""
    from ayon_async.cli.reports import answer_of, summary
    from ayon_async.environment import launcher_variables

    report = await synchronize(setup)
    if isinstance(report.error, ServerError) and report.offline and report.can_start and setup.given["offline_ok"]:
        report = replace(report, error=None, warnings=(report.error.message, *report.warnings))
    if not report.ok:
        return answer_of(report, "")
    setup.output.note(summary(report))  # standard output is the command's own
    credential = await asyncio.to_thread(find_credential, setup.settings, setup.credentials)
    variables |= launcher_variables(
        report,
        setup.settings.choice,
        addons=setup.paths.addons,
        dependencies=setup.paths.dependencies,
        key=credential.token if credential else None,
        site_id=site_id(os.environ, setup.folders),
    )
    shown = {**variables, "AYON_API_KEY": "***"}
    lines = [f"{name}={value}" for name, value in sorted(shown.items()) if value is not None]
    return answer_of(report, "\n".join(lines) if setup.given["print_only"] else "")


def _become(command_line: list[str], environment: Mapping[str, str]) -> None:
    """Go on as the program: its exit code is ours, and signals are its own affair.

    Raises:
        OSError: It can't be run.
    """
    if sys.platform != "win32":
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and others should not
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command_line[0], command_line, environment)
    found = shutil.which(command_line[0], path=environment.get("PATH"))
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command_line[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console gives Ctrl-C to the program too, which decides
    raise typer.Exit(subprocess.call([found, *command_line[1:]], env=environment))


def _explain(error: OSError, program: str) -> CommandNotRun:
    if isinstance(error, FileNotFoundError):
        failure = CommandNotRun(f"There is no command '{program}'.", "Check its name and PATH.")
        failure.exit_code = _NOT_FOUND
    else:
        failure = CommandNotRun(f"'{program}' can't be run: {error.strerror}.", "Check the file and its rights.")
        failure.exit_code = _NOT_RUNNABLE
    return failure
