"""A process that is killed at any step: what it leaves is never half, and a plain sync repairs all of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ayon_async.devserver import DevServer
from ayon_async.store.staging import is_done
from cli_machine import Machine
from store_processes import OURS, Step, Zygote, content, leftovers
from store_steps import CORE, PACKAGE, STEPS, STUDIO, below, check_never_half, leave_unfinished
from studios import small, studio

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")

MIB = 1 << 20


@dataclass(frozen=True)
class Right:
    """How it goes where nothing is killed.

    Attributes:
        steps: All of them.
        content: What the store shows in the end.
    """

    steps: list[Step]
    content: dict[str, Any]


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def right(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Right:
    async def go() -> Right:
        async with DevServer(STUDIO) as server:
            return await go_right(zygote, server, tmp_path_factory.mktemp("right"))

    return asyncio.run(go())


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(STUDIO) as server:
        yield server


def machine(folder: Path, server: DevServer) -> Machine:
    """One with a folder that a launcher did not finish."""
    folder.mkdir()
    machine = Machine(folder, server.url)
    leave_unfinished(machine.storage)
    return machine


async def go_right(zygote: Zygote, server: DevServer, tmp_path: Path) -> Right:
    whole = machine(tmp_path / "right", server)
    done = await zygote.run(whole, "sync", "--jobs", "1", log=tmp_path / "steps")
    assert done.code == 0, done.err
    assert leftovers(whole.storage) == []
    counts: Counter[tuple[str, str]] = Counter()
    steps = []
    for line in (tmp_path / "steps").read_text().splitlines():
        name, label = json.loads(line)
        counts[name, label] += 1
        steps.append((name, label, counts[name, label]))
    return Right(steps, content(whole.storage))


def needed(storage: Path) -> dict[str, int]:
    """Bytes that a further sync has to ask for at the most, by path on the server."""
    found = {}
    for kind, folder, size, path in (
        ("addons", "core_1.0.0", len(CORE), "/addons/core/*"),
        ("dependency_packages", "tiny.zip", PACKAGE.info["size"], "/api/desktop/dependencyPackages/*"),
    ):
        ours = storage / kind / OURS
        staged = [path for path in ours.glob(f"staging/{folder}.*") if is_done(path)]
        parts = sum(path.stat().st_size for path in ours.glob("parts/*.part"))
        here = size if staged or is_done(storage / kind / folder) else parts
        found[path] = 0 if here == size and not parts else min(size, size - here + 2 * MIB)
    return found


async def die_and_recover(zygote: Zygote, server: DevServer, folder: Path, right: Right, step: Step) -> None:
    """Kill a sync at the step and sync again: all is as if nothing had happened."""
    victim = machine(folder, server)
    killed = await zygote.run(victim, "sync", "--jobs", "1", kill=step)
    assert killed.code == -9, f"{step} never came: {killed.err}"
    check_never_half(victim.storage, right.content)
    limits = needed(victim.storage)
    server.forget_requests()
    again = await zygote.run(victim, "sync", "--json", "--jobs", "1")
    assert again.code == 0, again.err
    assert again.document["warnings"] == []
    there = content(victim.storage)
    assert {path for path in right.content if there.get(path) != right.content[path]} == set()
    for path in right.content:
        assert there[path] == right.content[path], path
    assert there == right.content
    assert leftovers(victim.storage) == []
    asked = {path: server.bytes_asked(path) - len(server.requests_to(path)) for path in limits}
    assert all(asked[path] <= limits[path] for path in limits), (asked, limits)


@pytest.mark.parametrize("name", STEPS)
async def test_killed_at_a_step(zygote: Zygote, server: DevServer, tmp_path: Path, right: Right, name: str) -> None:
    await die_and_recover(zygote, server, tmp_path / "victim", right, STEPS[name])


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_killed_at_every_step(zygote: Zygote, server: DevServer, tmp_path: Path, right: Right) -> None:
    for number, step in enumerate(right.steps):
        await die_and_recover(zygote, server, tmp_path / f"victim-{number}", right, step)
    print(f"{len(right.steps)} kill points tried")


STAGED = "addons/.ayon-async/staging/addon*"
TOGETHER: dict[str, Step] = {
    "make a staged folder": ("make_folder", STAGED, 5),
    "write our record": ("write", f"{STAGED}/.ayon-async.json", 3),
    "write the first launcher's record": ("write", f"{STAGED}/dist_progress.json", 1),
    "write a launcher's record": ("write", f"{STAGED}/dist_progress.json", 5),
    "rename the first": ("rename", STAGED, 1),
    "rename": ("rename", STAGED, 4),
    "flush the parent": ("flush_folder", "addons", 1),
    "give a lease back": ("remove", "addons/.ayon-async/locks/addon*.lease", 3),
}
"""Steps of small archives, which go on together."""


@pytest.mark.parametrize("name", TOGETHER)
async def test_killed_among_many_small_ones(zygote: Zygote, tmp_path: Path, name: str) -> None:
    async with DevServer(studio(small(*[f"addon{number} 1.0.0" for number in range(8)]))) as server:
        (tmp_path / "whole").mkdir()
        (tmp_path / "victim").mkdir()
        whole, victim = Machine(tmp_path / "whole", server.url), Machine(tmp_path / "victim", server.url)
        assert (await zygote.run(whole, "sync")).code == 0
        right = content(whole.storage)
        killed = await zygote.run(victim, "sync", kill=TOGETHER[name])
        assert killed.code == -9, f"it never came: {killed.err}"
        there = content(victim.storage)
        complete = [folder for folder in (victim.storage / "addons").glob("addon*_1.0.0") if is_done(folder)]
        for folder in complete:
            assert below(there, f"addons/{folder.name}") == below(right, f"addons/{folder.name}")
        again = await zygote.run(victim, "sync")
        assert again.code == 0, again.err
        assert content(victim.storage) == right
        assert leftovers(victim.storage) == []
