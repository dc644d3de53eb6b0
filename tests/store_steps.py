"""The steps in which a small bundle is installed, each by a name, and what must hold whatever happens at one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ayon_async.devserver import client_zip
from ayon_async.store.staging import is_done
from store_processes import Step, content
from studios import platform_package, studio

CORE = client_zip("core", "1.0.0", 3_000_000)
PACKAGE = platform_package("tiny.zip", client_zip("tiny", "1", 20_000))
STUDIO = studio({"core 1.0.0": CORE}, packages=[PACKAGE])

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


def leave_unfinished(storage: Path) -> None:
    """An item's folder as a launcher leaves it that failed."""
    unfinished = storage / "addons/core_1.0.0"
    (unfinished / "ayon_core").mkdir(parents=True)
    (unfinished / "ayon_core/old.py").write_text("half = True\n")
    (unfinished / "dist_progress.json").write_text('{"state": "failed"}')


def check_never_half(storage: Path, right: dict[str, Any]) -> None:
    """An item's folder that says it is complete is complete."""
    there = content(storage)
    for folder in ("addons/core_1.0.0", "dependency_packages/tiny.zip"):
        if is_done(storage / folder):
            assert below(there, folder) == below(right, folder)


def below(files: dict[str, Any], folder: str) -> dict[str, Any]:
    """The files in a folder."""
    return {path: data for path, data in files.items() if path.startswith(f"{folder}/")}
