"""Many archives over a network on which every third request fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer
from ayon_async.devserver.faults import Busy, Drop, Fault, IgnoresRange, NewETag, Reset, Status, Truncated
from transfer_bench import archive, assert_right, offering, path_of, run, sent

PROBABILITY = 0.3


def add_faults(dev: DevServer, sizes: dict[str, int], seed: int) -> None:
    """Let every request fail with this probability, in one way or another."""
    dice = random.Random(seed)
    for name, size in sizes.items():
        for attempt in range(1, 60):
            if dice.random() < PROBABILITY:
                dev.faults.add(path_of(name), one_of(dice, size), attempts=attempt)


def one_of(dice: random.Random, size: int) -> Fault:
    part = dice.randrange(size)
    faults = (Drop(-1), Drop(part), Reset(-1), Reset(part // 2), Truncated(part), Status(500), Status(502))
    rare = (Busy(503), Busy(429), IgnoresRange(), NewETag("other"))
    return dice.choice(rare if dice.random() < 0.1 else faults)


async def soak(folder: Path, size: int, seed: int) -> float:
    """How many times the archives' bytes were sent."""
    dice = random.Random(seed)
    contents = {f"addon{number}": archive(str(number), dice.randrange(size // 2, size)) for number in range(200)}
    async with DevServer(offering(contents)) as dev:
        add_faults(dev, {name: len(content) for name, content in contents.items()}, seed)
        report = await run(dev, folder, jobs=8)
        assert_right(report, folder, contents)
        total = sum(map(len, contents.values()))
        struck = sum(rule.hits for rule in dev.faults.rules)
        print(f"{struck} of {len(dev.requests)} requests failed, {sent(dev) / total:.3f} times the bytes")
        assert struck > 50
        assert report.bytes_downloaded <= sent(dev)
        return sent(dev) / total


async def test_two_hundred_archives(tmp_path: Path) -> None:
    assert await soak(tmp_path, 20_000, seed=7) <= 1.3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
async def test_two_hundred_larger_archives(tmp_path: Path, seed: int) -> None:
    assert await soak(tmp_path, 2_000_000, seed=seed) <= 1.3
