"""Work that writes in steps, each of which has to be on the device before the next one: alone, or several together.

Flushes are most of what a small archive costs on a real disk, and to flush much at once costs little more than to flush
one file: Linux can do it for a whole file system, so what is written at the same time shares the call.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from ayon_async import fs

T = TypeVar("T")


class Flush(NamedTuple):
    """What has to be on the device before the next step.

    Attributes:
        where: A folder of the file system that it is on; what has the same one is flushed together.
        alone: Flushes just that; raises OSError where the device fails. The same one is called once for all.
        is_tree: Whether that is many files, so that the whole file system is flushed in less time.
    """

    where: Path
    alone: Callable[[], None]
    is_tree: bool = False


Steps: TypeAlias = Generator[Flush, None, T]
"""Such work: after each step it says what to flush, and is told of a failure by the OSError. Its result is T."""


def run(steps: Steps[T]) -> T:
    """Do one such work alone.

    Raises:
        BaseException: What it raises, also of a flush that failed.
    """
    [outcome] = run_together([steps])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def run_together(works: Sequence[Steps[T]], where: Iterable[Path] = ()) -> list[T | BaseException]:
    """Do several such works, each step of all of them before the next one of any.

    Args:
        works: None of them is begun.
        where: Folders of the file systems that are worth a flush; of others each work flushes its own.

    Returns:
        What each of them returned or raised, in their order.
    """
    with contextlib.ExitStack() as stack:
        # Opened before anything is written: else what another's flush was told of would be told to nobody else.
        whole = {folder: fd for folder in where if (fd := _opened(folder, stack)) is not None}
        return _run(works, whole)


def _opened(folder: Path, stack: contextlib.ExitStack) -> int | None:
    if not fs.can_flush_file_systems():
        return None
    try:
        fd = fs.open_folder(folder)
    except OSError:  # then each flushes its own, or finds out what is wrong there
        return None
    stack.callback(os.close, fd)
    return fd


def _run(works: Sequence[Steps[T]], whole: Mapping[Path, int]) -> list[T | BaseException]:
    outcomes: dict[int, T | BaseException] = {}
    running, failures = dict(enumerate(works)), dict[int, OSError]()
    while running:
        flushes: dict[int, Flush] = {}
        for number, steps in running.items():
            try:
                flushes[number] = steps.throw(failures[number]) if number in failures else next(steps)
            except StopIteration as end:
                outcomes[number] = end.value
            except BaseException as failure:  # handed on to who waits, whatever it is
                outcomes[number] = failure
        running = {number: running[number] for number in flushes}
        failures = _flush(flushes, whole)
    return [outcomes[number] for number in range(len(works))]


def _flush(flushes: Mapping[int, Flush], whole: Mapping[Path, int]) -> dict[int, OSError]:
    """Flush all of them; returns what went wrong.

    What the system says of a whole file system may be of anybody's files: whose it is, each finds out alone.
    """
    left = dict(flushes)
    for where, fd in whole.items():
        here = {number: flush for number, flush in flushes.items() if flush.where == where}
        worth = len({flush.alone for flush in here.values()}) > 1 or any(flush.is_tree for flush in here.values())
        with contextlib.suppress(OSError):
            if worth and fs.flush_file_system(where, fd):
                left = {number: flush for number, flush in left.items() if number not in here}
    outcomes: dict[Callable[[], None], OSError | None] = {}
    for flush in left.values():
        if flush.alone not in outcomes:
            try:
                outcomes[flush.alone] = flush.alone()
            except OSError as error:
                outcomes[flush.alone] = error
    failures = {number: outcomes[flush.alone] for number, flush in left.items()}
    return {number: failure for number, failure in failures.items() if failure is not None}
