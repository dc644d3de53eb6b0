"""How time and memory grow: with the number of archives, with one archive's size, with its members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarking import archives
from benchmarking.archives import Archives, total
from benchmarking.contestants import Emptied, ours
from benchmarking.figures import slope
from benchmarking.hosting import serving
from benchmarking.links import LOOPBACK
from benchmarking.measuring import Cost

MEGABYTE = 1_000_000
_LONG = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Growth:
    """One series.

    Attributes:
        title: What grows.
        unit: What one more of it is.
        counts: How many of these.
        costs: What a sync then cost.
    """

    title: str
    unit: str
    counts: tuple[float, ...]
    costs: tuple[Cost, ...]

    @property
    def start(self) -> float:
        """Seconds that a sync takes whatever the count."""
        return max(0.0, self._line[0])

    @property
    def each(self) -> float:
        """Seconds that one more takes."""
        return self._line[1]

    @property
    def _line(self) -> tuple[float, float]:
        return slope([(count, cost.wall) for count, cost in zip(self.counts, self.costs, strict=True)])

    @property
    def memory_each(self) -> float:
        """Bytes of memory that one more takes."""
        return slope([(count, cost.private) for count, cost in zip(self.counts, self.costs, strict=True)])[1]

    def as_json(self) -> dict[str, object]:
        """All of it, for the file."""
        line = {"start_seconds": self.start, "seconds_each": self.each, "bytes_each": self.memory_each}
        return {**asdict(self), **line}


def series(
    title: str,
    unit: str,
    sets: Sequence[tuple[float, Callable[[], Archives]]],
    folder: Path,
    say: Callable[[str], None],
) -> Growth:
    """Three syncs of each set, or one where that takes long; the archives of a set are made when its turn comes."""
    costs = []
    for count, make in sets:
        with serving(make(), folder / "site", LOOPBACK) as site:
            tries = [Emptied(folder / "work").run(ours(), site)]
            if tries[0].wall < _LONG:
                tries += [Emptied(folder / "work").run(ours(), site) for _ in range(2)]
        cost = sorted(tries, key=lambda cost: cost.wall)[len(tries) // 2]
        costs.append(cost)
        say(f"{title} {count:g}: {cost.wall:.2f} s, {cost.private >> 20} MiB")
    return Growth(title, unit, tuple(count for count, _ in sets), tuple(costs))


def all_of(cache: Path, corpus: Archives, folder: Path, say: Callable[[str], None]) -> list[Growth]:
    """The three series; large archives are made anew each time, in the folder."""
    made = folder / "made"

    def tiny(count: int) -> Callable[[], Archives]:
        return lambda: archives.tiny(cache, corpus, count)

    def sized(size: int) -> Callable[[], Archives]:
        return lambda: (archives.of_size(made, corpus, size * MEGABYTE),)

    def many(count: int) -> Callable[[], Archives]:
        return lambda: (archives.of_members(made, corpus, count),)

    counts = (10, 30, 100, 300, 1000, 3000)
    sizes = (1, 10, 100, 500, 2000)
    members = (1, 10, 100, 1000, 10_000, 100_000)
    return [
        series("number of archives", "archive of 20 KB", [(n, tiny(n)) for n in counts], folder, say),
        series("size of one archive", "MB", [(n, sized(n)) for n in sizes], folder, say),
        series("members of one archive", "member of 1 KB", [(n, many(n)) for n in members], folder, say),
    ]


def shares(found: Sequence[Growth], corpus: Archives, members: int) -> dict[str, float]:
    """What dominates a sync of the corpus, if it were the sum of the slopes: the seconds of each kind.

    The members of a size's series are 1 MiB each, those of the other two are small: nothing is counted twice that
    matters.
    """
    by_archive, by_size, by_member = (growth.each for growth in found)
    megabytes = total(corpus) / MEGABYTE
    return {"archives": by_archive * len(corpus), "bytes": by_size * megabytes, "members": by_member * members}
