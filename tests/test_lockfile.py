"""A lock file: made of what was verified, and then exactly those bytes or none."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayon_async import BundleChoice, Store
from ayon_async.devserver import Bundle, DevServer, addon, zip_bytes
from ayon_async.errors import UsageError
from ayon_async.lockfile import Lock, read_lock, write_lock
from ayon_async.locking import Locking, make_lock
from ayon_async.settings import this_platform
from studios import (
    everything,
    item_of,
    leftovers,
    platform_package,
    reached,
    signed_in,
    states,
    studio,
    synced,
    why,
)

LABEL = "maya 1.0.0"
ARCHIVE = "/addons/maya/1.0.0/*"
MAYA = zip_bytes({"ayon_maya/version.py": "locked"})
OTHER = zip_bytes({"ayon_maya/version.py": "other!"})
PACKAGE = zip_bytes({"dependencies/six.py": ""})


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    has = {LABEL: MAYA, "maya 1.1.0": OTHER, "slack 1.0.0": None}
    bundles = [Bundle("newer", {"maya": "1.1.0"})]
    production = {"maya": "1.0.0", "slack": "1.0.0", "old": None}
    whole = studio(has, [platform_package("package.zip", PACKAGE)], bundles, addons=production)
    async with DevServer(whole) as server:
        yield server


def exchange(server: DevServer, content: bytes, **attributes: str) -> None:
    addons = {**server.studio.addons, ("maya", "1.0.0"): addon(content, **attributes)}
    server.studio = replace(server.studio, addons=addons)


async def locked(server: DevServer, folder: Path, choice: BundleChoice = BundleChoice()) -> Locking:  # noqa: B008
    async with signed_in(server) as client:
        return await make_lock(client, Store.at(folder), choice)


async def lock_of(server: DevServer, folder: Path) -> Lock:
    made = await locked(server, folder)
    assert made.lock is not None, made.report
    return made.lock


def version(folder: Path) -> str:
    return (folder / "addons/maya_1.0.0/ayon_maya/version.py").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="it has other devices")
async def test_into_what_is_no_file_it_is_written(server: DevServer, tmp_path: Path) -> None:
    lock, pipe = await lock_of(server, tmp_path / "store"), tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_bytes))
    await asyncio.to_thread(write_lock, pipe, lock)
    assert json.loads(await reading)["format"] == 1
    assert pipe.is_fifo()


# --- making one -----------------------------------------------------------------------------------------------------


async def test_it_names_every_archive_of_the_bundle(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "store")
    file = tmp_path / "bundle.lock.json"
    write_lock(file, lock)
    assert read_lock(file) == lock
    document = json.loads(file.read_bytes())
    assert document["format"] == 1
    assert (document["server"], document["bundle"], document["platform"]) == (server.url, "prod", this_platform())
    assert document["items"] == [
        {"kind": kind, "name": name, "version": version, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for kind, name, version, data in (
            ("addon", "maya", "1.0.0", MAYA),
            ("dependency_package", "package.zip", None, PACKAGE),
        )
    ]


async def test_what_is_in_the_store_is_not_downloaded_for_it(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    server.forget_requests()
    await lock_of(server, tmp_path)
    assert reached(server) == ["/api/bundles"]


async def test_what_the_launcher_installed_is_downloaded_to_learn_it(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    (tmp_path / "addons/maya_1.0.0/.ayon-async.json").unlink()
    shutil.rmtree(tmp_path / "addons/.ayon-async/seen")
    before = everything(tmp_path / "addons/maya_1.0.0")
    server.forget_requests()
    made = await locked(server, tmp_path)
    assert made.lock is not None
    assert made.lock.items[0].sha256 == hashlib.sha256(MAYA).hexdigest()
    assert len(server.requests_to(ARCHIVE)) == 1
    assert states(made.report)[LABEL] == "up_to_date"
    assert item_of(made.report, LABEL).bytes_downloaded == len(MAYA)
    assert everything(tmp_path / "addons/maya_1.0.0") == before
    assert leftovers(tmp_path) == []
    server.forget_requests()
    assert (await lock_of(server, tmp_path)).items == made.lock.items
    assert server.requests_to(ARCHIVE) == [], "it is known by now"


async def test_no_lock_of_what_cannot_be_had(server: DevServer, tmp_path: Path) -> None:
    exchange(server, b"no archive")
    made = await locked(server, tmp_path)
    assert (made.lock, made.report.exit_code) == (None, 1)


async def test_no_lock_of_what_a_developer_works_on(server: DevServer, tmp_path: Path) -> None:
    development = {"maya": {"enabled": True, "path": str(tmp_path)}}
    await server.add_bundle(
        Bundle("dev", {"maya": "1.0.0"}, addon_development=development, is_dev=True, active_user="artist")
    )
    made = await locked(server, tmp_path, BundleChoice(dev=True))
    assert made.lock is None
    assert "is in development" in why(made.report, LABEL)


# --- installing it --------------------------------------------------------------------------------------------------


async def test_sync_installs_just_these_bytes(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    report = await synced(server, tmp_path / "two", lock=lock)
    assert states(report) == {LABEL: "installed", "package.zip": "installed"}
    assert item_of(report, LABEL).verified_by == ("lock", "archive")
    assert item_of(report, "package.zip").verified_by == ("checksum", "lock", "archive")
    assert (report.bundle, report.variant, report.warnings) == ("prod", "production", ())
    server.forget_requests()
    again = await synced(server, tmp_path / "two", lock=lock)
    assert set(states(again).values()) == {"up_to_date"}
    assert reached(server) == ["/api/bundles"]


async def test_sync_refuses_other_bytes(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    exchange(server, OTHER)
    report = await synced(server, tmp_path / "two", lock=lock)
    assert states(report) == {LABEL: "failed", "package.zip": "installed"}
    assert "is not the archive that the lock file names" in why(report, LABEL)
    assert not (tmp_path / "two/addons/maya_1.0.0").exists()


async def test_a_checksum_of_the_server_that_contradicts_the_lock_spares_the_download(
    server: DevServer, tmp_path: Path
) -> None:
    lock = await lock_of(server, tmp_path / "one")
    exchange(server, OTHER, checksum=hashlib.sha256(OTHER).hexdigest())
    server.forget_requests()
    report = await synced(server, tmp_path / "two", lock=lock)
    assert "the lock file names" in why(report, LABEL)
    assert server.requests_to(ARCHIVE) == []


async def test_another_source_may_have_the_right_bytes(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    right = tmp_path / "right.zip"
    right.write_bytes(MAYA)
    share = {"type": "filesystem", "path": dict.fromkeys(("windows", "linux", "darwin"), str(right))}
    exchange(server, OTHER, sources=({"type": "server", "filename": "client.zip"}, share))  # type: ignore[arg-type]
    report = await synced(server, tmp_path / "two", lock=lock)
    assert (item_of(report, LABEL).state, item_of(report, LABEL).source) == ("installed", str(right))


async def test_other_bytes_in_the_store_give_way_to_the_lock_s(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    exchange(server, OTHER)
    await synced(server, tmp_path / "two")
    failed = await synced(server, tmp_path / "two", lock=lock)
    assert (states(failed)[LABEL], version(tmp_path / "two")) == ("failed", "other!")
    exchange(server, MAYA)
    assert states(await synced(server, tmp_path / "two", lock=lock))[LABEL] == "installed"
    assert version(tmp_path / "two") == "locked"
    shutil.rmtree(tmp_path / "two/addons/maya_1.0.0")
    unlocked = item_of(await synced(server, tmp_path / "two"), LABEL)
    assert unlocked.verified_by == ("recorded", "archive"), "the lock decided what is right"


async def test_another_active_bundle_is_only_mentioned(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    await server.promote("newer")
    report = await synced(server, tmp_path / "two", lock=lock)
    assert report.warnings == ("The server's bundle is 'newer'; the lock file's is 'prod', and decides.",)
    assert states(report) == {LABEL: "installed", "package.zip": "installed"}


async def test_a_changed_or_missing_bundle_is_only_mentioned(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    await server.patch_bundle("prod", {"addons": {"maya": "1.1.0"}})
    report = await synced(server, tmp_path / "two", lock=lock)
    assert report.warnings == ("The bundle 'prod' has other versions on the server; the lock file decides.",)
    server.studio = replace(server.studio, bundles=())
    report = await synced(server, tmp_path / "two", lock=lock)
    assert report.warnings[0].startswith("The server has no bundle set as production.")
    assert report.ok


async def test_an_addon_that_the_server_has_no_more_is_a_failed_item(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    server.studio = replace(server.studio, addons={("maya", "1.0.0"): addon()})
    report = await synced(server, tmp_path / "two", lock=lock)
    assert why(report, LABEL) == "The server has nothing to install for maya 1.0.0 any more."
    again = await synced(server, tmp_path / "two", lock=lock)
    assert states(again)[LABEL] == "failed", "also once it is remembered that it has no client part"


async def test_a_lock_for_another_platform_is_wrong_usage(server: DevServer, tmp_path: Path) -> None:
    lock = await lock_of(server, tmp_path / "one")
    other = "darwin" if this_platform() != "darwin" else "linux"
    report = await synced(server, tmp_path / "two", lock=lock, platform=other)
    assert (report.exit_code, report.items) == (2, ())
    assert (await synced(server, tmp_path / "two", lock=lock, refresh=True)).exit_code == 2


# --- reading one ----------------------------------------------------------------------------------------------------

ITEM: dict[str, Any] = {"kind": "addon", "name": "maya", "version": "1.0.0", "sha256": "a" * 64, "size": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "is of a newer format"),
        ({"format": None}, "is no lock file"),
        ({"items": [ITEM | {"name": "../maya"}]}, "a slash or backslash"),
        ({"items": [ITEM | {"sha256": "A" * 64}]}, "no SHA-256 in lower-case"),
        ({"items": [ITEM | {"size": -1}]}, "below zero"),
        ({"items": [ITEM | {"version": None}]}, "an addon has a version"),
        ({"items": [ITEM, ITEM | {"name": "Maya"}]}, "the same folder"),
        ({"items": [ITEM | {"kind": "installer"}]}, "is no lock file"),
        ({"platform": 7}, "is no lock file"),
    ],
)
def test_what_is_no_lock_file(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    document = {
        "format": 1,
        "server": "https://ayon.example",
        "bundle": "prod",
        "studio_bundle": "prod",
        "variant": "production",
        "is_dev": False,
        "platform": "linux",
        "created": "2026-01-01T00:00:00Z",
        "items": [ITEM],
    }
    file = tmp_path / "bundle.lock.json"
    file.write_text(json.dumps(document | {"comment": "unknown keys are survived"}))
    assert len(read_lock(file).items) == 1
    file.write_text(json.dumps(document | change))
    with pytest.raises(UsageError, match=words) as caught:
        read_lock(file)
    assert str(file) in caught.value.message


def test_a_lock_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file"):
        read_lock(tmp_path / "none")
