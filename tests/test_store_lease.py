"""Leases where other hosts work on the same store: lost ones, and counted ones on Windows."""

from __future__ import annotations

import errno
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import fs, sealing
from ayon_async.devserver import DevServer
from ayon_async.item import Item
from ayon_async.store.ground import lay
from ayon_async.store.layout import roots_of
from ayon_async.store.lease import Holder, Lease
from studios import leftovers, small, states, studio, synced

posix = pytest.mark.skipif(sys.platform == "win32", reason="nobody can take a lease over there")


@posix
async def test_a_lease_that_another_host_removed_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS client that has such a file open calls it stale: that is no failure of the run."""
    root = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")["addon"]
    leases, fstat = lay(root, Holder(), group_writable=False), os.fstat
    taken: list[Lease] = []

    def stale(fd: int) -> os.stat_result:
        if any(lease._fd == fd for lease in taken):
            raise OSError(errno.ESTALE, "Stale file handle")
        return fstat(fd)

    async with leases.hold("maya_1.0.0", lambda: None) as lease:
        assert not lease.is_lost()
        (root.locks / "maya_1.0.0.lease").unlink()
        (root.locks / "maya_1.0.0.lease").write_bytes(b"somebody else's")
        taken.append(lease)
        monkeypatch.setattr(os, "fstat", stale)
        assert lease.is_lost()
    assert (root.locks / "maya_1.0.0.lease").read_bytes() == b"somebody else's"


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="looks up in /proc what is open")
def test_a_counted_lease_is_given_back_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the store may have had no locks there; Windows removes no file that is open."""
    root = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")["addon"]
    leases = replace(lay(root, Holder(), group_writable=False), protocol="counter")
    remove = fs.remove

    def only_closed(path: Path) -> None:
        for fd in Path("/proc/self/fd").iterdir():
            if os.path.realpath(fd) == str(path):
                raise PermissionError(errno.EACCES, "The process cannot access the file")
        remove(path)

    with monkeypatch.context() as patched, leases.hold_now("maya_1.0.0") as mine:
        assert mine
        patched.setattr(fs, "long_path", os.fspath)
        patched.setattr(fs, "remove", only_closed)
        patched.setattr(sys, "platform", "win32")
        with leases.hold_now("maya_1.0.0") as again:
            assert not again
        held = leases._take("nuke_1.0.0")
        assert held is not None
        held.give_back()
        assert [path.name for path in root.locks.iterdir()] == ["maya_1.0.0.lease"]
    assert list(root.locks.iterdir()) == []


@posix
async def test_a_lease_counts_while_the_first_work_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take long, as where much was left behind: nobody shall take its holder for dead."""
    monkeypatch.setattr("ayon_async.store.lease.COUNT_EVERY", 0.05)
    root = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")["addon"]
    leases, path = lay(root, Holder(), group_writable=False), root.locks / "maya_1.0.0.lease"

    def work(_: Lease) -> None:
        end = time.monotonic() + 20
        while path.stat().st_mtime < 20 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime >= 20  # it has counted to two

    async with leases.hold("maya_1.0.0", lambda: None, work):
        pass
    assert not path.exists()


@posix
async def test_a_lease_is_given_back_where_the_first_work_fails(tmp_path: Path) -> None:
    root = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")["addon"]
    leases = lay(root, Holder(), group_writable=False)

    def work(_: Lease) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        async with leases.hold("maya_1.0.0", lambda: None, work):
            raise AssertionError("it is not held")
    assert list(root.locks.iterdir()) == []


@posix
async def test_who_was_taken_for_dead_before_the_seal_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had staged was cleared away, with its lease: that is nobody's fault."""
    check, times = sealing._check_records, 0

    def late(item: Item, staged: Path) -> None:
        nonlocal times
        times += 1
        if times == 1:
            fs.remove_tree(staged)
            (tmp_path / "addons/.ayon-async/locks" / f"{item.folder}.lease").unlink()
        check(item, staged)

    monkeypatch.setattr(sealing, "_check_records", late)
    async with DevServer(studio(small("maya 1.0.0"))) as dev:
        report = await synced(dev, tmp_path)
    assert (report.ok, states(report), times) == (True, {"maya 1.0.0": "installed"}, 2)
    assert leftovers(tmp_path) == []
