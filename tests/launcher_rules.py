"""What the official launcher takes as installed, written down from its rules alone and not from our code."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

_TIME = "%Y-%m-%d %H:%M:%S"
_PROGRESS_KEYS = {"state", "progress_id", "checksum", "checksum_algorithm", "dist_started", "dist_finished"}
_ENTRY_KEYS = {"source", "checksum", "checksum_algorithm", "distributed_dt"}
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


def addon_is_installed(storage: Path, name: str, version: str) -> bool:
    """Whether the launcher would start without fetching the addon."""
    addons = storage / "addons"
    listed = version in _read(addons / "addons.json").get(name, {})
    return _is_installed(addons / f"{name}_{version}", listed)


def package_is_installed(storage: Path, filename: str) -> bool:
    """Whether the launcher would start without fetching the dependency package."""
    packages = storage / "dependency_packages"
    return _is_installed(packages / filename, filename in _read(packages / "dependency.json"))


def _is_installed(folder: Path, listed: bool) -> bool:
    if not folder.is_dir():
        return False
    progress = folder / "dist_progress.json"
    if not progress.exists():
        return listed
    return bool(_read(progress)["state"] == "done")


def check_progress(folder: Path) -> dict[str, Any]:
    """The folder's progress file, every field of it in the launcher's format."""
    progress = _read(folder / "dist_progress.json")
    assert set(progress) == _PROGRESS_KEYS
    assert progress["state"] == "done"
    assert re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", progress["progress_id"])
    _check_checksum(progress)
    started, finished = (time.strptime(progress[key], _TIME) for key in ("dist_started", "dist_finished"))
    assert started <= finished <= time.localtime()
    return progress


def check_entry(entry: dict[str, Any]) -> None:
    """An entry of the launcher's lists, every field of it in the launcher's format."""
    assert set(entry) == _ENTRY_KEYS
    assert isinstance(entry["source"], dict)
    _check_checksum(entry)
    assert time.strptime(entry["distributed_dt"], _TIME) <= time.localtime()


def _check_checksum(holder: dict[str, Any]) -> None:
    digest, algorithm = holder["checksum"], holder["checksum_algorithm"]
    assert (digest is None) is (algorithm is None)
    if digest is not None:
        assert re.fullmatch(r"[0-9a-f]+", digest)
        assert len(digest) == _DIGITS[algorithm]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    assert isinstance(content, dict)
    return content
