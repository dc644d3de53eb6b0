"""Commands as processes that can be stopped, killed and handicapped; and what they leave in a store."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayon_async import fs
from ayon_async.store.record import PROGRESS_FILE, RECORD_FILE
from cli_machine import CHECKOUT, Ended, Machine

Step = tuple[str, str, int]
"""A change to the file system: the function of `fs`, a pattern of its path, and which of the calls that match."""
OURS = ".ayon-async"
KINDS = ("addons", "dependency_packages")


@dataclass
class Process:
    """A command that runs, or did."""

    _out: Path
    _err: Path
    started: Future[int] = field(default_factory=Future)
    finished: Future[int] = field(default_factory=Future)

    async def pid(self) -> int:
        """Its id, once there is one."""
        return await asyncio.wrap_future(self.started)

    async def send(self, by: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(await self.pid(), by)

    async def stopped(self) -> None:
        """Return once it is stopped."""
        state = Path(f"/proc/{await self.pid()}/stat")
        await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.finished.done()

    async def ended(self) -> Ended:
        """What it left; the exit code is the negative signal where one killed it."""
        code = await asyncio.wrap_future(self.finished)
        return Ended(code, self._out.read_text("utf-8"), self._err.read_text("utf-8"))


class Zygote:
    """Starts commands by forking itself; see `store_zygote`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._processes: dict[int, Process] = {}
        env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        script = Path(__file__).with_name("store_zygote.py")
        self._self = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def close(self) -> None:
        """Let it go, once all its processes have ended."""
        assert self._self.stdin is not None
        self._self.stdin.close()
        self._self.wait()
        self._reader.join()
        assert self._self.stdout is not None
        self._self.stdout.close()

    def _read(self) -> None:
        assert self._self.stdout is not None
        for line in iter(self._self.stdout.readline, b""):
            told = json.loads(line)
            process = self._processes[told["number"]]
            if "pid" in told:
                process.started.set_result(told["pid"])
            else:
                process.finished.set_result(told["code"])

    def start(
        self,
        machine: Machine,
        *arguments: str,
        kill: Step | None = None,
        stop: Step | None = None,
        log: Path | None = None,
        no_flock: bool = False,
        host: str | None = None,
        user: int | None = None,
        group: int = 0,
        umask: int = 0o022,
        constants: Mapping[str, float] | None = None,
    ) -> Process:
        """Start a command.

        Args:
            machine: Whose.
            arguments: Of the command.
            kill: The step at which it is killed.
            stop: The step at which it is stopped.
            log: A file to note all steps in.
            no_flock: Whether the system refuses to lock files.
            host: A host name of its own; root only.
            user: As whom; root only.
            group: The user's group.
            umask: Its umask.
            constants: Values of modules' constants that differ, by their full names.
        """
        number = next(self._numbers)
        process = Process(self._folder / f"{number}.out", self._folder / f"{number}.err")
        self._processes[number] = process
        order = {
            "number": number,
            "arguments": arguments,
            "env": machine.env,
            "out": str(process._out),
            "err": str(process._err),
            "strike": (*kill, signal.SIGKILL) if kill else (*stop, signal.SIGSTOP) if stop else None,
            "log": None if log is None else str(log),
            "no_flock": no_flock,
            "host": host,
            "user": user,
            "group": group,
            "umask": umask,
            "constants": dict(constants or {}),
        }
        assert self._self.stdin is not None
        self._self.stdin.write(json.dumps(order).encode() + b"\n")
        return process

    async def run(self, machine: Machine, *arguments: str, **how: Any) -> Ended:
        """Run a command to its end."""
        return await self.start(machine, *arguments, **how).ended()


async def until(happened: Callable[[], object]) -> None:
    """Return once the function's result is true."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - it is not this process that makes it true
            await asyncio.sleep(0.01)


# --- what is left ---------------------------------------------------------------------------------------------------


def content(storage: Path) -> dict[str, Any]:
    """All that a store shows to others, by its path: bytes, and of records what does not differ from run to run."""
    found: dict[str, Any] = {}
    for path in storage.rglob("*"):
        if path.is_dir() or OURS in path.parts:
            continue
        data: Any = path.read_bytes()
        if path.name in (PROGRESS_FILE, RECORD_FILE, "addons.json", "dependency.json"):
            data = json.loads(_SERVER.sub(b"http://server", data), object_hook=_timeless)
        found[path.relative_to(storage).as_posix()] = data
    return found


_SERVER = re.compile(rb"http://127\.0\.0\.1:\d+")
_TIMES = frozenset({"progress_id", "dist_started", "dist_finished", "distributed_dt", "installed"})


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in _TIMES}


def leftovers(storage: Path) -> list[str]:
    """What should not be there once nothing runs any more."""
    found = [
        path
        for kind in KINDS
        for name in ("parts", "staging", "locks", "pending")
        for path in (storage / kind / OURS / name).glob("*")
    ]
    found += [path for folder in storage.rglob("*") if folder.is_dir() for path in fs.find_temporaries(folder)]
    return sorted({path.relative_to(storage).as_posix() for path in found})
