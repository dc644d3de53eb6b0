"""What one run costs: wall time, processor time with children, and private memory of all its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

_FIRST_WAIT, _WAIT_SHARE = 0.05, 0.1
"""Seconds until memory is looked at again, and the share of the time so far that is added to them. Looking takes time
from programs that keep all processors busy, and from no others."""


class RunFailed(Exception):
    """A measured program failed; the text has what it said."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost.

    Attributes:
        wall: Seconds.
        cpu: Seconds of processor time, all threads and processes.
        private: Bytes of private memory (`RssAnon`) of all processes together, the most of the moments when it was
            looked at: a peak that is shorter than a tenth of the time so far may be missed. 0 for a sum of parts.
        more: Further figures by name.
    """

    wall: float
    cpu: float
    private: int
    more: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, after: Cost) -> Cost:
        """One run after another."""
        return Cost(self.wall + after.wall, self.cpu + after.cpu, max(self.private, after.private))


@dataclass(slots=True)
class _Most:
    private: int = 0


def run(
    command: Sequence[str],
    *,
    inside: Sequence[str] = (),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    feed: str = "",
    output: IO[bytes] | None = None,
    fine: Sequence[int] = (0,),
) -> tuple[Cost, str]:
    """Run a program to its end and measure it.

    Args:
        inside: What it is started with, such as ``ip netns exec …``.
        cwd: Folder to start it in.
        env: Its environment; ours where None.
        feed: Its standard input.
        output: Where its standard output goes; it is returned where None.
        fine: Exit codes that are no failure.

    Raises:
        RunFailed: Another exit code.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*inside, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=output or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with _sampling(process.pid) as most, _reading(process) as said:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(feed.encode())
                process.stdin.close()
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
    except BaseException:  # who is stopped leaves nobody behind who writes on into what is cleared away
        for pid in family(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    out, errors = (b"".join(parts).decode(errors="replace") for parts in said)
    if process.returncode not in fine:
        raise RunFailed(f"{' '.join(command)} ended with {process.returncode}:\n{(errors or out)[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, most.private), out


@contextlib.contextmanager
def _reading(process: subprocess.Popen[bytes]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    said: tuple[list[bytes], list[bytes]] = ([], [])
    threads = [
        threading.Thread(target=_read, args=(stream, parts))
        for stream, parts in zip((process.stdout, process.stderr), said, strict=True)
        if stream is not None
    ]
    for thread in threads:
        thread.start()
    yield said
    for thread in threads:
        thread.join()


def _read(stream: IO[bytes], parts: list[bytes]) -> None:
    with stream:
        parts.extend(iter(lambda: stream.read1(65536), b""))  # type: ignore[attr-defined]


@contextlib.contextmanager
def _sampling(pid: int) -> Iterator[_Most]:
    most, done, begun = _Most(), threading.Event(), time.monotonic()

    def watch() -> None:
        while True:
            most.private = max(most.private, sum(map(_private, family(pid))))
            if done.wait(_FIRST_WAIT + _WAIT_SHARE * (time.monotonic() - begun)):
                break

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _private(pid: int) -> int:
    with contextlib.suppress(OSError), Path(f"/proc/{pid}/status").open() as status:
        for line in status:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0
