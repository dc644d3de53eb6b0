"""What is no race: a sync with nothing to do, the start of the program, memory, and the loop's longest step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarking.archives import Archives
from benchmarking.contestants import Emptied, ayon_async, ours
from benchmarking.figures import Spread, ratios
from benchmarking.hosting import ENVIRONMENT, serving
from benchmarking.links import LOOPBACK
from benchmarking.measuring import Cost, run


@dataclass(frozen=True, slots=True)
class Standing:
    """One figure with what is aimed at.

    Attributes:
        title: What is measured.
        value: Its values over several runs.
        target: The most it should be; None where nothing was promised.
        unit: Of value and target.
        beside: Further figures of the same runs, in words.
    """

    title: str
    value: Spread
    target: float | None
    unit: str = ""
    beside: str = ""

    def as_json(self) -> dict[str, object]:
        """All of it, for the file."""
        return asdict(self)


def bare_import() -> Cost:
    """What any asyncio client with aiohttp pays before it does anything."""
    return run([sys.executable, "-c", "import aiohttp"], env=ENVIRONMENT)[0]


def starts(archives: Archives, folder: Path, runs: int) -> list[Standing]:
    """How long the program takes to start, and to tell that all these archives are missing."""
    found = []
    with serving(archives, folder / "site", LOOPBACK) as site:
        status = ("status", "--server", site.ayon, "--storage-dir", str(folder / "store"))
        for arguments, what, target in ((("--version",), "", 0.5), (status, f", {len(archives)} items missing", None)):
            ayon_async(*arguments, home=folder, fine=range(10))  # to write what Python keeps of modules
            pairs = [(ayon_async(*arguments, home=folder, fine=range(10)), bare_import()) for _ in range(runs)]
            found.append(_beside_import(f"`ayon-async {arguments[0]}`{what}", pairs, target))
    return found


def _beside_import(title: str, pairs: list[tuple[Cost, Cost]], target: float | None, more: str = "") -> Standing:
    mine, bare = zip(*pairs, strict=True)
    ratio = ratios([cost.wall for cost in mine], [cost.wall for cost in bare])
    wall = Spread.of([cost.wall for cost in mine])
    return Standing(f"{title}, against `import aiohttp`", ratio, target, beside=f"{wall.median * 1e3:.0f} ms{more}")


def no_op(archives: Archives, folder: Path, runs: int) -> list[Standing]:
    """A sync with nothing to do: time, requests and files that it touched."""
    with serving(archives, folder / "site", LOOPBACK) as site:
        store = Emptied(folder / "work")
        store.run(ours(), site)
        command = ("sync", "--server", site.ayon, "--storage-dir", str(store.path), "--quiet")
        ayon_async(*command, home=folder)
        before = _state(store.path)
        requests, pairs = [], []
        site.requests()
        for _ in range(runs):
            warm = ayon_async(*command, home=folder)
            requests.append(site.requests())
            pairs.append((warm, bare_import()))
        after = _state(store.path)
    touched = sum(before.get(path) != state for path, state in after.items()) + len(before.keys() - after.keys())
    few = len(archives) <= 20
    title = f"sync with nothing to do, {len(archives)} items"
    beside = f", {touched} files touched in {runs} runs"
    return [
        _beside_import(title, pairs, 1.6 if few else None, beside),
        Standing(f"{title}: requests", Spread.of(requests), 1 if few else None),
    ]


def _state(folder: Path) -> dict[Path, tuple[int, int, int]]:
    stats = {path: path.lstat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def bounds(archives: Archives, folder: Path, runs: int) -> list[Standing]:
    """Memory with 16 archives at once, and the longest time that the event loop was busy with one thing."""
    with serving(archives, folder / "site", LOOPBACK) as site:
        place = Emptied(folder / "work")
        costs = [place.run(ours(16, "--steps"), site) for _ in range(runs)]
    memory = Spread.of([cost.private / (1 << 20) for cost in costs])
    steps = Spread.of([cost.more["step"] * 1e3 for cost in costs])
    return [
        Standing("private memory, 16 connections", memory, 200, "MiB"),
        Standing("longest step of the event loop, its own processor time", steps, 50, "ms"),
    ]


def all_of(small: Archives, tiny: Callable[[int], Archives], folder: Path, runs: int) -> list[Standing]:
    """Everything here.

    Args:
        small: For memory and the loop's steps.
        tiny: Makes so many archives, for syncs with nothing to do.
    """
    found = starts(tiny(20), folder / "start", runs)
    for count in (20, 500):
        found += no_op(tiny(count), folder / "warm", runs)
    return found + bounds(small, folder / "bounds", runs)
