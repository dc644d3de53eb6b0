"""Work that writes in steps, each of which has to be on the device before the next one: alone, or several together.

A flush costs the same for one folder as for many, and it is most of what a small archive costs on a real disk. Linux
can flush a whole file system in one call, so what is written at the same time shares it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from ayon_async import fs

T = TypeVar("T")


class Flush(NamedTuple):
    """What has to be on the device before the next step.

    Attributes:
        where: A folder of the file system that it is on, the same one for all that may be flushed together.
        alone: Flushes just that; raises OSError where the device fails.
    """

    where: Path
    alone: Callable[[], None]


Steps: TypeAlias = Generator[Flush, None, T]
"""Such work: after each step it says what to flush, and is told of a failure by the OSError. Its result is T."""


def run(steps: Steps[T]) -> T:
    """Do one such work.

    Raises:
        BaseException: What it raises, also of a flush that failed.
    """
    [outcome] = run_together([steps])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def run_together(works: Sequence[Steps[T]]) -> list[T | BaseException]:
    """Do several such works, each step of all of them before the next one of any.

    Returns:
        What each of them returned or raised, in their order.
    """
    outcomes: dict[int, T | BaseException] = {}
    running, failures = dict(enumerate(works)), dict[int, Exception]()
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
        failures = _flush(flushes)
    return [outcomes[number] for number in range(len(works))]


def _flush(flushes: Mapping[int, Flush]) -> dict[int, Exception]:
    """Flush all of them; returns what went wrong."""
    failures: dict[int, Exception] = {}
    alone = dict(flushes)
    for where in {flush.where for flush in flushes.values()} if len(flushes) > 1 else ():
        here = [number for number, flush in flushes.items() if flush.where == where]
        try:
            is_done = fs.flush_file_system(where)
        except OSError as error:
            failures |= dict.fromkeys(here, error)
            is_done = True
        if is_done:
            for number in here:
                del alone[number]
    for number, flush in alone.items():
        try:
            flush.alone()
        except Exception as error:  # handed on to the work, as one that was stopped meanwhile
            failures[number] = error
    return failures
