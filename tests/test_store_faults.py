"""The order of a sync's steps on disk, and what comes of it when one of them fails: never half, and repaired later."""

from __future__ import annotations

import errno
import itertools
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from ayon_async import SyncReport, fs
from ayon_async.devserver import DevServer, addon, zip_bytes
from ayon_async.errors import ItemError, StoreError, StoreFull
from ayon_async.store import staging
from store_processes import Step, content, leftovers
from store_steps import STEPS, STUDIO, below, check_never_half, leave_unfinished
from store_zygote import CHANGES, Watcher, watch_changes
from studios import item_of, small, states, studio, synced, why

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files have no names to be told by on Windows")

FAILURES = (errno.ENOSPC, errno.EIO, errno.EROFS)
STAGED = "addons/.ayon-async/staging/core_1.0.0.*"


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(STUDIO) as server:
        yield server


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Watcher], None]:
    """Lets a watcher see every change until the test, or another watcher, ends it."""
    originals = {name: getattr(fs, name) for name in CHANGES}

    def watch(watcher: Watcher) -> None:
        for name, original in originals.items():
            monkeypatch.setattr(fs, name, original)
        watch_changes(watcher)

    return watch


async def run(server: DevServer, storage: Path) -> SyncReport:
    return await synced(server, storage, jobs=1)


async def steps_of(server: DevServer, storage: Path, watch: Callable[[Watcher], None]) -> list[Step]:
    """All steps of a sync, in their order."""
    counts: Counter[tuple[str, str]] = Counter()
    steps: list[Step] = []

    def note(name: str, label: str, arguments: tuple[Any, ...]) -> None:
        counts[name, label] += 1
        steps.append((name, label, counts[name, label]))

    leave_unfinished(storage)
    watch(note)
    report = await run(server, storage)
    watch(lambda *step: None)
    assert report.ok, report
    return steps


# --- the order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False], ids=["one call for all", "file by file"])
async def test_members_then_records_then_rename_then_parent(
    server: DevServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    watch: Callable[[Watcher], None],
    at_once: bool,
) -> None:
    """Nothing that the rename makes visible, and nothing that says `done`, is ahead of what it vouches for."""
    if not at_once:
        monkeypatch.setattr(fs, "flush_file_system", lambda folder, fd=None: False)
    calls = [(name, label) for name, label, _ in await steps_of(server, tmp_path / "store", watch)]

    def first(name: str, label: str) -> int:
        return calls.index((name, label))

    def last(name: str, label: str) -> int:
        return len(calls) - 1 - calls[::-1].index((name, label))

    members = [f"{STAGED}/ayon_core/{name}" for name in ("__init__.py", "version.py", "bin/launch", "data.bin")]
    records = [f"{STAGED}/.ayon-async.json", f"{STAGED}/dist_progress.json"]
    for member in members:
        flush = first("flush_tree", STAGED) if at_once else first("flush", member)
        assert last("write", member) < flush < first("open_new", records[0])
    if not at_once:
        for folder in (f"{STAGED}/ayon_core", f"{STAGED}/ayon_core/bin"):
            assert first("flush_folder", folder) < first("open_new", records[0])
    ours, launchers = records
    assert last("write", ours) < last("flush", ours) < first("open_new", launchers)
    assert last("write", launchers) < last("flush", launchers) < last("flush_folder", STAGED) < first("rename", STAGED)
    assert calls[first("rename", STAGED) + 1 :].index(("flush_folder", "addons")) >= 0
    parent = first("flush_folder", "addons")
    assert first("rename", "addons/core_1.0.0") < first("rename", STAGED) < parent
    assert parent < first("remove_tree", "addons/.ayon-async/staging/core_1.0.0.old-*")


# --- steps that fail ------------------------------------------------------------------------------------------------


def failing(step: Step, number: int, every: bool = False) -> Watcher:
    """Fails one step as the system would, writes in the middle of it; or all such steps from this one on."""
    name, pattern, nth = step
    calls = itertools.count(1)

    def fail(called: str, label: str, arguments: tuple[Any, ...]) -> None:
        if called != name or not fnmatchcase(label, pattern):
            return
        call = next(calls)
        if call == nth or (every and call > nth):
            if name == "write":
                os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
            elif name == "write_at":
                os.pwrite(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
            raise OSError(number, os.strerror(number))

    return fail


async def fail_and_recover(
    server: DevServer,
    storage: Path,
    right: dict[str, Any],
    watch: Callable[[Watcher], None],
    step: Step,
    number: int,
) -> None:
    """Fail a step of a sync and sync again: the first run says what is wrong, the second one is right."""
    leave_unfinished(storage)
    watch(failing(step, number))
    failed = await run(server, storage)
    watch(lambda *step: None)
    check_never_half(storage, right)
    assert failed.error is None, failed.error
    assert failed.exit_code in (0, 1)
    for item in failed.items:
        assert (item.state == "failed") == (item.error is not None)
        assert item.error is None or (isinstance(item.error, ItemError) and item.error.hint), item.error
    if failed.ok:
        assert below(content(storage), "addons/core_1.0.0") == below(right, "addons/core_1.0.0")
    again = await run(server, storage)
    assert (again.ok, again.warnings) == (True, ()), (step, again)
    assert content(storage) == right, step
    assert leftovers(storage) == [], step


@pytest.mark.parametrize("name", STEPS)
async def test_step_that_fails(server: DevServer, tmp_path: Path, watch: Callable[[Watcher], None], name: str) -> None:
    await steps_of(server, tmp_path / "right", watch)
    right = content(tmp_path / "right")
    number = FAILURES[list(STEPS).index(name) % len(FAILURES)]
    await fail_and_recover(server, tmp_path / "store", right, watch, STEPS[name], number)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_every_step_that_fails(server: DevServer, tmp_path: Path, watch: Callable[[Watcher], None]) -> None:
    steps = await steps_of(server, tmp_path / "right", watch)
    right = content(tmp_path / "right")
    for tried, (step, number) in enumerate(itertools.product(steps, FAILURES)):
        await fail_and_recover(server, tmp_path / f"store-{tried}", right, watch, step, number)
    print(f"{len(steps) * len(FAILURES)} fault points tried")


@pytest.mark.parametrize(
    ("step", "number", "kind", "words"),
    [
        (("write_at", "*/parts/*", 2), errno.ENOSPC, StoreFull, "There is no room left for"),
        (("write", f"{STAGED}/*", 1), errno.ENOSPC, StoreFull, "no room left to unpack it"),
        (("write", f"{STAGED}/*.json", 1), errno.ENOSPC, StoreFull, "There is no room left for"),
        (("open_new", "*", 1), errno.EROFS, StoreError, "can't be written: "),
        (("flush_tree", "*", 1), errno.EIO, StoreError, "Input/output error"),
        (("rename", "*", 1), errno.EIO, StoreError, "Input/output error"),
    ],
)
async def test_device_that_fails_for_good(
    server: DevServer,
    tmp_path: Path,
    watch: Callable[[Watcher], None],
    step: Step,
    number: int,
    kind: type[StoreError],
    words: str,
) -> None:
    """Exit code 1, an error that says which place and what to do, and a store that the next sync repairs."""
    watch(failing(step, number, every=True))
    failed = await run(server, tmp_path)
    watch(lambda *step: None)
    assert (failed.error, failed.exit_code) == (None, 1)
    error = item_of(failed, "core 1.0.0").error
    assert type(error) is kind
    assert words in error.message
    assert str(tmp_path) in error.message
    assert states(await run(server, tmp_path))["core 1.0.0"] == "installed"
    assert leftovers(tmp_path) == []


async def test_short_writes(server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system may write less than it was given, and says so."""
    await run(server, tmp_path / "right")
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 3 + 1]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, position: pwrite(fd, data[: len(data) // 3 + 1], position))
    assert (await run(server, tmp_path / "short")).ok
    monkeypatch.undo()
    assert content(tmp_path / "short") == content(tmp_path / "right")


# --- a rename that something blocks ---------------------------------------------------------------------------------


def blocked(pattern: str, times: int) -> Watcher:
    """Blocks the first renames of what has such a path, as Windows does while a scanner has a file in it open."""
    calls = itertools.count(1)

    def block(called: str, label: str, arguments: tuple[Any, ...]) -> None:
        if called == "rename" and fnmatchcase(label, pattern) and next(calls) <= times:
            error = PermissionError(errno.EACCES, "The process cannot access the file")
            error.winerror = 32  # type: ignore[attr-defined]
            raise error

    return block


@pytest.mark.parametrize("pattern", [STAGED, "addons/core_1.0.0"])
async def test_rename_that_is_blocked_for_a_while(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Callable[[Watcher], None], pattern: str
) -> None:
    monkeypatch.setattr(staging, "_POLL", 0.02)
    leave_unfinished(tmp_path)
    watch(blocked(pattern, 5))
    report = await run(server, tmp_path)
    assert states(report)["core 1.0.0"] == "installed"
    assert leftovers(tmp_path) == []


async def test_rename_that_stays_blocked(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Callable[[Watcher], None]
) -> None:
    """Half a minute, then the item has failed; what was there is there again, and nothing is downloaded twice."""
    assert staging.BLOCKED_SECONDS == 30
    monkeypatch.setattr(staging, "_POLL", 0.02)
    monkeypatch.setattr(staging, "BLOCKED_SECONDS", 0.2)
    leave_unfinished(tmp_path)
    watch(blocked("addons/.ayon-async/staging/core_1.0.0.[*]", 1000))  # but not what was set aside
    report = await run(server, tmp_path)
    watch(lambda *step: None)
    assert report.exit_code == 1
    assert "The process cannot access the file" in why(report, "core 1.0.0")
    assert (tmp_path / "addons/core_1.0.0/ayon_core/old.py").exists()
    server.forget_requests()
    again = await run(server, tmp_path)
    assert (again.ok, again.bytes_downloaded, leftovers(tmp_path)) == (True, 0, [])


# --- what can't be removed now --------------------------------------------------------------------------------------


async def test_a_staged_folder_that_can_not_be_removed_stops_no_other_item(
    tmp_path: Path, watch: Callable[[Watcher], None]
) -> None:
    """As on Windows, while a virus scanner has a file in it open; a later run removes it."""

    def block(called: str, label: str, arguments: tuple[Any, ...]) -> None:
        if called == "remove_tree" and "/staging/maya_1.0.0." in label:
            raise PermissionError(errno.EACCES, "The process cannot access the file")

    bad = addon(zip_bytes({"maya.py": b"x" * 100, "../out.py": b"x"}))
    async with DevServer(studio({"maya 1.0.0": bad, **small("houdini 1.0.0")})) as server:
        watch(block)
        report = await run(server, tmp_path)
        watch(lambda *step: None)
        assert states(report) == {"maya 1.0.0": "failed", "houdini 1.0.0": "installed"}
        assert "../out.py" in why(report, "maya 1.0.0")
        assert leftovers(tmp_path) != []
        await run(server, tmp_path)
        assert leftovers(tmp_path) == []
