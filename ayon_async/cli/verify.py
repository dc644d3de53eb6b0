"""``ayon-async verify``: whether what is installed is still what was unpacked."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.store.verify import Checked, Progress, Watcher

_MOST = 20  # problems of one item that people are shown


def verify(
    ctx: typer.Context,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at sizes and times, and read only what was written to since.")
    ] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Compare all files with what was unpacked.

    The exit code is 1 where something is damaged.
    """
    command.run(ctx, _verify)


async def _verify(setup: Setup) -> command.Answer:
    started = time.monotonic()
    checked = await check(setup, quick=setup.given["quick"])
    seconds = time.monotonic() - started
    damaged = any(one.state == "damaged" for one in checked)
    document = {
        "ok": not damaged,
        "server": None,
        "seconds": round(seconds, 3),
        "files": sum(one.files for one in checked),
        "bytes": sum(one.size for one in checked),
        "items": [one.to_dict() for one in checked],
        "error": None,
    }
    return command.Answer(text=_text(checked, seconds), document=document, exit_code=int(damaged))


async def check(setup: Setup, *, quick: bool = False) -> tuple[Checked, ...]:
    """Look at everything in the store, with progress on standard error.

    Raises:
        StoreError: The store can't be read.
    """
    await setup.store.check()
    with _showing(setup) as watch:
        return await setup.store.verify(quick=quick, progress=watch)


@contextmanager
def _showing(setup: Setup) -> Iterator[Watcher | None]:
    """A bar while in the block, on a terminal."""
    if setup.output.quiet or setup.settings.headless or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("verifying"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bars:
        task = bars.add_task("", total=None)

        def watch(progress: Progress) -> None:
            with contextlib.suppress(OSError):  # the terminal was closed
                bars.update(task, total=progress.size, completed=progress.bytes_done, refresh=True)

        yield watch


def _text(checked: Sequence[Checked], seconds: float) -> str:
    from ayon_async.text import counted, size_text, time_text

    lines = []
    for one in checked:
        if one.state == "unknown":
            lines.append(f"{one.item.label}: not known what it should be, since the AYON launcher installed it.")
        for problem in one.problems[:_MOST]:
            lines.append(f"{one.item.label}: {problem.what}: {problem.path}")
        if len(one.problems) > _MOST:
            lines.append(f"{one.item.label}: and {len(one.problems) - _MOST} more")
    files, size = sum(one.files for one in checked), sum(one.size for one in checked)
    count = {state: sum(one.state == state for one in checked) for state in ("intact", "damaged", "unknown")}
    states = ", ".join(f"{number} {state}" for state, number in count.items() if number) or "nothing is installed"
    looked = f"{counted(files, 'file')}, {size_text(size)} in {time_text(seconds)}"
    lines.append(f"{counted(len(checked), 'item')}: {states}; {looked}.")
    if count["damaged"]:
        lines.append("'ayon-async repair' installs just the damaged ones anew.")
    return "\n".join(lines)
