"""The process that unpacks for another one: tasks come over standard input, answers go to standard output.

It ends when standard input does: then the program that it worked for is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from ayon_async import fs
from ayon_async.errors import AyonAsyncError
from ayon_async.unpack import Stopped, help_unpack, unpack
from ayon_async.unpack.result import Member
from ayon_async.unpack.wire import (
    Ask,
    Batches,
    Channel,
    Claim,
    Done,
    Failed,
    Helped,
    Join,
    Progress,
    Task,
    identity_of,
)

_SECONDS = 0.05
"""How long no stop is noticed at the most, but for the MiB or the member that is worked on."""


class _Boss:
    """The program that this process works for.

    Args:
        channel: The way to it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked = time.monotonic()
        self._stopped = False
        self._flag: msgspec.msgpack.Decoder[bool] = msgspec.msgpack.Decoder(bool)
        self._batches: msgspec.msgpack.Decoder[Batches] = msgspec.msgpack.Decoder(Batches)
        self._helped = msgspec.msgpack.Decoder(Helped)

    def is_set(self) -> bool:
        """Whether the work shall end."""
        if not self._stopped and time.monotonic() - self._asked >= _SECONDS:
            self._channel.send(Ask())
            self._stopped = self._channel.receive(self._flag)
            self._asked = time.monotonic()
        return self._stopped

    def tell(self, share: float) -> None:
        """So much is read."""
        self._channel.send(Progress(share))

    def claim(self, batches: int, withheld: int) -> Batches:
        """The batches that are next, or None where there are none."""
        self._channel.send(Claim(batches, withheld))
        return self._channel.receive(self._batches)

    def join(self) -> tuple[list[Member], dict[str, str]]:
        """What who helped wrote, and where links are to lead by it."""
        self._channel.send(Join())
        helped = self._channel.receive(self._helped)
        return helped.members, helped.targets


def main() -> None:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which ends this one
    if "--background" in sys.argv:
        from ayon_async import priority

        priority.lower()
    channel = Channel(sys.stdin.buffer, sys.stdout.buffer)
    tasks = msgspec.msgpack.Decoder(Task)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task = channel.receive(tasks)
            channel.send(_answer(task, channel))


def _answer(task: Task, channel: Channel) -> Done | Helped | Failed:
    try:
        with os.fdopen(fs.open_to_read(os.fsdecode(task.path)), "rb", buffering=0) as archive:
            if identity_of(archive) != task.identity:
                return Failed()
            return _do(task, archive, _Boss(channel))
    except (AyonAsyncError, Stopped, OSError):
        return Failed()


def _do(task: Task, archive: BinaryIO, boss: _Boss) -> Done | Helped:
    destination = Path(os.fsdecode(task.destination))
    if task.withheld is not None:
        members, targets = help_unpack(
            archive, destination, name=task.name, limits=task.limits, on_progress=boss.tell, stop=boss,
            group_writable=task.group_writable, withheld=task.withheld, team=boss,
        )  # fmt: skip
        return Helped(members, targets)
    unpacked = unpack(
        archive, destination, name=task.name, limits=task.limits, on_progress=boss.tell, stop=boss,
        group_writable=task.group_writable, team=boss,
    )  # fmt: skip
    return Done(unpacked)
