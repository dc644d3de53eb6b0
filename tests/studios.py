"""Studios for the tests of the core, one run of it, and what a run left."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ayon_async import AyonServer, BundleChoice, ItemReport, Store, SyncReport, sync
from ayon_async.devserver import (
    USERS,
    AddonVersion,
    Bundle,
    DevServer,
    Package,
    Project,
    Studio,
    addon,
    client_zip,
    package,
)
from ayon_async.http import Timeouts, Tls
from ayon_async.settings import this_platform

KEY = "artist-key"
RIGHT = client_zip("maya", "1.0.0", 5_000)
"""An archive whose bytes matter to nobody."""


def studio(
    has: Mapping[str, AddonVersion | bytes | None],
    /,
    packages: Iterable[Package] = (),
    bundles: Iterable[Bundle] = (),
    projects: Iterable[Project] = (),
    files: Mapping[str, bytes] | None = None,
    **production: Any,
) -> Studio:
    """A studio whose production bundle `prod` has all of these addons, and the packages for their platforms.

    Args:
        has: An archive, None for a server-only addon, or all of the version; by ``{name} {version}``.
        packages: Dependency packages.
        bundles: Further bundles.
        projects: Projects.
        files: Further files by their path on the server.
        production: Attributes of the production bundle that differ.
    """
    versions = {}
    for label, content in has.items():
        name, version = label.rsplit(" ", 1)
        versions[name, version] = content if isinstance(content, AddonVersion) else addon(content)
    packages = tuple(packages)
    attributes: dict[str, Any] = {
        "addons": dict(list(versions)),
        "dependency_packages": {str(one.info["platform"]): one.filename for one in packages},
        "is_production": True,
    }
    return Studio(
        users=USERS,
        addons=versions,
        packages=packages,
        bundles=(Bundle("prod", **(attributes | production)), *bundles),
        projects=tuple(projects),
        files=files or {},
    )


def small(*labels: str) -> dict[str, AddonVersion | bytes | None]:
    """Small archives for addons such as ``maya 1.0.0``, each with other bytes."""
    return {label: client_zip("small", label, 3_000) for label in labels}


@asynccontextmanager
async def signed_in(dev: DevServer, key: str = KEY, **options: Any) -> AsyncIterator[AyonServer]:
    """A client of the server that gives up soon."""
    options = {"retries": 0, "timeouts": Timeouts(connect=5, silence=5), **options}
    async with AyonServer(dev.url, api_key=key, **options) as server:
        yield server


async def synced(
    dev: DevServer,
    folder: Path,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    key: str = KEY,
    tls: Tls | None = None,
    **options: Any,
) -> SyncReport:
    """One run into the store in the folder."""
    async with signed_in(dev, key, tls=tls) as server:
        return await sync(server, Store.at(folder), choice, **options)


def states(report: SyncReport) -> dict[str, str]:
    """Each item's state by what people call it."""
    return {item.label: item.state for item in report.items}


def item_of(report: SyncReport, label: str) -> ItemReport:
    """One item's report."""
    [item] = [item for item in report.items if item.label == label]
    return item


def why(report: SyncReport, label: str) -> str:
    """Why the item failed, in words."""
    error = item_of(report, label).error
    assert error is not None, report
    assert error.hint
    return error.message


def reached(server: DevServer) -> list[str]:
    """Paths of the requests since they were last forgotten, without those that only ask for a size."""
    return [record.path for record in server.requests if record.range != "bytes=0-0"]


def names_in(folder: Path) -> set[str]:
    """Names of what lies directly in a folder."""
    return {path.name for path in folder.iterdir()}


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that lies below a folder: mode, time of the last change and content by path; leases are left out."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[os.fspath(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def leftovers(folder: Path) -> list[str]:
    """What lies in the store's parts and staging folders."""
    return [
        path.relative_to(folder).as_posix()
        for kind in ("addons", "dependency_packages")
        for name in ("parts", "staging")
        for path in (folder / kind / ".ayon-async" / name).glob("*")
    ]


def platform_package(filename: str, content: bytes | None, **info: Any) -> Package:
    """A dependency package for this machine."""
    return package(filename, content, this_platform(), **info)
