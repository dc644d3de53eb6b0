"""Networks: two network namespaces with a link of a known rate, delay and loss between them.

Both directions are shaped by the kernel (`tbf` on each device, without segmentation offload, so that what it counts are
real packets); delay and loss are the relay's. The servers' side uses CUBIC, as most servers do, whatever this machine's
default is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
_MTU = 1500
_PAYLOAD = 1448  # of a packet: without 20 bytes of IP, 20 of TCP and 12 of its time stamps
_SHORTEST_QUEUE = 0.05  # seconds; routers at home have this or much more


class NoNetwork(Exception):
    """This machine can't have such a network; the text says why."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link's properties.

    Attributes:
        name: What it is called in the table.
        rate: Bits per second, each direction, IP headers included.
        round_trip: Seconds.
        loss: Share of the packets lost, each way.
        per_connection: Bytes per second that the server gives to one connection at the most; 0 for no limit.
    """

    name: str
    rate: float
    round_trip: float
    loss: float = 0.0
    per_connection: int = 0

    def limit(self, size: int) -> float:
        """Seconds that so many bytes take at the least, headers not counted."""
        return size * 8 / self.rate

    @property
    def headers(self) -> float:
        """By what headers alone lengthen that."""
        return _MTU / _PAYLOAD

    @property
    def queue(self) -> int:
        """Bytes that wait before the slow link at the most: what is under way in a round trip."""
        return int(self.rate / 8 * max(self.round_trip, _SHORTEST_QUEUE))


@dataclass(frozen=True, slots=True)
class Network:
    """Where the two sides are.

    Attributes:
        server: Address of the servers.
        at_client: What a command is started with, to run on the client's side.
        at_server: The same for the servers' side.
        link: What lies between; None for this machine's own loopback.
    """

    server: str = "127.0.0.1"
    at_client: tuple[str, ...] = ()
    at_server: tuple[str, ...] = ()
    link: Link | None = None


LOOPBACK = Network()


def need_networks() -> None:
    """See whether this machine can have namespaces and links of its own.

    Raises:
        NoNetwork: It can't.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoNetwork("Networks need Linux and root's rights.")
    if not Path("/dev/net/tun").exists() or not shutil.which("tc"):
        raise NoNetwork("Networks need /dev/net/tun and Debian's package iproute2.")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoNetwork(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def network(link: Link) -> Iterator[tuple[Network, dict[str, Any]]]:
    """Two namespaces with the link between them; the mapping has the relay's and the queues' counts at the end.

    Raises:
        NoNetwork: This machine can't have it.
    """
    need_networks()
    tag = f"ab{os.getpid()}"
    sides = {f"{tag}c": CLIENT, f"{tag}s": SERVER}
    client, server = sides
    counts: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for side in sides:
            _run("ip", "netns", "add", side)
            stack.callback(_run, "ip", "netns", "del", side)
        stack.enter_context(_relaying(link, client, server, counts))
        for side, address in sides.items():
            _set_up(link, side, address)
        inside = [("ip", "netns", "exec", side) for side in sides]
        yield Network(SERVER, inside[0], inside[1], link), counts
        counts["full_queue"] = {side[-1]: _dropped(side) for side in sides}


def _set_up(link: Link, side: str, address: str) -> None:
    _run("ip", "link", "set", side, "netns", side)
    _run("ip", "-n", side, "link", "set", "lo", "up")
    _run("ip", "-n", side, "address", "add", f"{address}/32", "dev", side)
    # Without offload: 64 KiB at once would pass the shaper, and a lost packet would be forty.
    _run("ip", "-n", side, "link", "set", side, "up", "mtu", str(_MTU), "txqueuelen", "4000", "gso_max_segs", "1")
    _run("ip", "-n", side, "route", "add", "10.77.0.0/24", "dev", side, "src", address, "congctl", "cubic")
    burst = max(2 * _MTU, int(link.rate / 8 / 250))  # what is due between two ticks of the kernel's clock
    shape = ("rate", f"{link.rate:.0f}bit", "burst", str(burst), "limit", str(link.queue))
    _run("tc", "-n", side, "qdisc", "add", "dev", side, "root", "tbf", *shape)


def _dropped(side: str) -> int:
    [shaper] = json.loads(_run("tc", "-n", side, "-s", "-j", "qdisc", "show", "dev", side, "root"))
    return int(shaper["drops"])


@contextlib.contextmanager
def _relaying(link: Link, client: str, server: str, counts: dict[str, Any]) -> Iterator[None]:
    script = str(Path(__file__).with_name("relay.py"))
    values = ["--delay", str(link.round_trip / 2), "--loss", str(link.loss)]
    with subprocess.Popen(
        [sys.executable, "-I", script, client, server, *values], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise NoNetwork("The packet relay did not start.")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            answer = process.stdout.read() if process.stdout else ""
    counts.update(json.loads(answer or "{}"))
