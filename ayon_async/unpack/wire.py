"""What a process that unpacks and the program that it works for say to each other, over its standard streams."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar

import msgspec

from ayon_async.limits import Limits
from ayon_async.unpack.result import Member, Unpacked

T = TypeVar("T")
_LENGTH = struct.Struct("<L")
_ENCODER = msgspec.msgpack.Encoder()

Batches: TypeAlias = tuple[int, int] | None
"""Which batches of a large zip are next, from the first to before the last; None where there are no more."""


class Task(msgspec.Struct, frozen=True):
    """An archive to unpack, or to help with.

    Attributes:
        path: Where it lies, as the file system has the name.
        identity: What tells the file that was verified from any other that has its name by now; see `identity_of`.
        destination: The folder to unpack into, as the file system has the name.
        name: What to call the archive.
        limits: What is refused as too much.
        group_writable: Whether files and folders are writable for their group.
        withheld: Given to who helps: the mode bits that are withheld from what is made there.
    """

    path: bytes
    identity: str
    destination: bytes
    name: str
    limits: Limits
    group_writable: bool
    withheld: int | None = None


class Progress(msgspec.Struct, frozen=True, tag=True):
    """So much of the archive is read, from 0 to 1; wants no answer."""

    share: float


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Shall the work end? Wants a bool."""


class Claim(msgspec.Struct, frozen=True, tag=True):
    """Which batches of a large zip are next? Wants `Batches`.

    Attributes:
        batches: How many there are.
        withheld: See `Task`.
    """

    batches: int
    withheld: int


class Join(msgspec.Struct, frozen=True, tag=True):
    """There is no further batch: what did who helped? Wants a `Helped`."""


class Helped(msgspec.Struct, frozen=True, tag=True):
    """What was done of a shared zip.

    Attributes:
        members: What was written.
        targets: Where links are to lead, by their paths.
    """

    members: list[Member]
    targets: dict[str, str]


class Done(msgspec.Struct, frozen=True, tag=True):
    """All is unpacked."""

    unpacked: Unpacked


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It was not unpacked, and nothing stays of it. Unpacking it in a thread says why."""


FromWorker: TypeAlias = Progress | Ask | Claim | Join | Helped | Done | Failed


class Channel:
    """Messages over two pipes, each with its length before it.

    Args:
        incoming, outgoing: The pipes.
    """

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def send(self, message: object) -> None:
        """Send a message.

        Raises:
            OSError: The other side is gone.
        """
        data = _ENCODER.encode(message)
        self._outgoing.write(_LENGTH.pack(len(data)) + data)
        self._outgoing.flush()

    def receive(self, decoder: msgspec.msgpack.Decoder[T]) -> T:
        """Wait for a message.

        Raises:
            EOFError: The other side is gone.
            ValueError: It says something else; msgspec's errors are ValueErrors.
        """
        return decoder.decode(self._read(_LENGTH.unpack(self._read(_LENGTH.size))[0]))

    def close(self) -> None:
        """Close both pipes: the other side ends."""
        try:
            self._outgoing.close()
        finally:
            self._incoming.close()

    def _read(self, count: int) -> bytes:
        data = self._incoming.read(count)
        if len(data) < count:
            raise EOFError
        return data


def identity_of(file: BinaryIO) -> str:
    """Device, inode, size and time of the last change of an open file; text, as Windows has numbers above 64 bits."""
    state = os.fstat(file.fileno())
    return f"{state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns}"


def to_bytes(path: Path) -> bytes:
    """A path, absolute, as the file system has it."""
    return os.fsencode(path.absolute())
