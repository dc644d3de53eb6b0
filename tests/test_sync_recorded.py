"""A studio as a real AYON server told it: everything resolves as its bundles say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async import BundleChoice, Store, status
from ayon_async.devserver import DevServer, recorded_studio
from launcher_rules import addon_is_installed, check_progress, package_is_installed
from studios import item_of, leftovers, reached, signed_in, states, synced

DATA = Path(__file__).parent / "data" / "ayon-api"
BUNDLES: dict[str, dict[str, Any]] = {
    bundle["name"]: bundle for bundle in json.loads((DATA / "bundles.json").read_bytes())["bundles"]
}


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(recorded_studio(DATA)) as running:
        yield running


def expected(name: str, package: str | None) -> dict[str, str]:
    """What the bundle's own words come to on an empty machine."""
    bundle = BUNDLES[name]
    assert len(bundle["addons"]) == 14
    found = {}
    for addon, version in bundle["addons"].items():
        developed = bundle["addonDevelopment"].get(addon, {}).get("enabled", False)
        found[f"{addon} {version}" if version else addon] = "skipped" if developed or not version else "installed"
    return found | ({package: "installed"} if package else {})


@pytest.mark.parametrize(
    ("choice", "bundle", "variant", "package", "installed"),
    [
        (BundleChoice(), "prod-2026-07", "production", "ayon_2607010900_linux.zip", 15),
        (BundleChoice(staging=True), "staging-2026-08", "staging", "ayon_2608150900_linux.zip", 15),
        (BundleChoice(dev=True), "dev-admin", "dev", "ayon_2608150900_linux.zip", 13),
        (BundleChoice("staging-2026-08"), "staging-2026-08", "named", "ayon_2608150900_linux.zip", 15),
    ],
)
async def test_a_bundle_on_an_empty_machine(
    dev: DevServer, tmp_path: Path, choice: BundleChoice, bundle: str, variant: str, package: str, installed: int
) -> None:
    report = await synced(dev, tmp_path, choice, key="admin-key", platform="linux")
    assert (report.ok, report.error) == (True, None)
    assert (report.bundle, report.studio_bundle, report.variant) == (bundle, bundle, variant)
    assert states(report) == expected(bundle, package)
    assert list(states(report).values()).count("installed") == installed
    assert report.bytes_downloaded == sum(item.size or 0 for item in report.items) > 0
    for item in report.items:
        if item.state != "installed":
            continue
        assert item.path is not None
        check_progress(item.path)
        if item.kind == "addon":
            assert item.verified_by == ("archive",)
            assert addon_is_installed(tmp_path, item.name, str(item.version))
        else:
            assert item.verified_by == ("checksum", "archive")
            assert package_is_installed(tmp_path, item.name)
    assert leftovers(tmp_path) == []
    dev.forget_requests()
    again = await synced(dev, tmp_path, choice, key="admin-key", platform="linux")
    assert again.ok
    assert again.bytes_downloaded == 0
    assert reached(dev) == (["/api/users/me"] if choice.dev else []) + ["/api/bundles"]


async def test_an_addon_in_development_is_where_the_bundle_says(dev: DevServer, tmp_path: Path) -> None:
    report = await synced(dev, tmp_path, BundleChoice(dev=True), key="admin-key", platform="linux")
    nuke = item_of(report, "nuke 0.4.14")
    assert (nuke.path, nuke.reason) == (Path("/home/dev/ayon-nuke/client"), "in development")
    assert item_of(report, "usd").reason == "no version in this bundle"
    assert [warning for warning in report.warnings if "nuke 0.4.14" in warning]


async def test_the_artist_has_no_dev_bundle(dev: DevServer, tmp_path: Path) -> None:
    report = await synced(dev, tmp_path, BundleChoice(dev=True))
    assert report.exit_code == 5
    assert report.error is not None
    assert "dev-admin (dev of admin)" in report.error.message


@pytest.mark.parametrize(
    ("platform", "package"), [("windows", "ayon_2607010900_windows.zip"), ("darwin", None), ("linux", None)]
)
async def test_other_platforms(dev: DevServer, tmp_path: Path, platform: str, package: str | None) -> None:
    async with signed_in(dev) as server:
        report = await status(server, Store.at(tmp_path), platform=platform)
    packages = [item.name for item in report.items if item.kind == "dependency_package"]
    assert packages == (["ayon_2607010900_linux.zip"] if platform == "linux" else [package] if package else [])
    assert len(report.items) == 14 + len(packages)


async def test_from_production_to_staging_only_what_differs_is_fetched(dev: DevServer, tmp_path: Path) -> None:
    assert (await synced(dev, tmp_path, platform="linux")).ok
    await dev.promote("staging-2026-08")
    report = await synced(dev, tmp_path, platform="linux")
    old, new = BUNDLES["prod-2026-07"]["addons"], BUNDLES["staging-2026-08"]["addons"]
    assert (report.bundle, report.variant) == ("staging-2026-08", "production")
    assert [item.name for item in report.items if item.state == "up_to_date"] == sorted(
        name for name in new if old[name] == new[name]
    )
    assert addon_is_installed(tmp_path, "maya", old["maya"])  # the older one stays
    assert addon_is_installed(tmp_path, "maya", new["maya"])
