"""The variables that the launcher would have set, for every kind of bundle, after real syncs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import AyonServer, BundleChoice, Store, SyncReport, sync
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.environment import applied, launcher_variables
from ayon_async.settings import this_platform


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(100)) as dev:
        yield dev


async def synced(dev: DevServer, addons: Path, dependencies: Path, choice: BundleChoice) -> SyncReport:
    async with AyonServer(dev.url, api_key="artist-key") as server:
        report = await sync(server, Store(addons, dependencies), choice)
    report.raise_for_error()
    return report


async def variables(
    dev: DevServer, root: Path, choice: BundleChoice, environ: dict[str, str] | None = None
) -> dict[str, str | None]:
    addons, dependencies = root / "addons", root / "dependency_packages"
    report = await synced(dev, addons, dependencies, choice)
    return launcher_variables(
        report, choice, addons=addons, dependencies=dependencies, key="artist-key", environ=environ or {}
    )


async def test_production(dev: DevServer, tmp_path: Path) -> None:
    package = tmp_path / f"dependency_packages/ayon_tiny_{this_platform()}.zip/dependencies"
    addons = [tmp_path / "addons" / name for name in ("core_1.0.0", "maya_1.0.0", "nuke_1.0.0")]
    assert await variables(dev, tmp_path, BundleChoice()) == {
        "AYON_SERVER_URL": dev.url,
        "AYON_API_KEY": "artist-key",
        "AYON_STUDIO_BUNDLE_NAME": "prod",
        "AYON_BUNDLE_NAME": "prod",
        "AYON_USE_DEV": None,
        "AYON_USE_STAGING": None,
        "AYON_DEFAULT_SETTINGS_VARIANT": "production",
        "AYON_ADDONS_DIR": str(tmp_path / "addons"),
        "AYON_DEPENDENCIES_DIR": str(tmp_path / "dependency_packages"),
        "AYON_LAUNCHER_STORAGE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(map(str, [*addons, package])),
    }
    assert all(path.is_dir() for path in [*addons, package])


async def test_python_path_keeps_what_was_there_in_front_and_names_nothing_twice(
    dev: DevServer, tmp_path: Path
) -> None:
    maya = str(tmp_path / "addons/maya_1.0.0")
    existing = os.pathsep.join(["/studio", "", maya])
    found = await variables(dev, tmp_path, BundleChoice(), {"PYTHONPATH": existing})
    entries = str(found["PYTHONPATH"]).split(os.pathsep)
    assert entries[:3] == ["/studio", maya, str(tmp_path / "addons/core_1.0.0")]
    assert entries.count(maya) == 1


async def test_staging(dev: DevServer, tmp_path: Path) -> None:
    found = await variables(dev, tmp_path, BundleChoice(staging=True))
    assert (found["AYON_BUNDLE_NAME"], found["AYON_STUDIO_BUNDLE_NAME"]) == ("staging", "staging")
    assert (found["AYON_USE_STAGING"], found["AYON_USE_DEV"]) == ("1", None)
    assert found["AYON_DEFAULT_SETTINGS_VARIANT"] == "staging"


@pytest.mark.parametrize("choice", [BundleChoice(dev=True), BundleChoice(bundle="dev-artist")], ids=["dev", "named"])
async def test_development(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: BundleChoice
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    found = await variables(dev, tmp_path, choice)
    assert (found["AYON_USE_DEV"], found["AYON_USE_STAGING"]) == ("1", None)
    assert found["AYON_DEFAULT_SETTINGS_VARIANT"] == found["AYON_BUNDLE_NAME"] == "dev-artist"
    entries = [Path(entry).name for entry in str(found["PYTHONPATH"]).split(os.pathsep)]
    assert entries == ["core_1.1.0", "nuke_1.0.0", "client", "dependencies"]
    assert str(Path.home() / "dev/ayon-maya/client") in str(found["PYTHONPATH"])


async def test_project(dev: DevServer, tmp_path: Path) -> None:
    found = await variables(dev, tmp_path, BundleChoice(project="demo"))
    assert found["AYON_PROJECT_NAME"] == "demo"
    assert found["AYON_BUNDLE_NAME"] == "__project__demo__production"
    assert found["AYON_STUDIO_BUNDLE_NAME"] == "prod"
    assert found["AYON_DEFAULT_SETTINGS_VARIANT"] == "production"
    assert "nuke_1.1.0" in str(found["PYTHONPATH"])


async def test_two_roots_and_a_package_without_dependencies(dev: DevServer, tmp_path: Path) -> None:
    addons, dependencies = tmp_path / "local/addons", tmp_path / "shared/packages"
    report = await synced(dev, addons, dependencies, BundleChoice())
    (package,) = (item for item in report.items if item.kind == "dependency_package")
    assert package.path is not None
    (package.path / "dependencies").rename(package.path / "moved")
    # What is missing is on no path either.
    items = tuple(replace(item, state="failed") if item.name == "maya" else item for item in report.items)
    found = launcher_variables(
        replace(report, items=items),
        BundleChoice(),
        addons=addons,
        dependencies=dependencies,
        key=None,
        site_id="blue-fox",
        environ={},
    )
    assert "AYON_LAUNCHER_STORAGE_DIR" not in found
    assert found["AYON_DEPENDENCIES_DIR"] == str(dependencies)
    assert found["AYON_SITE_ID"] == "blue-fox"
    assert found["PYTHONPATH"] == os.pathsep.join([str(addons / "core_1.0.0"), str(addons / "nuke_1.0.0")])


def test_applied_removes_what_must_not_be_set() -> None:
    environ = {"AYON_USE_STAGING": "1", "PATH": "/bin", "AYON_BUNDLE_NAME": "old"}
    variables = {"AYON_USE_STAGING": None, "AYON_BUNDLE_NAME": "new"}
    assert applied(variables, environ) == {"PATH": "/bin", "AYON_BUNDLE_NAME": "new"}
