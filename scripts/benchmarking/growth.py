"""How time and memory grow: with the number of archives, with one archive's size, with its members."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarking import archives
from benchmarking.archives import Archives, total
from benchmarking.contestants import Emptied, ours, sequential
from benchmarking.figures import ratios, slope
from benchmarking.hosting import serving
from benchmarking.links import LOOPBACK
from benchmarking.measuring import Cost
from benchmarking.sets import Sets
from environment import say

MEGABYTE = 1_000_000
_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Point:
    """One set, synced several times by us and by the simple way in turns.

    Attributes:
        count: How many there are of what grows.
        wall: Seconds, our median.
        private: Bytes of memory, our median.
        theirs: Seconds, the median of the simple way.
        ratio: Ours divided by theirs, the median of the pairs.
    """

    count: float
    wall: float
    private: float
    theirs: float
    ratio: float

    @classmethod
    def of(cls, count: float, mine: Sequence[Cost], theirs: Sequence[Cost]) -> Point:
        """From what the runs cost."""
        walls, others = [cost.wall for cost in mine], [cost.wall for cost in theirs]
        private = statistics.median([cost.private for cost in mine])
        ratio = ratios(walls, others).median
        return cls(count, statistics.median(walls), private, statistics.median(others), ratio)


@dataclass(frozen=True, slots=True)
class Growth:
    """One series.

    Attributes:
        title: What grows.
        unit: What one more of it is.
        points: What was measured.
    """

    title: str
    unit: str
    points: tuple[Point, ...]

    @property
    def start(self) -> float:
        """Seconds that a sync takes whatever the count."""
        return max(0.0, self._line[0])

    @property
    def each(self) -> float:
        """Seconds that one more takes."""
        return self._line[1]

    @property
    def off(self) -> float:
        """How far a point lies from the line at the most, as a share of what the line says."""
        return max(abs(point.wall / (self.start + self.each * point.count) - 1) for point in self.points)

    @property
    def _line(self) -> tuple[float, float]:
        return slope([(point.count, point.wall) for point in self.points])

    @property
    def memory_each(self) -> float:
        """Bytes of memory that one more takes."""
        return slope([(point.count, point.private) for point in self.points])[1]

    def as_json(self) -> dict[str, object]:
        """All of it, for the file."""
        line = {"start_seconds": self.start, "seconds_each": self.each, "off": self.off, "bytes_each": self.memory_each}
        return {**asdict(self), **line}


def series(title: str, unit: str, sets: Sequence[tuple[float, Callable[[], Archives]]], folder: Path) -> Growth:
    """Several syncs of each set; its archives are made when its turn comes."""
    points = []
    for count, make in sets:
        with serving(make(), folder / "site", LOOPBACK) as site:
            place = Emptied(folder / "work")
            pairs = [(place.run(ours(), site), place.run(sequential(), site)) for _ in range(_PAIRS)]
        point = Point.of(count, *zip(*pairs, strict=True))
        points.append(point)
        say(f"{title} {count:g}: {point.wall:.2f} s, {point.ratio:.2f} of {point.theirs:.2f}")
    return Growth(title, unit, tuple(points))


def all_of(sets: Sets, folder: Path) -> list[Growth]:
    """The three series; large archives are made anew each time, in the folder."""
    made, corpus = folder / "made", sets.wheels()

    def tiny(count: int) -> Callable[[], Archives]:
        return lambda: sets.tiny(count)

    def sized(size: int) -> Callable[[], Archives]:
        return lambda: (archives.of_size(made, corpus, size * MEGABYTE),)

    def many(count: int) -> Callable[[], Archives]:
        return lambda: (archives.of_members(made, corpus, count),)

    counts = (10, 30, 100, 300, 1000, 3000)
    sizes = (1, 10, 100, 500, 2000)
    members = (1, 10, 100, 1000, 10_000, 100_000)
    return [
        series("number of archives", "archive of 20 KB", [(n, tiny(n)) for n in counts], folder),
        series("size of one archive", "MB", [(n, sized(n)) for n in sizes], folder),
        series("members of one archive", "member of 1 KB", [(n, many(n)) for n in members], folder),
    ]


def shares(found: Sequence[Growth], corpus: Archives, members: int) -> dict[str, float]:
    """What dominates a sync of the corpus, if it were the sum of the slopes: the seconds of each kind.

    The members of a size's series are 1 MiB each, those of the other two are small: nothing is counted twice that
    matters.
    """
    by_archive, by_size, by_member = (growth.each for growth in found)
    megabytes = total(corpus) / MEGABYTE
    return {"archives": by_archive * len(corpus), "bytes": by_size * megabytes, "members": by_member * members}
