"""The rows of the benchmark: which archives over which network, against whom, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarking.archives import Archives, chosen, up_to
from benchmarking.contestants import (
    Aria,
    Contestant,
    aria_bsdtar,
    aria_unzip,
    bare,
    bsdtar,
    chain,
    command_line,
    curl,
    curl_bsdtar,
    kept,
    openssl,
    ours,
    sequential,
    stage,
    unzip,
)
from benchmarking.links import Link
from benchmarking.sets import Sets

MBIT = 1e6
_ARIAS = (Aria(8, 1), Aria(4, 4), Aria(16, 4))


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody to be compared with.

    Attributes:
        variants: Ways to start it; the one that is fastest in a first try takes part.
        target: What our time divided by its time should be at the most; None where nothing was promised.
        cpu_target: The same for processor time.
    """

    variants: tuple[Contestant, ...]
    target: float | None = None
    cpu_target: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration.

    Attributes:
        key: Its name on the command line.
        title: Its name in the table.
        archives: Makes them; only of a row that is measured.
        link: What the network is like; None for loopback.
        ours: How we take part.
        peers: With whom we are compared.
        limit_target: What our time divided by the link's limit should be at the most.
        by_command_line: The same by command line, which stands beside it; None where there is no command for it.
        on_disk: Whether everything is on a disk, in the user's cache folder.
    """

    key: str
    title: str
    archives: Callable[[], Archives]
    peers: tuple[Peer, ...]
    link: Link | None = None
    ours: Contestant = field(default_factory=ours)
    limit_target: float | None = None
    by_command_line: Contestant | None = field(default_factory=command_line)
    on_disk: bool = False


def _downloads(*variants: Aria) -> tuple[Contestant, ...]:
    return tuple(chain(f"aria2 {aria} + openssl", aria, openssl) for aria in variants)


def _unzips(*variants: Aria) -> tuple[Contestant, ...]:
    return tuple(aria_unzip(aria) for aria in variants)


def _on_loopback(sets: Sets) -> list[Row]:
    return [
        Row(
            "loopback",
            "end to end, loopback",
            sets.wheels,
            (
                Peer(_unzips(Aria(8, 1), Aria(8, 4)), 0.40, 0.50),
                Peer((aria_bsdtar(),), 0.60),
                Peer((curl_bsdtar(),)),
                Peer((sequential(),), 0.28),
                Peer((stage("bound", "two-core bound"),), 1.15),
                Peer((bare(),)),
            ),
        ),
        Row(
            "download",
            "download and hash alone",
            sets.wheels,
            (Peer(_downloads(Aria(8, 1), Aria(8, 4)), 0.80), Peer((chain("curl -Z + openssl", curl, openssl),))),
            ours=stage("download", "ayon-async, download"),
            by_command_line=None,
        ),
        Row(
            "unpack",
            "unpack alone",
            sets.wheels,
            (
                Peer((chain("unzip -P2", unzip, downloads=False),)),
                Peer((chain("bsdtar -P2", bsdtar, downloads=False),)),
            ),
            ours=stage("unpack", "ayon-async, unpack", where=str),
            by_command_line=None,
        ),
    ]


def full(sets: Sets) -> list[Row]:
    """All rows."""
    home = Link("50 Mbit/s, 40 ms", 50 * MBIT, 0.040)
    bad = Link("10 Mbit/s, 100 ms, 1 % loss", 10 * MBIT, 0.100, 0.01)
    capped = Link("1 MiB/s a connection, 100 Mbit/s, 20 ms", 100 * MBIT, 0.020, per_connection=1 << 20)
    fast = Link("200 Mbit/s, 10 ms", 200 * MBIT, 0.010)
    lazily = Peer((sequential(),))

    def many() -> Archives:
        return sets.tiny(300)

    def one_and_many() -> Archives:
        return (*chosen(sets.wheels(), "pyarrow"), *sets.tiny(100))

    def smallest(size: int) -> Callable[[], Archives]:
        return lambda: up_to(sets.wheels(), size)

    return [
        *_on_loopback(sets),
        Row("disk", "end to end, loopback, on a disk", sets.wheels, (Peer((aria_unzip(),)), Peer((aria_bsdtar(),))),
            on_disk=True),
        Row("real", "a real bundle, loopback", sets.real_bundle,
            (Peer(_unzips(Aria(8, 1), Aria(8, 4)), 0.40), lazily)),
        Row("mixed", "one large and 100 tiny, loopback", one_and_many, (Peer(_unzips(Aria(16, 1))), lazily)),
        Row("tiny", "300 archives of 20 KB, loopback", many,
            (Peer((sequential(),), 0.5), Peer(_unzips(Aria(16, 1))), Peer((bare(),)), Peer((kept(),)))),
        Row("other", "tars, a huge zip, stored zips, loopback", sets.other, (Peer((aria_bsdtar(),)),)),
        Row("fast", "a real bundle, 200 Mbit/s, 10 ms", sets.real_bundle, (Peer(_unzips(Aria(8, 1), Aria(8, 4))),),
            fast, limit_target=1.10),
        Row("home", "50 Mbit/s, 40 ms", smallest(60_000_000),
            (Peer(_unzips(*_ARIAS), 1.0), Peer((sequential(),), 0.76)), home),
        Row("bad", "10 Mbit/s, 100 ms, 1 % loss", smallest(12_000_000),
            (Peer(_unzips(*_ARIAS), 0.80), Peer((sequential(),), 0.28)), bad),
        Row("far", "300 archives of 20 KB, 50 Mbit/s, 40 ms", many,
            (Peer((sequential(),), 0.5), Peer(_unzips(Aria(16, 1)))), home),
        Row("capped", "1 MiB/s a connection, 100 Mbit/s, 20 ms", smallest(100_000_000),
            (Peer((sequential(),), 0.12), Peer(_unzips(Aria(16, 1), Aria(4, 16), Aria(16, 16)))), capped,
            ours=ours(16), by_command_line=command_line(16), limit_target=1.20),
    ]  # fmt: skip


def small(sets: Sets) -> list[Row]:
    """A quick look: few rows, few bytes, nearly every kind of contestant."""
    quick = Link("20 Mbit/s, 20 ms, 1 % loss", 20 * MBIT, 0.020, 0.01)
    peers = (
        Peer((aria_unzip(),)), Peer((curl_bsdtar(),)), Peer((sequential(),)), Peer((stage("bound", "bound"),)),
        Peer((bare(),)), Peer((kept(),)),
    )  # fmt: skip
    download = stage("download", "ayon-async, download")
    return [
        Row("loopback", "end to end, loopback", sets.library, peers),
        Row("download", "download and hash alone", sets.library, (Peer(_downloads(Aria())),),
            ours=download, by_command_line=None),
        Row("network", quick.name, lambda: sets.library()[:4], (Peer((aria_bsdtar(),)),), quick,
            by_command_line=None),
    ]  # fmt: skip
