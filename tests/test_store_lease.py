"""Leases where other hosts work on the same store: lost ones, and counted ones on Windows."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import fs
from ayon_async.store.ground import lay
from ayon_async.store.layout import roots_of
from ayon_async.store.lease import Holder, Lease

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
