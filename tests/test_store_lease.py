"""A lease that was lost, as the file systems of other hosts tell of it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from ayon_async.store.ground import lay
from ayon_async.store.layout import roots_of
from ayon_async.store.lease import Holder, Lease

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nobody can take a lease over there")


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
