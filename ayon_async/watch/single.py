"""One program for each user and store: a second start finds the first one, asks it to show itself, and ends.

A lock file says that there is one; the operating system lets it go when its holder dies. Beside it, in a file that only
this user may read, the holder says at which port of the loopback interface it can be asked, and with which word.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from ayon_async import fs
from ayon_async.errors import AyonAsyncError
from ayon_async.paths import platform_folders

_PATIENCE = 3.0  # seconds that the first one has to answer
_AGAIN = 0.1  # seconds until it is asked again where it does not
_WORD_LENGTH = 64


class _Door(msgspec.Struct):
    """Where the holder can be asked."""

    port: int
    word: str


@dataclass(eq=False, slots=True)
class Instance:
    """The right to be the one program of this user and store, until `release`."""

    _lock: FileLock
    _door: Path
    _listening: socket.socket
    _word: str
    _wishes: threading.Lock = field(default_factory=threading.Lock)
    _show: Callable[[], None] | None = None
    _wished: bool = False  # whether a second start asked while nobody could show anything

    @classmethod
    def take(cls, storage: Path, folder: Path | None = None) -> Instance | None:
        """Become the one; None where another process, or this one already, is it.

        Args:
            storage: Where the store's addons are.
            folder: Where to keep the lock, the user's own; the user's cache where None.

        Raises:
            OSError: The folder can't be written.
        """
        path = _path(storage, folder)
        fs.make_folders(path.parent, 0o700)
        lock = FileLock(path.with_suffix(".lock"), mode=0o600, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        listening = socket.create_server(("127.0.0.1", 0))
        instance = cls(lock, path.with_suffix(".json"), listening, secrets.token_hex(_WORD_LENGTH // 2))
        fs.write_atomic(
            instance._door, msgspec.json.encode(_Door(listening.getsockname()[1], instance._word)), 0o600, flushed=False
        )
        threading.Thread(target=instance._answer, name="instance", daemon=True).start()
        return instance

    def show_with(self, show: Callable[[], None]) -> None:
        """From now on call this, in a thread of its own, when a second start asks; at once where one asked before."""
        with self._wishes:
            self._show, wished = show, self._wished
        if wished:
            show()

    def close_door(self) -> None:
        """Answer nobody any more: who asks now waits until it can be the one itself."""
        with contextlib.suppress(OSError):
            fs.remove(self._door)
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
        self._listening.close()

    def release(self) -> None:
        """Let others be it."""
        self.close_door()
        self._lock.release()

    def _answer(self) -> None:
        while True:
            try:
                asking, _ = self._listening.accept()
            except OSError:
                return  # released
            with asking, contextlib.suppress(OSError):
                asking.settimeout(_PATIENCE)
                if hmac.compare_digest(_receive(asking), self._word.encode()):
                    with self._wishes:
                        show, self._wished = self._show, True
                    if show is not None:
                        show()
                    asking.sendall(b"shown")


def take_or_show_first(storage: Path, folder: Path | None = None) -> Instance | None:
    """Become the one program of this user and store; None where another one is it, which now shows its window.

    That one may have started or be ending just now: waits for it, a few seconds at the most.

    Args:
        storage: See `Instance.take`.
        folder: See `Instance.take`.

    Raises:
        AyonAsyncError: There is another one, and it does not answer.
        OSError: The folder can't be written.
    """
    end = time.monotonic() + _PATIENCE
    while (instance := Instance.take(storage, folder)) is None and not raise_first(storage, folder):
        if time.monotonic() > end:
            raise AyonAsyncError("The tray runs already, but does not answer.", "End its process, then start it again.")
        time.sleep(_AGAIN)
    return instance


def raise_first(storage: Path, folder: Path | None = None) -> bool:
    """Ask the one program of this user and store to show its window; returns whether it said that it does."""
    try:
        door = msgspec.json.decode(fs.read_small(_path(storage, folder).with_suffix(".json")), type=_Door)
        with socket.create_connection(("127.0.0.1", door.port), _PATIENCE) as asking:
            asking.sendall(door.word.encode())
            return asking.recv(16) == b"shown"
    except (OSError, msgspec.MsgspecError):
        return False


def _receive(asking: socket.socket) -> bytes:
    word = b""
    while len(word) < _WORD_LENGTH and (more := asking.recv(_WORD_LENGTH - len(word))):
        word += more
    return word


def _path(storage: Path, folder: Path | None) -> Path:
    """The lock's path without its suffix: the store's own name in whichever spelling."""
    name = os.path.normcase(storage.resolve())
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return (folder or platform_folders().cache) / "instances" / digest
