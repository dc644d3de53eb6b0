"""A studio made from a real server's recorded answers, with small made-up archives behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ayon_async.devserver.build import USERS, client_zip, noise, zip_bytes
from ayon_async.devserver.studio import AddonVersion, Bundle, Content, Package, Project, Studio


def recorded_studio(folder: Path, archives: Mapping[str, Content] | None = None) -> Studio:
    """The studio that gave these answers.

    Sizes and checksums of what the server itself serves are those of the archives behind it; all else stays.

    Args:
        folder: Holds `addons_details.json`, `bundles.json` and, where there are any, `dependency_packages.json`,
            `installers.json`.
        archives: Archives to serve in place of made-up ones, by `{addon} {version}` or by a package's file name.

    Raises:
        OSError: The folder or one of the first two files can't be read.
    """
    given = archives or {}
    addons: dict[tuple[str, str], AddonVersion] = {}
    titles: dict[str, str] = {}
    for addon in _read(folder / "addons_details.json")["addons"]:
        name = addon["name"]
        titles[name] = addon["title"]
        for version, entry in addon["versions"].items():
            content = given.get(f"{name} {version}") or client_zip(name, version)
            files = {
                source["filename"]: content for source in entry.get("clientSourceInfo") or () if "filename" in source
            }
            addons[name, version] = AddonVersion.from_json(entry, files)
    bundles = tuple(Bundle.from_json(entry) for entry in _read(folder / "bundles.json")["bundles"])
    return Studio(
        users=USERS,
        addons=addons,
        titles=titles,
        packages=_packages(folder / "dependency_packages.json", "packages", given),
        installers=_packages(folder / "installers.json", "installers", given),
        bundles=bundles,
        projects=_projects(bundles),
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _packages(path: Path, key: str, given: Mapping[str, Content]) -> tuple[Package, ...]:
    return tuple(_package(entry, given) for entry in _read(path)[key]) if path.exists() else ()


def _package(entry: Mapping[str, Any], given: Mapping[str, Content]) -> Package:
    filename = str(entry["filename"])
    if all(source["type"] != "server" for source in entry["sources"]):
        return Package(entry)
    content = given.get(filename) or _made_up(filename, entry)
    data = content if isinstance(content, bytes) else content.read_bytes()
    attested = {"size": len(data), "checksum": hashlib.sha256(data).hexdigest(), "checksumAlgorithm": "sha256"}
    return Package({**entry, **attested}, content)


def _made_up(filename: str, entry: Mapping[str, Any]) -> bytes:
    if not filename.endswith(".zip"):
        return noise(20_000, filename)
    modules = entry.get("pythonModules") or {"six": "1"}
    return zip_bytes(
        {f"dependencies/{name}/__init__.py": f'__version__ = "{version}"\n' for name, version in modules.items()}
        | {"runtime/runtime.bin": noise(20_000, filename)}
    )


def _projects(bundles: tuple[Bundle, ...]) -> tuple[Project, ...]:
    """The projects whose bundles these are: a server calls them `__project__{name}__{variant}`."""
    found: dict[str, dict[str, str]] = {}
    for bundle in bundles:
        if bundle.is_project and bundle.name.startswith("__project__"):
            name, _, variant = bundle.name.removeprefix("__project__").rpartition("__")
            found.setdefault(name, {})[variant] = bundle.name
    return tuple(Project(name, used) for name, used in found.items())
