"""Prove that a link is what it claims: small packets for round trip and loss, a flood for the rate.

Runs as a program on both sides; what it sends stays between the two namespaces that this benchmark made.
"""

from __future__ import annotations

import json
import math
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarking.hosting import ENVIRONMENT
from benchmarking.links import SERVER, Link, Network

_PORT = 18081
_TRIES = 3
_PROBES = 2000
_PROBE_SECONDS = 0.001
_FLOOD_SECONDS = 1.2
_FLOOD_PAYLOAD = 1400
_FLOOD_PACKET = _FLOOD_PAYLOAD + 28  # with IP and UDP


class WrongLink(Exception):
    """A link is not what it should be; the text has the figures."""


def prove(network: Network) -> dict[str, Any]:
    """Measure the link and compare it with the arithmetic.

    Raises:
        WrongLink: It is something else, however often it is measured.
    """
    assert network.link is not None
    for _ in range(_TRIES):  # what else runs on this machine may come between
        found = _measured(network)
        wrong = differences(network.link, found)
        if not wrong:
            return {"measured": found}
    raise WrongLink(f"{network.link.name}: {'; '.join(wrong)}")


def _measured(network: Network) -> dict[str, float]:
    assert network.link is not None
    program = [sys.executable, __file__]
    echoing = [*network.at_server, *program, "echo"]
    with subprocess.Popen(echoing, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as echo:
        try:
            assert echo.stdout is not None
            echo.stdout.readline()
            asking = [*network.at_client, *program, "ask", str(network.link.rate)]
            said = subprocess.run(asking, stdout=subprocess.PIPE, env=ENVIRONMENT, check=True).stdout
        finally:
            echo.kill()
    found: dict[str, float] = json.loads(said)
    return found


def differences(link: Link, found: dict[str, float]) -> list[str]:
    """In which ways the measured figures contradict the link's own, in words.

    Loss may differ by four standard deviations of so many probes, the round trip by 3 ms (other programs run on this
    machine too), the rate by a tenth.
    """
    wrong = []
    lost = 1 - (1 - link.loss) ** 2  # there and back
    margin = 4 * math.sqrt(max(lost * (1 - lost), 1e-6) / found["probes"])
    if abs(found["lost"] - lost) > margin:
        wrong.append(f"{found['lost']:.2%} of the probes were lost, {lost:.2%} were expected")
    if not link.round_trip <= found["round_trip"] <= link.round_trip * 1.1 + 0.003:
        wrong.append(f"a round trip took {found['round_trip'] * 1e3:.1f} ms instead of {link.round_trip * 1e3:.1f}")
    if abs(found["rate"] / (link.rate * (1 - link.loss)) - 1) > 0.1:
        wrong.append(f"{found['rate'] / 1e6:.1f} Mbit/s came through instead of {link.rate / 1e6:.1f}")
    return wrong


# --- the two programs -------------------------------------------------------------------------------------------------


def _echo() -> None:
    """Send back what comes; a packet that begins with F and a rate asks for a flood at a bit more than that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind((SERVER, _PORT))
        print("ready", flush=True)
        while True:
            data, who = here.recvfrom(2048)
            if data.startswith(b"F"):
                _flood(here, who, float(data[1:]) * 1.3)
            else:
                here.sendto(data, who)


def _flood(here: socket.socket, who: Any, rate: float) -> None:
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < _FLOOD_SECONDS:
        while sent * 8 < now * rate:
            here.sendto(bytes(_FLOOD_PAYLOAD), who)
            sent += _FLOOD_PACKET
        time.sleep(0.0005)


def _ask(rate: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.connect((SERVER, _PORT))
        times = _probe(here)
        here.settimeout(0.5)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        here.send(b"F%f" % rate)
        came = []
        try:
            while True:
                if len(here.recv(2048)) == _FLOOD_PAYLOAD:
                    came.append(time.monotonic())
        except TimeoutError:
            pass
    middle = [when for when in came if when - came[0] > 0.3]  # what the shaper lets pass at once is over by then
    flow = (len(middle) - 1) * _FLOOD_PACKET * 8 / (middle[-1] - middle[0])
    lost = 1 - len(times) / _PROBES
    print(json.dumps({"round_trip": statistics.median(times), "lost": lost, "probes": _PROBES, "rate": flow}))


def _probe(here: socket.socket) -> list[float]:
    """Round trips in seconds, of the probes that came back."""
    here.setblocking(False)
    times: list[float] = []
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < _PROBES * _PROBE_SECONDS + 0.4:
        if sent < _PROBES and now >= sent * _PROBE_SECONDS:
            here.send(b"P%f" % time.monotonic())
            sent += 1
        try:
            times.append(time.monotonic() - float(here.recv(2048)[1:]))
        except BlockingIOError:
            time.sleep(0.0001)
    return times


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        _echo()
    else:
        _ask(float(sys.argv[2]))
