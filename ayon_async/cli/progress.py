"""How far a sync is, on standard error: moving bars on a terminal, elsewhere a plain line for each item that ended."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ayon_async.progress import ItemProgress, Phase, Snapshot, Watcher
from ayon_async.report import ItemReport
from ayon_async.text import counted, printable, size_text, time_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_BAR = 24  # columns


@contextmanager
def showing(note: Callable[[str], None], *, quiet: bool, still: bool) -> Iterator[Watcher]:
    """A watcher that shows what it is told, while in the block.

    Args:
        note: Prints a line.
        quiet: Show nothing.
        still: Only lines, even on a terminal.
    """
    if quiet:
        yield lambda snapshot: None
    elif still or os.environ.get("TERM") == "dumb" or sys.stderr is None or not sys.stderr.isatty():
        lines = _Lines(note)
        yield lines.watch
    else:
        with _bars() as watch:
            yield watch


class _Lines:
    """A line for each item, once it has ended."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._told: set[object] = set()

    def watch(self, snapshot: Snapshot) -> None:
        for item in snapshot.items:
            if item.report is not None and item.item not in self._told:
                self._told.add(item.item)
                self._note(outcome_text(item.report))


def outcome_text(report: ItemReport) -> str:
    """What became of an item, in a line."""
    label = printable(report.label)
    if report.state == "installed":
        attested = ", ".join(report.verified_by) or "nothing"
        took = f"{size_text(report.bytes_downloaded)} in {time_text(report.seconds)}"
        return f"{label}: installed, {took}, verified by {attested}"
    words = report.state.replace("_", " ")
    return f"{label}: {words}" + (f", {report.reason}" if report.reason else "")


@contextmanager
def _bars() -> Iterator[Watcher]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
    lines = _Lines(lambda line: console.print(Text(line), soft_wrap=True))

    def watch(snapshot: Snapshot) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed; the sync goes on
            lines.watch(snapshot)
            live.update(picture(snapshot, console.height - 2), refresh=True)

    with contextlib.suppress(OSError):
        live.start()
    try:
        yield watch
    finally:
        with contextlib.suppress(OSError):
            live.stop()


def picture(snapshot: Snapshot, rows: int) -> Table:
    """The running archives and the total, as Rich draws them.

    Args:
        rows: How many lines there is room for.
    """
    from rich.table import Table

    grid = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "right", "right", "left"):
        grid.add_column(justify=justify, no_wrap=True)
    running = [item for item in snapshot.items if item.report is None and item.phase is not Phase.QUEUED]
    for item in running[: max(1, rows - 1)]:
        grid.add_row(*_row(item))
    grid.add_row(*_total(snapshot))
    return grid


def _row(item: ItemProgress) -> tuple[RenderableType, ...]:
    label = printable(item.item.label)
    if item.phase is Phase.UNPACKING:
        return label, _bar(item.unpacked, 1.0), size_text(item.size), "", "unpacking"
    again = f" (try {item.attempt})" if item.attempt > 1 else ""
    if item.phase is not Phase.DOWNLOADING:
        doing = {Phase.WAITING: "waiting for another process"}.get(item.phase, item.phase.value)
        return label, _bar(item.bytes_done, item.size), _share(item.bytes_done, item.size), "", doing + again
    speed = f"{size_text(item.speed)}/s"
    return label, _bar(item.bytes_done, item.size), _share(item.bytes_done, item.size), speed, _left(item) + again


def _total(snapshot: Snapshot) -> tuple[RenderableType, ...]:
    ended = sum(item.report is not None for item in snapshot.work)
    label = f"{ended} of {counted(len(snapshot.work), 'item')}"
    size = snapshot.size
    done = snapshot.bytes_done if size is None else min(snapshot.bytes_done, size)
    return label, _bar(done, size), _share(done, size), f"{size_text(snapshot.speed)}/s", _left(snapshot)


def _bar(done: float, whole: float | None) -> RenderableType:
    from rich.progress_bar import ProgressBar

    return ProgressBar(total=whole or 1.0, completed=done if whole else 0.0, width=_BAR)


def _share(done: int, whole: int | None) -> str:
    return size_text(done) if whole is None else f"{size_text(done)} of {size_text(whole)}"


def _left(progress: ItemProgress | Snapshot) -> str:
    return "" if progress.seconds_left is None else f"{time_text(progress.seconds_left)} left"
