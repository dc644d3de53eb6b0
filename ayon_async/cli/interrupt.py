"""Ctrl-C and SIGTERM: from the first moment they end a command in order, with its own exit code and its document.

Outside an event loop's run a signal raises `Stopped`. In one (`run`) it cancels the one task, which then leaves the
store as it should be. Once the result is being told (`hold`) it comes too late and changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # at run time only where needed: until `listen` is called signals are Python's own affair
    import asyncio

    from ayon_async.errors import Interrupted

T = TypeVar("T")
_PATIENCE = 0.5  # seconds for threads that are about to end

_first: signal.Signals | None = None
_task: asyncio.Task[Any] | None = None


class Stopped(BaseException):
    """A signal asks to end; not a KeyboardInterrupt, of which libraries make other things."""


def listen() -> None:
    """From now on Ctrl-C and SIGTERM end the command in order; no exception of Python's own comes of them."""
    _set_handlers(_arrived, _arrived)


@contextmanager
def asking() -> Iterator[None]:
    """In the block, which holds the event loop up until a person has answered, a signal raises `Stopped` at once."""
    global _task
    task, _task = _task, None
    try:
        yield
    finally:
        _task = task


def hold() -> None:
    """From now on they change nothing any more: what is being told is told to its end."""
    _set_handlers(signal.SIG_IGN, signal.SIG_IGN)


def forget() -> None:
    """Treat them as any Python program does, for one that is started in this one's place."""
    _set_handlers(signal.default_int_handler, signal.SIG_DFL)


def _set_handlers(interrupt: Any, terminate: Any) -> None:
    if threading.current_thread() is threading.main_thread():  # no other thread has signals
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


def _arrived(number: int, _frame: FrameType | None) -> None:
    global _first
    # While a task runs, a second Ctrl-C makes no thread end sooner.
    again, _first = _first is not None, _first or signal.Signals(number)
    if _task is None:
        raise Stopped  # each time: Python drops it where it comes in a finalizer or a weak reference's callback
    if not again:
        _task.get_loop().call_soon_threadsafe(_task.cancel)


def error() -> Interrupted | None:
    """The error that the signal is, once one came."""
    from ayon_async.errors import Interrupted

    if _first is None:
        return None
    by = "SIGTERM" if _first == signal.SIGTERM else "Ctrl-C"
    interrupted = Interrupted(f"Interrupted by {by}.", "Run the command again: what is done stays done.")
    interrupted.exit_code = 143 if _first == signal.SIGTERM else 130
    return interrupted


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do the work in an event loop of its own; a signal cancels it.

    Raises:
        Stopped: A signal came, and the work was cancelled by it.
    """
    import asyncio

    global _task
    loop = asyncio.new_event_loop()
    try:
        with _woken_by_signals(loop):
            task: asyncio.Task[T] = loop.create_task(work())
            _task = task
            if _first is not None:  # it came before, and what it raised was dropped
                task.cancel()
            return loop.run_until_complete(task)
    except asyncio.CancelledError:
        raise Stopped from None
    finally:
        _close(loop)
        _task = None


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop also where it comes just before the loop falls asleep, or to another thread."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield  # the loop of Windows sees to it itself, and other threads get no signals
        return
    import socket

    waking, woken = socket.socketpair()
    with waking, woken:
        for end in (waking, woken):
            end.setblocking(False)
        loop.add_reader(woken, woken.recv, 64)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            loop.remove_reader(woken)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    # As asyncio.run does it, but without waiting for threads of the loop's own pool: a look-up of a name can hang in
    # one. Whose threads write waits for them itself.
    import asyncio

    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def leave(code: int) -> NoReturn:
    """End the process, even where a thread hangs in a call to the system that nobody can interrupt."""
    end = time.monotonic() + _PATIENCE
    others = [t for t in threading.enumerate() if t is not threading.current_thread() and not t.daemon]
    for thread in others:
        thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    sys.exit(code)
