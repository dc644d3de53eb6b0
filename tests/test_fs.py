"""The seam to the file system where Windows differs: what is open elsewhere can't be replaced or removed just now."""

from __future__ import annotations

import errno
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs
from ayon_async.store.ground import lay
from ayon_async.store.layout import roots_of
from ayon_async.store.lease import Holder
from ayon_async.store.record import Record, now, write_records
from ayon_async.transfer.part import Part, Validator


def blocked(function: Callable[..., None], times: int, winerror: int = 32) -> Callable[..., None]:
    """A function of the system that fails so many times as Windows does while another program has the file open."""
    calls = itertools.count(1)

    def change(*arguments: Any) -> None:
        if next(calls) <= times:
            error = PermissionError(errno.EACCES, "The process cannot access the file")
            error.winerror = winerror  # type: ignore[attr-defined]
            raise error
        function(*arguments)

    return change


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_a_small_file_that_is_open_elsewhere_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, winerror: int
) -> None:
    path = tmp_path / "addons.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", blocked(os.replace, 3, winerror))
    fs.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "unlink", blocked(os.unlink, 3, winerror))
    fs.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_that_stays_open_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "addons.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(fs, "_BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(os, "replace", blocked(os.replace, 1000))
    with pytest.raises(PermissionError):
        fs.write_atomic(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["addons.json"]
    assert path.read_bytes() == b"old"


def test_what_is_refused_for_good_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refuse(path: str) -> None:
        tried.append(path)
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        fs.remove(tmp_path / "file")
    assert len(tried) == 1


def test_a_download_goes_on_while_its_sidecar_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(tmp_path / "maya.part", set())
    part.size, part.validator = 4, Validator("https://ayon/maya.zip", '"1"')
    monkeypatch.setattr(os, "replace", blocked(os.replace, 2))
    part.write([(0, [b"ab"])])
    part.write([(2, [b"cd"])])
    part.close()
    again = Part(tmp_path / "maya.part", set())
    assert again.complete
    again.close()


@pytest.mark.parametrize("refused", [None, errno.ENOTSUP])
def test_records_are_on_the_medium_before_a_folder_is_renamed_on_macos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int | None
) -> None:
    """There `fsync` ends in the device's cache, which may write a rename before the members: one call empties it."""
    fcntl = pytest.importorskip("fcntl")
    full, calls, fsync = 51, list[str](), os.fsync

    def control(fd: int, command: int) -> int:
        assert command == full
        calls.append("device")
        if refused is not None:
            raise OSError(refused, "Operation not supported")
        return 0

    def flush(fd: int) -> None:
        calls.append("file")
        fsync(fd)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", full, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", flush)
    write_records(tmp_path, Record(), [], now())
    assert calls == ["file", "device", "file", "device", "file"]


@pytest.mark.parametrize(("platform", "private"), [("linux", {0o700}), ("darwin", {0o700}), ("win32", set[int]())])
def test_what_is_renamed_into_its_place_has_the_rights_of_that_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, private: set[int]
) -> None:
    """On Windows Python makes 0700 a list of rights, which what is made in such a folder keeps when it is renamed."""
    mkdir, modes = os.mkdir, set[int]()

    def note(path: str, mode: int = 0o777) -> None:
        modes.add(mode)
        mkdir(path, mode)

    root = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")["addon"]
    monkeypatch.setattr(os, "mkdir", note)
    monkeypatch.setattr(fs, "long_path", os.fspath)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(fs, "_flush_device", lambda fd: None)
    lay(root, Holder(), group_writable=False)
    assert modes & {0o700} == private


def test_what_somebody_else_removes_meanwhile_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, unlink, rmdir = tmp_path / "tree", os.unlink, os.rmdir
    for name in ("a/b/one", "a/two", "three"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"")

    def twice(remove: Callable[..., None]) -> Callable[..., None]:
        def removed(path: str, **options: Any) -> None:
            remove(path, **options)
            remove(path, **options)

        return removed

    monkeypatch.setattr(os, "unlink", twice(unlink))
    monkeypatch.setattr(os, "rmdir", twice(rmdir))
    fs.remove_tree(tree)
    assert not tree.exists()


def test_what_can_not_be_listed_is_not_called_flushed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fs.flush_files(tmp_path / "gone")
