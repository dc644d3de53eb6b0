"""Which bundle is meant, and what belongs to it: through the settings, a server and a whole run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayon_async import BundleChoice, Store, SyncReport, status
from ayon_async.configuration import load_settings
from ayon_async.devserver import AddonVersion, Bundle, DevServer, Project, Studio, addon, package
from ayon_async.devserver.faults import Body
from ayon_async.devserver.studio import PLATFORMS
from ayon_async.errors import BundleError
from ayon_async.settings import this_platform
from studios import RIGHT, item_of, names_in, platform_package, reached, signed_in, small, states, studio, synced, why


def bundle(name: str, version: str = "1.0.0", **attributes: Any) -> Bundle:
    return Bundle(name, {"core": version}, **attributes)


# The signed-in user of these tests is `artist`.
HOUSE = studio(
    small("core 1.0.0", "core 2.0.0"),
    addons={"core": "1.0.0"},
    bundles=(
        bundle("stage", is_staging=True),
        bundle("mine", is_dev=True, active_user="artist"),
        bundle("hers", is_dev=True, active_user="admin"),
        bundle("other"),
        bundle("old", is_archived=True),
        bundle("show-production", "2.0.0", is_project=True),
        bundle("show-staging", "2.0.0", is_project=True),
        bundle("shelved", "2.0.0", is_project=True, is_archived=True),
    ),
    projects=(
        Project("show", {"production": "show-production", "staging": "show-staging"}),
        Project("half", {"production": "show-production"}),
        Project("plain"),
    ),
)

STUDIO, OWN, PROJECT = "AYON_STUDIO_BUNDLE_NAME", "AYON_BUNDLE_NAME", "AYON_PROJECT_NAME"
DEV, STAGING = "AYON_USE_DEV", "AYON_USE_STAGING"
Row = tuple[dict[str, object], dict[str, str], str, str]
MATRIX: list[Row] = [
    # flags, environment, the user's file, what it comes to: variant, studio bundle, and a project's where one is merged
    ({}, {}, "", "production prod"),
    ({"use_staging": True}, {}, "", "staging stage"),
    ({"use_dev": True}, {}, "", "dev mine"),
    ({"bundle": "other"}, {}, "", "named other"),
    ({"bundle": "hers"}, {}, "", "named hers"),
    ({"bundle": "prod"}, {}, "", "named prod"),
    ({}, {STAGING: "1"}, "", "staging stage"),
    ({}, {STAGING: "yes"}, "", "staging stage"),
    ({}, {STAGING: "0"}, "", "production prod"),
    ({}, {STAGING: ""}, "", "production prod"),
    ({}, {DEV: "true"}, "", "dev mine"),
    ({}, {STUDIO: "other"}, "", "named other"),
    ({}, {}, "use_staging = true", "staging stage"),
    ({}, {}, "use_dev = true", "dev mine"),
    ({}, {}, "bundle = 'other'", "named other"),
    # within one place: bundle, then dev, then staging
    ({}, {STUDIO: "other", DEV: "1", STAGING: "1"}, "", "named other"),
    ({}, {DEV: "1", STAGING: "1"}, "", "dev mine"),
    ({}, {}, "bundle = 'other'\nuse_dev = true\nuse_staging = true", "named other"),
    ({}, {}, "use_dev = true\nuse_staging = true", "dev mine"),
    # the first place that names any decides alone
    (
        {"use_staging": True},
        {STUDIO: "other", DEV: "1"},
        "use_dev = true",
        "staging stage",
    ),
    ({"use_dev": True}, {STUDIO: "other"}, "bundle = 'hers'", "dev mine"),
    ({"bundle": "hers"}, {DEV: "1"}, "use_staging = true", "named hers"),
    ({}, {STAGING: "1"}, "bundle = 'other'\nuse_dev = true", "staging stage"),
    ({}, {DEV: "1"}, "bundle = 'other'", "dev mine"),
    ({}, {STUDIO: "hers"}, "bundle = 'other'", "named hers"),
    # a project's bundle is merged over the studio's
    ({"project": "show"}, {}, "", "project prod show-production"),
    ({}, {PROJECT: "show"}, "", "project prod show-production"),
    ({}, {}, "project = 'show'", "project prod show-production"),
    ({"project": "show", "use_staging": True}, {}, "", "project stage show-staging"),
    ({"project": "show"}, {STAGING: "1"}, "", "project stage show-staging"),
    ({"project": "show", "bundle": "other"}, {}, "", "project other show-production"),
    ({"project": "half", "use_staging": True}, {}, "", "staging stage"),
    ({"project": "plain"}, {}, "", "production prod"),
    ({"project": "show", "use_dev": True}, {}, "", "dev mine"),
    ({"project": "plain"}, {PROJECT: "show"}, "project = 'show'", "production prod"),
    # AYON_BUNDLE_NAME as the launcher reads it: a project's bundle, and nothing where it is a studio's
    ({}, {OWN: "show-production"}, "", "project prod show-production"),
    ({}, {OWN: "show-staging", STAGING: "1"}, "", "project stage show-staging"),
    ({}, {OWN: "show-production", PROJECT: "plain"}, "", "project prod show-production"),
    ({"project": "plain"}, {OWN: "show-production"}, "", "production prod"),
    ({}, {OWN: "other"}, "", "production prod"),
    ({}, {OWN: "prod"}, "", "production prod"),
    ({}, {OWN: "other", STAGING: "1"}, "", "staging stage"),
    ({}, {OWN: "show-production", DEV: "1"}, "", "dev mine"),
    (
        {},
        {OWN: "show-production", STUDIO: "other"},
        "",
        "project other show-production",
    ),
]


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(HOUSE) as running:
        yield running


async def surveyed(dev: DevServer, folder: Path, choice: BundleChoice, **options: Any) -> SyncReport:
    async with signed_in(dev) as server:
        return await status(server, Store.at(folder), choice, **options)


@pytest.mark.parametrize(("flags", "environ", "file", "expected"), MATRIX)
async def test_the_matrix(
    dev: DevServer, tmp_path: Path, flags: dict[str, object], environ: dict[str, str], file: str, expected: str
) -> None:
    (tmp_path / "config.toml").write_text(file, "utf-8")
    choice = load_settings(flags, environ=environ, user_file=tmp_path / "config.toml").choice
    report = await surveyed(dev, tmp_path, choice)
    assert report.error is None, report.error
    own = [] if report.bundle == report.studio_bundle else [report.bundle]
    assert " ".join([str(report.variant), str(report.studio_bundle), *map(str, own)]) == expected
    merged = expected.startswith("project")
    assert states(report) == {"core 2.0.0" if merged else "core 1.0.0": "planned"}
    assert report.is_dev is (report.studio_bundle in ("mine", "hers"))


LISTING = "There are: prod (production), stage (staging), mine (dev of artist), hers (dev of admin), other"


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (BundleChoice("nope"), f"no bundle named 'nope'. {LISTING}, old (archived)."),
        (BundleChoice("show-production"), "no bundle named 'show-production'"),  # a project's is no studio bundle
        (BundleChoice("old"), f"The bundle 'old' is archived. {LISTING}, old (archived)."),
        (BundleChoice(project="nope"), "no project 'nope'"),
        (
            BundleChoice(project_bundle="nope"),
            "no project bundle 'nope'. Project bundles: show-production",
        ),
    ],
)
async def test_no_such_bundle(dev: DevServer, tmp_path: Path, choice: BundleChoice, words: str) -> None:
    report = await synced(dev, tmp_path, choice)
    assert isinstance(report.error, BundleError)
    assert report.exit_code == 5
    assert words in report.error.message
    assert report.error.hint
    assert (report.items, names_in(tmp_path)) == ((), set())


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (BundleChoice(), "no bundle set as production. There are: one, two (dev of admin)."),
        (BundleChoice(staging=True), "no bundle set as staging. There are: one, two (dev of admin)."),
        (BundleChoice(dev=True), "no bundle whose developer is 'artist'. There are: one, two (dev of admin)."),
    ],
)
async def test_none_is_set(tmp_path: Path, choice: BundleChoice, words: str) -> None:
    house = replace(HOUSE, bundles=(bundle("one"), bundle("two", is_dev=True, active_user="admin")))
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path, choice)
        assert isinstance(report.error, BundleError)
        assert words in report.error.message
        dev.studio = replace(HOUSE, bundles=())
        report = await synced(dev, tmp_path, choice)
        assert report.error is not None
        assert "There are: none." in report.error.message


async def test_an_empty_bundle(tmp_path: Path) -> None:
    async with DevServer(studio({})) as dev:
        report = await synced(dev, tmp_path)
        assert report.exit_code == 5
        assert report.error is not None
        assert "The bundle 'prod' is empty" in report.error.message


async def test_one_bundle_may_be_production_and_staging_at_once(tmp_path: Path) -> None:
    async with DevServer(studio(small("core 1.0.0"), is_staging=True)) as dev:
        for choice, variant in ((BundleChoice(), "production"), (BundleChoice(staging=True), "staging")):
            report = await synced(dev, tmp_path, choice)
            assert (report.bundle, report.variant, report.ok) == ("prod", variant, True)


# --- a project's bundle -----------------------------------------------------------------------------------------------


def merging(**own: str | None) -> Studio:
    """A studio with five addons in version 1 and 2, and a project bundle of these versions for both variants."""
    names = ("core", "maya", "nuke", "usd", "slack")
    house = studio(small(*(f"{name} {version}" for name in names for version in ("1", "2"))))
    fixed = replace(house.addons["maya", "2"], project_can_override=False)
    prod = Bundle("prod", dict.fromkeys(names, "1"), dependency_packages={"linux": "studio.zip"}, is_production=True)
    stage = replace(prod, name="stage", is_production=False, is_staging=True)
    ours = Bundle("own", own, dependency_packages={"linux": None}, is_project=True)
    projects = (Project("show", {"production": "own", "staging": "own"}),)
    packages = (package("studio.zip", RIGHT), package("projects.zip", RIGHT))
    addons = {**house.addons, ("maya", "2"): fixed}
    return replace(house, addons=addons, bundles=(prod, stage, ours), projects=projects, packages=packages)


@pytest.mark.parametrize("staging", [False, True])
async def test_a_project_bundle_is_merged_as_the_server_says(tmp_path: Path, staging: bool) -> None:
    # maya's project can't choose, usd is inherited, core left out, slack switched off
    house = merging(nuke="2", maya="2", usd="__inherit__", core=None, slack="__disable__")
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path, BundleChoice(project="show", staging=staging), platform="linux")
        assert states(report) == {
            "core": "skipped",
            "maya 1": "installed",
            "nuke 2": "installed",
            "slack": "skipped",
            "usd 1": "installed",
            "studio.zip": "installed",
        }
        assert item_of(report, "core").reason == "no version in this bundle"
        assert item_of(report, "slack").reason == "disabled"
        [asked] = dev.requests_to("/api/settings")
        assert ("variant=staging" in asked.path_qs) is staging
        assert f"bundle_name={'stage' if staging else 'prod'}" in asked.path_qs
        assert report.variant == "project"


async def test_a_project_may_have_a_dependency_package_of_its_own(tmp_path: Path) -> None:
    house = merging()
    own = replace(house.bundles[2], dependency_packages={"linux": "projects.zip"})
    async with DevServer(replace(house, bundles=(*house.bundles[:2], own))) as dev:
        report = await synced(dev, tmp_path, BundleChoice(project="show"), platform="linux")
        assert "projects.zip" in states(report)
        assert "studio.zip" not in states(report)


@pytest.mark.parametrize("of_a_project", [True, False])
async def test_an_archived_bundle_in_ayon_bundle_name(dev: DevServer, tmp_path: Path, of_a_project: bool) -> None:
    """Where a server lists archived bundles: a project's is an error, a studio's is ignored as every studio's is."""
    gone = bundle("gone", is_project=of_a_project, is_archived=True)
    listed = [one.to_json() for one in (*HOUSE.bundles, gone)]
    answer = {"bundles": listed, "productionBundle": "prod"}
    dev.faults.add("/api/bundles", Body(json.dumps(answer).encode(), "application/json"))
    report = await surveyed(dev, tmp_path, BundleChoice(project_bundle="gone"))
    if of_a_project:
        assert report.exit_code == 5
        assert report.error is not None
        assert "The project bundle 'gone' is archived" in report.error.message
    else:
        assert (report.ok, report.bundle, report.variant) == (True, "prod", "production")


# --- what belongs to it -----------------------------------------------------------------------------------------------


async def test_what_has_nothing_to_install_is_skipped_with_its_reason(tmp_path: Path) -> None:
    house = studio(
        {"slack 1.0.0": None, **small("maya 1.0.0")},
        addons={"slack": "1.0.0", "maya": "1.0.0", "usd": None, "ftrack": "__disable__", "blender": "__inherit__"},
    )
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path)
        assert report.ok
        assert {item.label: item.reason for item in report.items if item.state == "skipped"} == {
            "blender": "inherited, and nothing to inherit from",
            "ftrack": "disabled",
            "slack 1.0.0": "no client part",
            "usd": "no version in this bundle",
        }
        assert all(item.path is None for item in report.items if item.state == "skipped")
        assert states(report)["maya 1.0.0"] == "installed"


async def test_what_the_server_does_not_have_is_a_failed_item(tmp_path: Path) -> None:
    broken = addon(RIGHT, is_broken=True, reason={"error": "No module named 'x'"})
    house = studio(
        {"maya 1.0.0": broken, "nuke 2.0.0": None, **small("core 1.0.0")},
        addons={"maya": "1.0.0", "nuke": "1.0.0", "ghost": "3", "core": "1.0.0"},
        dependency_packages={this_platform(): "gone.zip"},
    )
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path)
        assert report.exit_code == 1
        assert report.error is None
        assert states(report) == {
            "core 1.0.0": "installed",
            "ghost 3": "failed",
            "maya 1.0.0": "failed",
            "nuke 1.0.0": "failed",
            "gone.zip": "failed",
        }
        assert "does not have the addon ghost 3; it has no version of it" in why(report, "ghost 3")
        assert "does not have the addon nuke 1.0.0; it has 2.0.0" in why(report, "nuke 1.0.0")
        assert why(report, "maya 1.0.0") == "The addon maya 1.0.0 is broken on the server: No module named 'x'."
        assert "does not have the dependency package gone.zip" in why(report, "gone.zip")


async def test_an_addon_in_development_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DEV_ROOT", str(tmp_path / "dev"))
    (tmp_path / "dev" / "ayon-maya").mkdir(parents=True)
    (tmp_path / "dev" / "ayon-nuke").mkdir()
    (tmp_path / "ayon-core").mkdir()
    paths = {"maya": "{DEV_ROOT}/ayon-maya", "nuke": "$DEV_ROOT/ayon-nuke", "core": "~/ayon-core", "usd": "/gone/usd"}
    development = {name: {"enabled": True, "path": path} for name, path in paths.items()}
    development |= {"ftrack": {"enabled": False, "path": "/somewhere"}, "slack": {"enabled": True, "path": None}}
    names = ("core", "ftrack", "maya", "nuke", "slack", "usd")
    mine = Bundle("mine", dict.fromkeys(names, "1"), is_dev=True, active_user="artist", addon_development=development)
    house = studio(small("ftrack 1"), bundles=(mine, replace(mine, name="not-dev", is_dev=False)))
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path / "store", BundleChoice(dev=True))
        dev.forget_requests()
        again = await synced(dev, tmp_path / "store", BundleChoice(dev=True, project="any"))
        assert (again.ok, len(dev.requests)) == (report.ok, 2), "a developer's bundle is never merged"
        assert report.ok
        assert {item.name: item.path for item in report.items if item.state == "skipped"} == {
            "core": tmp_path / "ayon-core",
            "maya": tmp_path / "dev" / "ayon-maya",
            "nuke": tmp_path / "dev" / "ayon-nuke",
            "slack": None,
            "usd": Path("/gone/usd"),
        }
        assert {item.reason for item in report.items if item.state == "skipped"} == {"in development"}
        assert states(report)["ftrack 1"] == "installed"
        assert report.warnings == (
            "slack 1 is in development, but the folder that the bundle should name is absent.",
            f"usd 1 is in development, but {Path('/gone/usd')} is absent.",
        )
        report = await surveyed(dev, tmp_path / "store", BundleChoice("not-dev"))
        assert [item.reason for item in report.items if item.state == "skipped"] == []


@pytest.mark.parametrize("platform", [*PLATFORMS, None])
async def test_the_dependency_package_is_the_platforms(tmp_path: Path, platform: Any) -> None:
    packages = [package(f"{name}.zip", RIGHT, name) for name in PLATFORMS]
    async with DevServer(studio({}, packages)) as dev:
        report = await synced(dev, tmp_path, platform=platform)
        assert states(report) == {f"{platform or this_platform()}.zip": "installed"}
        assert item_of(report, f"{platform or this_platform()}.zip").version is None


@pytest.mark.parametrize("packages", [{}, {"linux": None}, {"windows": "a.zip"}])
async def test_there_may_be_none_for_a_platform(tmp_path: Path, packages: dict[str, str | None]) -> None:
    async with DevServer(studio(small("core 1"), dependency_packages=packages)) as dev:
        report = await synced(dev, tmp_path, platform="linux")
        assert states(report) == {"core 1": "installed"}
        assert "/api/desktop/dependencyPackages" not in reached(dev)


async def test_no_installer_is_asked_for(dev: DevServer, tmp_path: Path) -> None:
    assert (await synced(dev, tmp_path)).ok
    assert not dev.requests_to("/api/desktop/installers*")


# --- names ------------------------------------------------------------------------------------------------------------

BAD_NAMES = [
    ("../evil", "1", "a slash or backslash"),
    ("a\\b", "1", "a slash or backslash"),
    ("a", "../../b", "a slash or backslash"),
    ("..", "1", "a dot at its start"),
    (".ayon-async", "1", "a dot at its start"),
    ("a", "..", "a dot or space at its end"),
    ("a", "1 ", "a dot or space at its end"),
    ("C:a", "1", "one of < >"),
    ("a", "1?", "one of < >"),
    ("a\0b", "1", "a control character"),
    ("a\nb", "1", "a control character"),
    ("", "1", "an empty name"),
    ("a", "", "an empty version"),
    ("n" * 240, "1", "more than 200 bytes"),
]


@pytest.mark.parametrize(("name", "version", "words"), BAD_NAMES)
async def test_a_name_that_is_no_folder_fails_alone(tmp_path: Path, name: str, version: str, words: str) -> None:
    house = studio(small("core 1"), addons={name: version, "core": "1"})
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path / "store")
        assert [item.state for item in report.items if item.name == "core"] == ["installed"]
        [bad] = [item for item in report.items if item.name != "core"]
        assert bad.state == "failed"
        assert bad.error is not None
        assert words in bad.error.message
        assert (bad.name, bad.version) == (name, version)
        assert names_in(tmp_path) == {"store"}


@pytest.mark.parametrize("filename", ["../x.zip", "a/b.zip", "", "dependency.json", "NUL.zip", ".x.zip", "x.zip."])
async def test_so_does_a_packages_file_name(tmp_path: Path, filename: str) -> None:
    house = studio(small("core 1"), dependency_packages={this_platform(): filename})
    async with DevServer(house) as dev:
        report = await synced(dev, tmp_path / "store")
        assert [item.state for item in report.items] == ["installed", "failed"]
        assert names_in(tmp_path) == {"store"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a_1", "2"), ("a", "1_2")),
        (("Maya", "1"), ("maya", "1")),
        (("caf\u00e9", "1"), ("cafe\u0301", "1")),  # the same letters, composed and not
    ],
)
async def test_two_items_of_one_folder_both_fail(tmp_path: Path, one: tuple[str, str], other: tuple[str, str]) -> None:
    addons: dict[str, AddonVersion | bytes | None] = {f"{name} {version}": RIGHT for name, version in (one, other)}
    async with DevServer(studio({**addons, **small("core 1")})) as dev:
        report = await synced(dev, tmp_path)
        labels = [f"{name} {version}" for name, version in (one, other)]
        assert states(report) == {labels[0]: "failed", labels[1]: "failed", "core 1": "installed"}
        assert all("has the same folder" in why(report, label) for label in labels)


async def test_names_that_need_quoting_in_a_url_are_fine(tmp_path: Path) -> None:
    labels = ("sp ace 1.0.0+build.5", "üml 1.0.0", "per%20cent 1.0.0", "hash#tag 1.0.0", "amp&er=sand 1.0.0-rc.1")
    odd = platform_package("pack age+ü#1.zip", RIGHT)
    async with DevServer(studio(small(*labels), [odd])) as dev:
        report = await synced(dev, tmp_path)
        assert states(report) == dict.fromkeys((*labels, "pack age+ü#1.zip"), "installed")
