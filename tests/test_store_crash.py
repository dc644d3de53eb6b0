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

from ayon_async.devserver import DevServer, client_zip, package
from ayon_async.store.staging import is_done
from cli_machine import Machine
from store_processes import OURS, Step, Zygote, content, leftovers
from studios import studio

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")

CORE = client_zip("core", "1.0.0", 3_000_000)
PACKAGE = package("tiny.zip", client_zip("tiny", "1", 20_000))
STUDIO = studio({"core 1.0.0": CORE}, packages=[PACKAGE])
MIB = 1 << 20

STEPS: dict[str, Step] = {
    "make the store": ("make_folder", "addons/.ayon-async", 1),
    "make the private folders": ("make_folder", "addons/.ayon-async/staging", 1),
    "write the marker": ("write", "addons/.ayon-async/.store.json.*.tmp", 1),
    "name the marker": ("link", "addons/.ayon-async/.store.json.*.tmp", 1),
    "drop the marker's other name": ("remove", "addons/.ayon-async/.store.json.*.tmp", 1),
    "write the lease": ("write", "addons/.ayon-async/locks/core_1.0.0.lease", 1),
    "begin to count": ("set_time", "addons/.ayon-async/locks/core_1.0.0.lease", 1),
    "open the part": ("open_part", "addons/.ayon-async/parts/*.part", 1),
    "write the part": ("write_at", "addons/.ayon-async/parts/*.part", 2),
    "write the sidecar": ("write", "addons/.ayon-async/parts/.*.json.*.tmp", 2),
    "replace the sidecar": ("replace", "addons/.ayon-async/parts/.*.json.*.tmp", 2),
    "make the staged folder": ("make_folder", "addons/.ayon-async/staging/core_1.0.0.*", 1),
    "create a member": ("open_new", "addons/.ayon-async/staging/core_1.0.0.*/ayon_core/version.py", 1),
    "write a member": ("write", "addons/.ayon-async/staging/core_1.0.0.*/ayon_core/data.bin", 2),
    "flush the members": ("flush_tree", "addons/.ayon-async/staging/core_1.0.0.*", 1),
    "write our record": ("write", "addons/.ayon-async/staging/core_1.0.0.*/.ayon-async.json", 1),
    "write the launcher's record": ("write", "addons/.ayon-async/staging/core_1.0.0.*/dist_progress.json", 1),
    "flush the launcher's record": ("flush", "addons/.ayon-async/staging/core_1.0.0.*/dist_progress.json", 1),
    "flush the staged folder": ("flush_folder", "addons/.ayon-async/staging/core_1.0.0.*", 1),
    "remove the sidecar": ("remove", "addons/.ayon-async/parts/*.json", 1),
    "remove the part": ("remove", "addons/.ayon-async/parts/*.part", 1),
    "set the old folder aside": ("rename", "addons/core_1.0.0", 1),
    "rename": ("rename", "addons/.ayon-async/staging/core_1.0.0.*", 1),
    "flush the parent": ("flush_folder", "addons", 1),
    "remove the old folder": ("remove_tree", "addons/.ayon-async/staging/core_1.0.0.old-*", 1),
    "give the lease back": ("remove", "addons/.ayon-async/locks/core_1.0.0.lease", 1),
    "write the list": ("write", "addons/.addons.json.*.tmp", 1),
    "replace the list": ("replace", "addons/.addons.json.*.tmp", 1),
}


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
    unfinished = machine.storage / "addons/core_1.0.0"
    (unfinished / "ayon_core").mkdir(parents=True)
    (unfinished / "ayon_core/old.py").write_text("half = True\n")
    (unfinished / "dist_progress.json").write_text('{"state": "failed"}')
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


def check_never_half(storage: Path, right: Right) -> None:
    """An item's folder that says it is complete is complete."""
    there = content(storage)
    for folder in (storage / "addons/core_1.0.0", storage / "dependency_packages/tiny.zip"):
        if is_done(folder):
            prefix = folder.relative_to(storage).as_posix()
            assert {p: c for p, c in there.items() if p.startswith(prefix)} == {
                p: c for p, c in right.content.items() if p.startswith(prefix)
            }


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
    check_never_half(victim.storage, right)
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
