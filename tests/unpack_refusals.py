"""What a refusal has to be like, whatever the archive: one error of a known class, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayon_async import fs
from ayon_async.errors import ArchiveError
from ayon_async.unpack import Limits
from unpack_samples import LABEL, unpack_bytes


def refused(data: bytes, folder: Path, limits: Limits = Limits()) -> ArchiveError:  # noqa: B008
    """Unpack into an empty folder beside a file; returns the error, and sees to it that nothing was touched."""
    beside = folder / "beside"
    beside.write_bytes(b"before")
    (folder / "inside").mkdir()
    with pytest.raises(ArchiveError) as raised:
        unpack_bytes(data, folder / "inside" / "out", limits=limits)
    assert list(folder.rglob("*")) == [folder / "inside", beside] or set(folder.rglob("*")) == {
        folder / "inside",
        beside,
    }
    assert beside.read_bytes() == b"before"
    error = raised.value
    assert error.message.startswith(f"{LABEL}: ")
    assert error.message.isprintable()
    assert error.hint
    return error


def lengths_written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all writes to files from now on."""
    lengths: list[int] = []
    write = fs.write

    def count(fd: int, data: bytes | memoryview) -> None:
        lengths.append(len(data))
        write(fd, data)

    monkeypatch.setattr(fs, "write", count)
    return lengths
