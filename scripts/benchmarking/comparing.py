"""Measure one row: pairs A B A B with each peer, the result checked once."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarking.archives import folder_of, total
from benchmarking.checking import check, check_digests
from benchmarking.contestants import Contestant, Emptied
from benchmarking.figures import Spread, ratios
from benchmarking.hosting import Site, serving
from benchmarking.links import LOOPBACK, Network, network
from benchmarking.measuring import Cost
from benchmarking.proving import prove
from benchmarking.rows import Peer, Row
from environment import say


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours and one peer's runs, taken in turns.

    Attributes:
        peer: Name.
        ours: Our costs.
        theirs: Its costs.
        target: Of the ratio of wall times.
        cpu_target: Of the ratio of processor times.
    """

    peer: str
    ours: list[Cost]
    theirs: list[Cost]
    target: float | None
    cpu_target: float | None

    @property
    def wall(self) -> Spread:
        """Our wall time divided by its."""
        return ratios([cost.wall for cost in self.ours], [cost.wall for cost in self.theirs])

    @property
    def cpu(self) -> Spread:
        """Our processor time divided by its, start-up included on both sides."""
        return ratios([cost.cpu for cost in self.ours], [cost.cpu for cost in self.theirs])


@dataclass(slots=True)
class Result:
    """A measured row.

    Attributes:
        count: Of the archives.
        size: Bytes of the archives.
        limit: Seconds that the link needs for them; None on loopback.
        comparisons: One a peer.
        command_line: Costs of the same by command line.
        checked: Archives whose installation, or digest, was compared with another program's.
        proof: What the link was measured to be, and what it did.
    """

    row: Row
    count: int
    size: int
    limit: float | None
    comparisons: list[Comparison] = field(default_factory=list)
    command_line: list[Cost] = field(default_factory=list)
    checked: int = 0
    proof: dict[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> list[Cost]:
        """All our runs."""
        return [cost for comparison in self.comparisons for cost in comparison.ours]

    @property
    def against_limit(self) -> Spread | None:
        """Our wall time divided by the link's limit."""
        return Spread.of([cost.wall / self.limit for cost in self.ours]) if self.limit else None

    def as_json(self) -> dict[str, Any]:
        """All of it, for the file."""
        link = asdict(self.row.link) if self.row.link else None
        return {
            "key": self.row.key,
            "title": self.row.title,
            "archives": self.count,
            "bytes": self.size,
            "link": link,
            "limit_seconds": self.limit,
            "against_limit": asdict(self.against_limit) if self.against_limit else None,
            "limit_target": self.row.limit_target,
            "comparisons": [
                {**asdict(one), "wall_ratio": asdict(one.wall), "cpu_ratio": asdict(one.cpu)}
                for one in self.comparisons
            ],
            "command_line": [asdict(cost) for cost in self.command_line],
            "checked_archives": self.checked,
            "network": self.proof,
        }


def measure(row: Row, folder: Path, pairs: int) -> Result:
    """Measure one row.

    Args:
        folder: Where everything of it is kept; emptied before and after.
        pairs: Pairs with each peer.

    Raises:
        NoCorpus: The archives can't be had.
        NoNetwork: This machine can't have the row's network.
        WrongResult: What we or they made of the archives is wrong.
    """
    archives = row.archives()
    size = total(archives)
    result = Result(row, len(archives), size, row.link.limit(size) if row.link else None)
    with _reached(row, result) as reached, serving(archives, folder / "site", reached) as site:
        place = Emptied(folder / "work")
        place.run(row.ours, site)  # to warm up caches; and there is a result to check
        if row.ours.where is not None:
            recorded = row.ours.where is folder_of
            result.checked = check(site, place.path, row.ours.where, folder / "spare", recorded=recorded)
        else:
            result.checked = check_digests(site, place.path)
        for peer in row.peers:
            chosen = _fastest(peer, place, site)
            mine, theirs = [], []
            for _ in range(pairs):
                mine.append(place.run(row.ours, site))
                theirs.append(place.run(chosen, site))
            if row.ours.where is not None and chosen.where is not None:
                check(site, place.path, chosen.where, folder / "spare")
            result.comparisons.append(Comparison(chosen.name, mine, theirs, peer.target, peer.cpu_target))
            say(f"{row.key}: {result.comparisons[-1].wall.text()} of {chosen.name}")
        if row.by_command_line is not None:
            result.command_line = [place.run(row.by_command_line, site) for _ in range(pairs)]
    return result


@contextlib.contextmanager
def _reached(row: Row, result: Result) -> Iterator[Network]:
    if row.link is None:
        yield LOOPBACK
        return
    with network(row.link) as (between, counts):
        result.proof |= prove(between)
        yield between
    result.proof |= {"relay": counts}


def _fastest(peer: Peer, place: Emptied, site: Site) -> Contestant:
    if len(peer.variants) == 1:
        return peer.variants[0]
    return min(peer.variants, key=lambda variant: statistics.median([place.run(variant, site).wall]))
