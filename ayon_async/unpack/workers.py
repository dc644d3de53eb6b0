"""Processes that unpack large archives: in threads alone the interpreter's lock costs a fifth of a fast sync.

Measured on two cores, 34 archives of 506 MB over loopback. They are programs of this interpreter that import what
unpacks and nothing else, started with `subprocess`: `multiprocessing` would run a script of somebody else's once more.
Where they can't be had, or one fails, the archive is unpacked in the thread that asked: that also says what is wrong.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec

from ayon_async import fs
from ayon_async.disk_error import explain
from ayon_async.limits import Limits
from ayon_async.unpack import Stopped, Unpacked, unpack
from ayon_async.unpack.wire import (
    Ask,
    Batches,
    Channel,
    Claim,
    Done,
    Failed,
    FromWorker,
    Helped,
    Join,
    Progress,
    Task,
    identity_of,
    to_bytes,
)
from ayon_async.unpack.zip import WORTH_HELP, Helpers

_MAIN = """
import sys
sys.path[:] = sys.argv[1].split('\\n')
sys.modules['typing_extensions'] = None  # msgspec does without: it is a seventh of the start
from ayon_async.unpack.worker import main
main()
"""
_AT_ONCE = 4
"""Batches that are handed out in one go, at the most: each time costs two processes a wake-up."""
_DECODER: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class _NoResult(Exception):
    """The archive was not unpacked by processes."""


class _NoneFree(_NoResult):
    """There is no process to begin with."""


class Workers:
    """Some processes that unpack, each for one thread at a time; a context manager.

    Args:
        count: How many there are at the most.
        background: Whether they yield to everything else.
    """

    def __init__(self, count: int, *, background: bool) -> None:
        self._count = count
        self._background = background
        self._started = 0
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._idle:
            worker.kill()  # they have nothing to do, and who leaves has no time to wait for their own end
        for worker in self._idle:
            worker.end()

    def start(self, count: int) -> None:
        """Start some that will be needed: they begin to import meanwhile."""
        with contextlib.suppress(_NoResult), contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(self.one())

    def unpack(
        self,
        archive: BinaryIO,
        path: Path,
        destination: Path,
        *,
        name: str,
        limits: Limits,
        on_progress: Callable[[float], None],
        stop: threading.Event,
        group_writable: bool,
        helpers: Helpers | None,
    ) -> Unpacked:
        """Unpack an archive, see `unpack`; blocks, so call it in a thread.

        Args:
            path: Where the archive lies.
            helpers: Threads of which one may let another process help with a large zip.
        """
        task = Task(to_bytes(path), identity_of(archive), to_bytes(destination), name, limits, group_writable)
        job = _Job(self, task, on_progress, stop, helpers)
        with contextlib.suppress(_NoResult):
            return job.run()
        try:
            fs.remove_tree(destination)  # who helped may have written on after the other one had cleared up
        except OSError as error:
            raise explain(error, destination) from error
        if stop.is_set():
            raise Stopped
        return unpack(
            archive, destination, name=name, limits=limits, on_progress=on_progress, stop=stop,
            group_writable=group_writable,
        )  # fmt: skip

    @contextlib.contextmanager
    def one(self) -> Iterator[_Worker]:
        """A process of our own; it is ended where it is left in the middle of a conversation.

        Raises:
            _NoneFree: There is none.
            _NoResult: It ended.
        """
        with self._lock:
            worker = self._idle.pop() if self._idle else None
            self._started += worker is None
            if self._started > self._count:
                self._started -= 1
                raise _NoneFree
        if worker is None:
            try:
                worker = _Worker(background=self._background)
            except OSError as error:
                raise _NoneFree from error
        try:
            yield worker
        except BaseException as error:
            worker.kill()
            worker.end()
            if isinstance(error, (OSError, EOFError, ValueError)):
                raise _NoResult from error
            raise
        with self._lock:
            self._idle.append(worker)


class _Worker:
    """One process.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, *, background: bool) -> None:
        command = [_interpreter(), "-I", "-S", "-B", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _MAIN]
        command += ["\n".join(sys.path), *(["--background"] if background else [])]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            process_group=None if sys.platform == "win32" else 0,  # Ctrl-C in a terminal is not for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._channel = Channel(cast(BinaryIO, self._process.stdout), cast(BinaryIO, self._process.stdin))

    def send(self, message: object) -> None:
        self._channel.send(message)

    def receive(self) -> FromWorker:
        return self._channel.receive(_DECODER)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Wait for it, once it is killed."""
        with contextlib.suppress(OSError):
            self._channel.close()
        self._process.wait()


def _interpreter() -> str:
    """This Python, where it is one: a program with Python in it would start itself once more.

    Raises:
        OSError: There is none.
    """
    if not Path(sys.executable or "-").stem.lower().startswith("python") or getattr(sys, "frozen", False):
        raise OSError("there is no Python to start")
    return sys.executable


class _Job:
    """One archive, unpacked by a process, and by one more where it is large and a thread is free.

    Args:
        workers: Who has the processes.
        task: What is to be done.
        on_progress: Told which share is done.
        stop: Ends it.
        helpers: Where the conversation with a second process may be held.
    """

    def __init__(
        self,
        workers: Workers,
        task: Task,
        on_progress: Callable[[float], None],
        stop: threading.Event,
        helpers: Helpers | None,
    ) -> None:
        self._workers = workers
        self._task = task
        self._on_progress = on_progress
        self._stop = stop
        self._helpers = helpers
        self._helping: Future[Helped] | None = None
        self._next = 0
        self._closed = False
        self._shares: dict[Task, float] = {}
        self._lock = threading.Lock()

    def run(self) -> Unpacked:
        """All of it.

        Raises:
            _NoResult: It could not be done, for whatever reason.
        """
        try:
            done = self._converse(self._task)
        finally:
            self._closed = True
            if self._helping is not None and not self._helping.cancel():
                wait([self._helping])
        if not isinstance(done, Done):
            raise _NoResult
        return done.unpacked

    def _help(self, withheld: int) -> Helped:
        try:
            done = self._converse(msgspec.structs.replace(self._task, withheld=withheld))
            if not isinstance(done, Helped):
                raise _NoResult
        except _NoneFree:  # one ended for some reason: the other does all of it
            return Helped([], {})
        except BaseException:
            self._closed = True  # what was begun here is missing
            raise
        return done

    def _converse(self, task: Task) -> FromWorker:
        with self._workers.one() as worker:
            worker.send(task)
            while True:
                match worker.receive():
                    case Progress(share):
                        self._note(task, share)
                    case Ask():
                        worker.send(self._closed or self._stop.is_set())
                    case Claim(batches, withheld):
                        worker.send(self._claim(batches, withheld))
                    case Join():
                        worker.send(self._join())
                    case Failed() | Done() | Helped() as end:
                        return end

    def _note(self, task: Task, share: float) -> None:
        self._shares[task] = share
        self._on_progress(min(1.0, sum(self._shares.values())))

    def _claim(self, batches: int, withheld: int) -> Batches:
        with self._lock:
            first, left = self._next, batches - self._next
            if self._closed or left <= 0:
                return None
            if self._helping is None and self._helpers is not None and left >= WORTH_HELP:
                self._helping = self._helpers.submit(self._help, withheld)
            # Towards the end one at a time, so that both end together.
            self._next += max(1, min(_AT_ONCE, left // (2 * _AT_ONCE)))
            return first, self._next

    def _join(self) -> Helped:
        if self._helping is None or self._helping.cancel():
            return Helped([], {})
        return self._helping.result()
