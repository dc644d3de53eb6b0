"""The launcher's list, made anew: the folders tell it, but for those whose records are at hand."""

from __future__ import annotations

import json
from pathlib import Path

from ayon_async.item import Item
from ayon_async.store.held import held
from ayon_async.store.layout import roots_of
from ayon_async.store.listing import add_to_list
from ayon_async.store.record import Record, write_records


def test_a_package_in_a_shorter_folder_is_another_one(tmp_path: Path) -> None:
    roots = roots_of(tmp_path / "addons", tmp_path / "dependency_packages")
    root = roots["dependency_package"]
    for folder, name in (("one.zip", "one.zip"), ("one", "one"), ("other.zip", "other.zip")):
        (root.path / folder).mkdir(parents=True)
        write_records(root.path / folder, Record(name=name), [], "2026-07-01 12:00:00")
    add_to_list(root, held(roots, [Item("dependency_package", "one.zip", None)]), 0o644)
    assert json.loads(root.list.read_bytes()).keys() == {"one.zip", "one", "other.zip"}
