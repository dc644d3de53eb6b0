"""A packet relay between two network devices: delay and loss, for kernels without `netem`.

Started as a program it makes two TUN devices and passes each one's packets to the other, until it is told to end; it
prints what it did. What waits, waits in order: the delay is the same for every packet.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import select
import signal
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_MOST = 2048  # bytes of a packet
_BURST = 256  # packets read from one device before the other one has its turn
_TICK = 0.0003  # seconds; waking up for each packet alone would take half a core at 50 Mbit/s


@dataclass(slots=True)
class Count:
    """What became of one direction's packets."""

    passed: int = 0
    dropped: int = 0
    late: float = 0.0
    """Seconds that the latest packet was behind its time."""


@dataclass(slots=True)
class Pipe:
    """One direction: packets come out in order, each `delay` seconds after it went in, or never.

    Attributes:
        delay: Seconds.
        loss: Share of the packets that is dropped, 0 to 1.
        chance: Gives numbers from 0 to 1.
        count: What became of them so far.
    """

    delay: float
    loss: float
    chance: random.Random
    count: Count = field(default_factory=Count)
    _waiting: deque[tuple[float, bytes]] = field(default_factory=deque)

    def put(self, packet: bytes, now: float) -> None:
        """Take a packet that came at this time."""
        if self.loss and self.chance.random() < self.loss:
            self.count.dropped += 1
        else:
            self._waiting.append((now + self.delay, packet))

    def due(self, now: float) -> bytes | None:
        """The next packet whose time has come; None where there is none."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        when, packet = self._waiting.popleft()
        self.count.passed += 1
        self.count.late = max(self.count.late, now - when)
        return packet

    @property
    def is_waiting(self) -> bool:
        """Whether there are packets in it."""
        return bool(self._waiting)


def tun(name: str) -> int:
    """A new TUN device, as a descriptor that gives and takes IP packets."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_WITHOUT_HEADER))
    return device


def relay(pipes: dict[int, tuple[Pipe, int]], stopped: list[bool]) -> None:
    """Pass packets until told to stop.

    Args:
        pipes: For each device what its packets go through, and the device that they go to.
        stopped: Not empty once it shall end.
    """
    clock = time.monotonic
    while not stopped:
        if any(pipe.is_waiting for pipe, _ in pipes.values()):
            time.sleep(_TICK)
        else:
            select.select(list(pipes), (), (), 0.2)
        for device, (pipe, _) in pipes.items():
            now = clock()
            with contextlib.suppress(BlockingIOError):
                for _ in range(_BURST):
                    pipe.put(os.read(device, _MOST), now)
        for pipe, target in pipes.values():
            now = clock()
            while (due := pipe.due(now)) is not None:
                try:
                    os.write(target, due)
                except OSError:  # the device is down: so is a cable that nobody plugged in
                    pipe.count.dropped += 1


def main() -> None:
    """Make the devices, say so, relay until SIGTERM, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("devices", nargs=2)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each way")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets lost each way")
    arguments = parser.parse_args()
    first, second = (tun(name) for name in arguments.devices)
    stopped: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    ways = [Pipe(arguments.delay, arguments.loss, random.Random(seed)) for seed in (1, 2)]
    print("ready", flush=True)
    relay({first: (ways[0], second), second: (ways[1], first)}, stopped)
    used = time.process_time()
    json.dump({"cpu": used, "ways": [asdict(way.count) for way in ways]}, sys.stdout)


if __name__ == "__main__":
    main()
