"""A studio of lifelike size: some twenty addons in two versions and two dependency packages.

Its archives are zipped from the package trees of this Python environment, the same bytes every time, into a cache
folder where the next run finds them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ayon_async.devserver.build import USERS, addon, package
from ayon_async.devserver.studio import PLATFORMS, AddonVersion, Bundle, Package, Project, Studio
from ayon_async.devserver.trees import BINARIES, Members, Trees, digest, next_release, write_zip

_RECIPE = "1"  # another number makes the archives anew

_STANDARD: tuple[str, ...] = (
    "asyncio",
    "concurrent",
    "ctypes",
    "curses",
    "dbm",
    "distutils",
    "email",
    "encodings",
    "html",
    "http",
    "idlelib",
    "importlib",
    "json",
    "lib2to3",
    "logging",
    "multiprocessing",
    "pydoc_data",
    "sqlite3",
    "test",
    "tkinter",
    "tomllib",
    "unittest",
    "urllib",
    "venv",
    "wsgiref",
    "xml",
    "xmlrpc",
    "zoneinfo",
)
_INSTALLED: tuple[str, ...] = (
    "aiofiles",
    "aiohttp",
    "attr",
    "cffi",
    "cryptography",
    "filelock",
    "frozenlist",
    "idna",
    "isal",
    "jeepney",
    "keyring",
    "markdown_it",
    "more_itertools",
    "msgspec",
    "multidict",
    "pip",
    "platformdirs",
    "propcache",
    "pygments",
    "rich",
    "semantic_version",
    "truststore",
    "typer",
    "yarl",
)

# name: (title, version in production, next version, what its archive is made of)
_ADDONS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "aftereffects": ("AfterEffects", "0.4.1", "0.4.2", ("ctypes", "json")),
    "applications": ("Applications", "1.4.3", "1.4.4", ("typer", "concurrent")),
    "ayon_ocio": ("OCIO Distribution", "1.2.1", "1.2.2", ("pydoc_data", "tomllib")),
    "ayon_third_party": ("3rd Party Distribution", "1.3.0", "1.4.0", ("cryptography", "isal")),
    "blender": ("Blender", "1.1.7", "1.1.8", ("encodings",)),
    "core": ("Core", "1.9.6", "1.9.7", ("rich", "asyncio", "markdown_it")),
    "deadline": ("Deadline", "0.7.2", "0.7.3", ("msgspec", "http")),
    "flame": ("Flame", "0.2.9", "0.2.10", ("multiprocessing",)),
    "ftrack": ("ftrack", "1.6.3", "1.6.4", ("keyring", "idna")),
    "fusion": ("Fusion", "0.3.2", "0.3.3", ("urllib", "logging")),
    "harmony": ("Harmony", "0.3.6", "0.3.7", ("unittest",)),
    "hiero": ("Hiero", "0.3.4", "0.3.5", ("importlib", "zoneinfo")),
    "houdini": ("Houdini", "0.10.5", "0.10.6", ("aiohttp",)),
    "kitsu": ("Kitsu", "1.2.5", "1.3.0-rc.1", ("platformdirs", "filelock")),
    "maya": ("Maya", "0.6.4", "0.6.5", ("pygments",)),
    "nuke": ("Nuke", "0.4.13", "0.4.14", ("email", "xml")),
    "photoshop": ("Photoshop", "0.4.1", "0.4.2", ("distutils", "sqlite3")),
    "resolve": ("DaVinci Resolve", "0.6.1", "0.6.2", ("tkinter", "html")),
    "substancepainter": ("Substance Painter", "0.2.4", "0.2.5", ("wsgiref", "xmlrpc")),
    "traypublisher": ("TrayPublisher", "0.3.13", "0.4.0", ("idlelib",)),
    "unreal": ("Unreal", "0.2.1", "0.2.2", ("lib2to3",)),
    "usd": ("USD", "0.1.6", "0.1.7", ("multidict", "yarl", "propcache", "frozenlist")),
}
_SERVER_ONLY = ("slack", "Slack", "0.6.1")
_PACKAGES = ("ayon_2607010900", "ayon_2608150900")  # in production, in staging
_NOT_IN_STAGING = frozenset({"fusion", "harmony", "kitsu", "unreal"})  # whose next version only dev has
_FIXED = frozenset({"applications", "ayon_third_party", "deadline", "ftrack", "usd"})  # no project may override them


def sample_studio(cache: Path, stop: threading.Event | None = None) -> Studio:
    """The sample studio, its archives made where the cache does not hold them yet.

    Bundles: `prod-2026-07` (production), `staging-2026-08` (staging), `dev-artist` (the dev bundle of `artist`, with
    maya under development), `old-2026-01` (archived), and the project bundle that `commercial` uses in production.
    Takes some seconds the first time; call it in a thread.

    Args:
        cache: Folder to keep the archives in.
        stop: Setting it ends the making of archives; nothing half-made is left.

    Raises:
        OSError: The cache can't be written.
        InterruptedError: `stop` was set.
    """
    trees = Trees.of_this_environment(_STANDARD, _INSTALLED)
    archives = {**_addon_archives(trees), **_package_archives(trees)}
    folder = _built(cache, archives, stop)
    return Studio(
        users=USERS,
        addons=_addons(folder),
        titles={name: title for name, (title, *_) in _ADDONS.items()} | {_SERVER_ONLY[0]: _SERVER_ONLY[1]},
        packages=_packages(folder),
        bundles=_bundles(),
        projects=(Project("commercial", {"production": "__project__commercial__production"}),),
    )


# --- archives ---------------------------------------------------------------------------------------------------------


def _addon_archives(trees: Trees) -> dict[str, Members]:
    archives = {}
    for name, (title, production, following, made_of) in _ADDONS.items():
        root = f"ayon_{name}"
        members: Members = {
            f"{root}/__init__.py": f'"""{title} in AYON."""\n'.encode(),
            f"{root}/version.py": f'__version__ = "{production}"\n'.encode(),
            f"{root}/bin/launch.sh": b'#!/bin/sh\nexec "$@"\n',
            **trees.members(f"{root}/vendor", made_of),
        }
        version = {f"{root}/version.py": f'__version__ = "{following}"\n'.encode()}
        hook = {f"{root}/hooks/pre_launch.py": f"def execute():\n    return {following!r}\n".encode()}
        archives[f"{name}_{production}.zip"] = members
        archives[f"{name}_{following}.zip"] = next_release(members) | version | hook
    return archives


def _package_archives(trees: Trees) -> dict[str, Members]:
    """What a rebuilt package has anew: one library in another release, one more, nothing else."""
    first = {
        **trees.members("dependencies", _INSTALLED),
        **trees.members("runtime", (*_STANDARD, BINARIES)),
    }
    upgraded = {name: content for name, content in first.items() if name.startswith("dependencies/pygments/")}
    others = {name: content for name, content in first.items() if name not in upgraded}
    added: Members = {"dependencies/shotgun_api3/__init__.py": b'__version__ = "3.10.3"\n'}
    return {f"{_PACKAGES[0]}.zip": first, f"{_PACKAGES[1]}.zip": others | next_release(upgraded, every=2) | added}


def _built(cache: Path, archives: dict[str, Members], stop: threading.Event | None) -> Path:
    """The folder with the archives, made by one rename where it is not there yet."""
    folder = cache / f"sample-{digest(_RECIPE, archives)}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".sample-", dir=cache))
    try:
        largest_first = sorted(archives, key=lambda name: -len(archives[name]))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for written in [threads.submit(write_zip, staging / name, archives[name], stop) for name in largest_first]:
                written.result()
        try:
            staging.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


# --- what the server tells --------------------------------------------------------------------------------------------


def _addons(folder: Path) -> dict[tuple[str, str], AddonVersion]:
    addons = {}
    for name, (_, production, following, _) in _ADDONS.items():
        for version in (production, following):
            addons[name, version] = addon(folder / f"{name}_{version}.zip", project_can_override=name not in _FIXED)
    name, _, version = _SERVER_ONLY
    return addons | {(name, version): addon(project_can_override=False)}


def _packages(folder: Path) -> tuple[Package, ...]:
    """One archive serves every platform; its entries differ in name and platform only."""
    packages = []
    for name in _PACKAGES:
        one = package(name, folder / f"{name}.zip", pythonVersion="3.11")
        for platform in PLATFORMS:
            names = {"filename": f"{name}_{platform}.zip", "platform": platform}
            packages.append(replace(one, info={**one.info, **names}))
    return tuple(packages)


def _bundles() -> tuple[Bundle, ...]:
    server_only = {_SERVER_ONLY[0]: _SERVER_ONLY[2]}
    production = {name: version for name, (_, version, _, _) in _ADDONS.items()} | server_only
    newest = {name: version for name, (_, _, version, _) in _ADDONS.items()} | server_only
    staging = newest | {name: production[name] for name in _NOT_IN_STAGING}
    packages, new_packages = ({platform: f"{name}_{platform}.zip" for platform in PLATFORMS} for name in _PACKAGES)
    project = {"nuke": "0.4.14", "houdini": "0.10.6", "maya": "__inherit__", "blender": None}
    development = {"maya": {"enabled": True, "path": "~/dev/ayon-maya/client"}}
    return (
        Bundle("__project__commercial__production", project, is_project=True),
        Bundle(
            "dev-artist",
            newest,
            "1.5.5",
            new_packages,
            addon_development=development,
            is_dev=True,
            active_user="artist",
        ),
        Bundle("staging-2026-08", staging, "1.5.5", new_packages, is_staging=True),
        Bundle("prod-2026-07", production, "1.5.4", packages, is_production=True),
        Bundle("old-2026-01", {"core": "1.9.6"}, "1.5.4", packages, is_archived=True),
    )
