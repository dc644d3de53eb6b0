"""A store whose folders have longer paths than Windows takes as they are: all that is in them is asked for in full."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ayon_async import fs
from ayon_async.item import Item
from ayon_async.store import staging
from ayon_async.store.ground import lay
from ayon_async.store.held import held
from ayon_async.store.layout import roots_of
from ayon_async.store.lease import Holder
from ayon_async.store.record import Record, now, read_inventory, read_progress, read_record, write_records

MAYA = Item("addon", "maya", "1.0.0")


def test_items_are_found_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it counts, what is named as it is is not found here: the system takes it only as `fs.long_path` has it."""
    roots = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")
    root, real = roots["addon"], tmp_path / "real"
    lay(root, Holder(), group_writable=False)
    real.mkdir()

    def long_path(path: fs.StrPath) -> str:
        text = os.fspath(path)
        for long, short in ((f"{root.staging}{os.sep}", "staged"), (str(root.path / "maya"), "item")):
            text = text.replace(long, f"{real}{os.sep}{short} ")
        return text

    monkeypatch.setattr(fs, "long_path", long_path)
    monkeypatch.setattr(fs, "flush_folder", lambda path: None)  # there is no such thing on Windows
    fs.make_folder(root.item(MAYA))
    fs.write_new(root.item(MAYA) / "half.py", b"", flushed=False)
    staged = staging.new(root, MAYA)
    fs.make_folder(staged)
    write_records(staged, Record(name="maya", version="1.0.0", sha256="0" * 64), [], now())
    assert staging.is_done(staged)
    assert read_record(staged).sha256 == "0" * 64
    staging.put_in_place(root, MAYA, staged, threading.Event())
    [found] = held(roots, [MAYA]).values()
    assert found.record.sha256 == "0" * 64
    assert read_inventory(found.path) is not None
    progress = read_progress(found.path)
    assert progress is not None
    assert progress.state == "done"
    assert [path.name for path in real.iterdir()] == ["item _1.0.0"]
