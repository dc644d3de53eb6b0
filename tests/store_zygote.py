"""Starts commands as processes that a test can stop, kill and handicap, without the start of an interpreter each time.

It reads one order a line from standard input, as JSON, forks a process for it that runs the command, and says on
standard output when that process starts and when it has ended. See `store_processes`, which is the tests' side of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import importlib
import io
import itertools
import json
import os
import pkgutil
import re
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import ayon_async
from ayon_async import fs
from ayon_async.cli.app import run

Watcher = Callable[[str, str, tuple[Any, ...]], None]
CHANGES = (
    "open_new",
    "open_part",
    "write",
    "write_at",
    "flush",
    "flush_tree",
    "flush_folder",
    "set_mode",
    "set_time",
    "make_folder",
    "rename",
    "replace",
    "link",
    "symlink",
    "remove",
    "remove_tree",
)
"""Every function of `ayon_async.fs` that changes something by itself; what consists of these is left out."""
_NEW_UTS = 0x04000000


def main() -> None:
    """Take orders until standard input ends."""
    import_everything()
    numbers: dict[int, int] = {}
    rest, more = b"", True
    while more or numbers:
        if more and select.select([sys.stdin.fileno()], [], [], 0.005)[0]:
            data = os.read(sys.stdin.fileno(), 1 << 16)
            more = bool(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    obey(order)
                numbers[pid] = order["number"]
                say(number=order["number"], pid=pid)
        elif not more:
            time.sleep(0.005)
        while numbers and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            say(number=numbers.pop(ended[0]), code=os.waitstatus_to_exitcode(ended[1]))


def import_everything() -> None:
    """What a command would import later: it comes sooner so, and another user may not be able to read it at all."""
    for module in pkgutil.walk_packages(ayon_async.__path__, "ayon_async."):
        if module.name.rpartition(".")[2] != "__main__" and ".tray" not in module.name:
            importlib.import_module(module.name)
    for name in ("cp437", "idna", "utf_8_sig"):
        importlib.import_module(f"encodings.{name}")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run(["config"])  # what libraries import late


def say(**what: int) -> None:
    """Tell the tests' side."""
    print(json.dumps(what), flush=True)


def obey(order: dict[str, Any]) -> NoReturn:
    """Become the process that was ordered."""
    for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(order["env"])
    os.umask(order["umask"])
    for place, value in order["constants"].items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    if order["host"]:
        if ctypes.CDLL(None, use_errno=True).unshare(_NEW_UTS):
            raise OSError(ctypes.get_errno(), "unshare")
        socket.sethostname(order["host"])
    if order["no_flock"]:
        refuse_flock()
    if order["user"] is not None:
        os.setgroups([])
        os.setgid(order["group"])
        os.setuid(order["user"])
    if order["log"]:
        log_calls(Path(order["log"]))
    if order["strike"]:
        strike_before(*order["strike"])
    code = 1
    try:
        code = run(order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def refuse_flock() -> None:
    """As some network file systems do."""
    import errno
    import fcntl

    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    fcntl.flock = flock  # type: ignore[assignment]


def log_calls(path: Path) -> None:
    """Note each step before it is taken: what is called, and for what."""

    def note(name: str, label: str, arguments: tuple[Any, ...]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, label]) + "\n")

    watch_changes(note)


def strike_before(name: str, pattern: str, number: int, by: int) -> None:
    """Send this process a signal before a step, or where that writes or removes much, in the middle of it."""
    left = itertools.count(1 - number)

    def strike(called: str, label: str, arguments: tuple[Any, ...]) -> None:
        if called != name or not fnmatch.fnmatchcase(label, pattern) or next(left):
            return
        if by != signal.SIGKILL:
            pass  # it goes on with the step later
        elif name == "write":
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        elif name == "write_at":
            os.pwrite(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
        elif name == "remove_tree":
            first = next((path for path in Path(arguments[0]).rglob("*") if path.is_file()), None)
            if first is not None:
                first.unlink()
        os.kill(os.getpid(), by)

    watch_changes(strike)


def watch_changes(watcher: Watcher) -> None:
    """Call the watcher before each change, with the function's name, the path in the store, and all arguments."""
    lock = threading.Lock()

    def watched(name: str) -> Any:
        original = getattr(fs, name)

        def call(*arguments: Any, **more: Any) -> Any:
            with lock:
                watcher(name, label(arguments[0]), arguments)
            return original(*arguments, **more)

        return call

    for name in CHANGES:
        setattr(fs, name, watched(name))


def label(what: Any) -> str:
    """The path of a file or descriptor as it is in every run: what is made up anew each time is left out."""
    if isinstance(what, int):
        if sys.platform == "darwin":
            import fcntl

            what = fcntl.fcntl(what, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
        else:
            what = Path(f"/proc/self/fd/{what}").readlink()
    path = Path(what)
    root = next((part for part in ("addons", "dependency_packages") if part in path.parts), None)
    if root is not None:
        path = Path(*path.parts[path.parts.index(root) :])
    return re.sub("[0-9a-f]{32,}", "*", path.as_posix())


if __name__ == "__main__":
    main()
