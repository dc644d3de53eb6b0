"""The environment variables that the official launcher would have set for a bundle that is in place.

Facts read off the launcher 1.6: what is started with them finds the same addons, in the same order, as if the launcher
had started it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ayon_async.choice import BundleChoice
from ayon_async.report import ItemReport, SyncReport
from ayon_async.resolve import IN_DEVELOPMENT


def launcher_variables(
    report: SyncReport,
    choice: BundleChoice,
    *,
    addons: Path,
    dependencies: Path,
    key: str | None,
    site_id: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str | None]:
    """The variables to set for the bundle; one that is None must not be set.

    Args:
        report: Of a sync that left nothing missing.
        choice: Which bundle it was asked for.
        addons: The store's folder of addons.
        dependencies: The store's folder of dependency packages.
        key: The API key or token in use.
        site_id: The launcher's id of this machine, where it has one.
        environ: What is set already; entries of its ``PYTHONPATH`` stay, in front.
    """
    staging = choice.staging and not report.is_dev
    variables: dict[str, str | None] = {
        "AYON_SERVER_URL": report.server,
        "AYON_API_KEY": key,
        "AYON_STUDIO_BUNDLE_NAME": report.studio_bundle,
        "AYON_BUNDLE_NAME": report.bundle,
        "AYON_USE_DEV": "1" if report.is_dev else None,
        "AYON_USE_STAGING": "1" if staging else None,
        "AYON_DEFAULT_SETTINGS_VARIANT": report.bundle if report.is_dev else "staging" if staging else "production",
        "AYON_ADDONS_DIR": str(addons),
        "AYON_DEPENDENCIES_DIR": str(dependencies),
        "PYTHONPATH": os.pathsep.join(python_path(report.items, environ.get("PYTHONPATH", ""))),
    }
    if addons.parent == dependencies.parent and (addons.name, dependencies.name) == ("addons", "dependency_packages"):
        variables["AYON_LAUNCHER_STORAGE_DIR"] = str(addons.parent)
    if choice.project is not None:
        variables["AYON_PROJECT_NAME"] = choice.project
    if site_id is not None:
        variables["AYON_SITE_ID"] = site_id
    return variables


def applied(variables: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment: what is set already, changed by these variables."""
    kept = {name: value for name, value in environ.items() if name not in variables}
    return kept | {name: value for name, value in variables.items() if value is not None}


def python_path(items: tuple[ItemReport, ...], existing: str) -> list[str]:
    """Entries of ``PYTHONPATH``: those that it has, addons, development paths, the dependency package."""
    there = [item for item in items if item.state in ("installed", "up_to_date") and item.path is not None]
    addons = [item.path for item in there if item.kind == "addon"]
    # As the launcher does it, a developer's path counts whether it is there or not, a package's only where it is.
    developed = [item.path for item in items if item.reason == IN_DEVELOPMENT]
    packages = [item.path / "dependencies" for item in there if item.path and item.kind == "dependency_package"]
    paths = [*addons, *developed, *(path for path in packages if path.is_dir())]
    named = [entry for entry in existing.split(os.pathsep) if entry]
    return list(dict.fromkeys([*named, *(str(path) for path in paths if path is not None)]))
