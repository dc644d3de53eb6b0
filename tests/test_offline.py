"""Without the server: the last good bundle is known, the store is compared with it, and nothing is asked."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async import AyonServer, BundleChoice, Store, status, sync
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Status
from ayon_async.lockfile import Lock, LockedItem
from ayon_async.report import SyncReport


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "storage")


def client(server: DevServer) -> AyonServer:
    return AyonServer(server.url, api_key="artist-key", retries=0)


async def run(server: DevServer, store: Store, choice: BundleChoice = BundleChoice(), **how: Any) -> SyncReport:  # noqa: B008
    async with client(server) as opened:
        return await sync(opened, store, choice, **how)


def states(report: SyncReport) -> dict[str, str]:
    return {item.name: item.state for item in report.items}


# --- when nobody is to be asked -------------------------------------------------------------------------------------


async def test_offline_compares_with_the_last_good_bundle_and_asks_nothing(server: DevServer, store: Store) -> None:
    online = await run(server, store)
    server.forget_requests()
    await server.stop()
    for compare in (sync, status):
        report = await compare(client(server), store, offline=True)
        assert report.error is None
        assert (report.bundle, report.studio_bundle, report.variant) == ("prod", "prod", "production")
        assert (report.offline, report.can_start, report.exit_code) == (True, True, 0)
        assert set(states(report).values()) == {"up_to_date"}
        assert [item.path for item in report.items] == [item.path for item in online.items]
    assert server.requests == []


async def test_offline_says_what_is_missing(server: DevServer, store: Store) -> None:
    await run(server, store)
    shutil.rmtree(store.root("addon").path / "maya_1.0.0")
    checked = await status(client(server), store, offline=True)
    assert (states(checked)["maya"], checked.can_start) == ("planned", False)
    failed = await sync(client(server), store, offline=True)
    assert (states(failed)["maya"], states(failed)["core"], failed.exit_code) == ("failed", "up_to_date", 1)
    maya = next(item for item in failed.items if item.name == "maya")
    assert maya.error is not None
    assert maya.error.message == "maya 1.0.0 is not in the store, and without the server it can't be had."


async def test_offline_without_a_good_sync_is_no_such_bundle(server: DevServer, store: Store) -> None:
    report = await sync(client(server), store, offline=True)
    assert (report.exit_code, report.bundle, report.can_start) == (5, None, False)
    await run(server, store)
    staging = await sync(client(server), store, BundleChoice(staging=True), offline=True)
    assert staging.exit_code == 5
    other = await sync(AyonServer("http://other.example"), store, offline=True)
    assert other.exit_code == 5


async def test_a_sync_that_failed_leaves_the_last_good_bundle(server: DevServer, store: Store) -> None:
    await run(server, store)
    await server.promote("staging")
    server.faults.add("/addons/core/1.1.0/*", Status(404))
    assert (await run(server, store)).exit_code == 1
    report = await sync(client(server), store, offline=True)
    assert (report.bundle, report.can_start) == ("prod", True)
    server.faults.clear()
    await run(server, store)
    assert (await sync(client(server), store, offline=True)).bundle == "staging"


async def test_a_dry_run_and_a_status_make_nothing_good(server: DevServer, store: Store) -> None:
    await run(server, store)
    await server.promote("staging")
    await run(server, store, dry_run=True)
    async with client(server) as opened:
        await status(opened, store)
    assert (await sync(client(server), store, offline=True)).bundle == "prod"


async def test_a_named_bundle_may_have_been_here_as_the_production_bundle(server: DevServer, store: Store) -> None:
    await run(server, store)
    report = await sync(client(server), store, BundleChoice(bundle="prod"), offline=True)
    assert (report.bundle, report.variant, report.can_start) == ("prod", "named", True)


async def test_skipped_items_are_skipped_offline_too(server: DevServer, store: Store) -> None:
    online = await run(server, store, BundleChoice(dev=True))
    offline = await sync(client(server), store, BundleChoice(dev=True), offline=True)
    assert [(i.name, i.state, i.reason, i.path) for i in offline.items] == [
        (i.name, "up_to_date" if i.state == "installed" else i.state, i.reason, i.path) for i in online.items
    ]
    assert offline.is_dev
    assert states(offline)["maya"] == "skipped"


async def test_a_lock_file_serves_offline(server: DevServer, store: Store) -> None:
    await run(server, store)
    held = await store.installed()
    items = tuple(
        LockedItem(i.item.kind, i.item.name, i.item.version, i.record.sha256 or "", i.record.size or 0) for i in held
    )
    lock = Lock(
        format=1,
        server=server.url,
        bundle="pinned",
        studio_bundle="pinned",
        variant="named",
        is_dev=False,
        platform="linux",
        created=held[0].when,
        items=items,
    )
    report = await sync(client(server), store, platform="linux", lock=lock, offline=True)
    assert (report.bundle, report.can_start, set(states(report).values())) == ("pinned", True, {"up_to_date"})


# --- when the server is away ----------------------------------------------------------------------------------------


async def test_server_away_says_that_ayon_can_start(server: DevServer, store: Store) -> None:
    await run(server, store)
    await server.stop()
    report = await run(server, store)
    assert report.error is not None
    assert (report.error.type, report.exit_code) == ("ServerUnreachable", 3)
    assert (report.bundle, report.offline, report.can_start) == ("prod", True, True)
    assert report.warnings[-1] == "The store has all of the bundle 'prod': AYON can be started without the server."


async def test_server_away_says_that_ayon_cannot_start(server: DevServer, store: Store) -> None:
    await run(server, store)
    shutil.rmtree(store.root("addon").path / "maya_1.0.0")
    server.faults.add("/api/bundles", Status(500))
    report = await run(server, store)
    assert (report.exit_code, report.can_start, states(report)["maya"]) == (3, False, "planned")
    assert report.warnings[-1] == "AYON can't be started: the store lacks of the bundle 'prod': maya 1.0.0."


async def test_server_that_goes_away_half_way_is_away(server: DevServer, store: Store) -> None:
    await run(server, store)
    await server.promote("staging")
    server.faults.add("/api/addons", Status(500))
    report = await run(server, store)
    assert (report.exit_code, report.bundle, report.can_start) == (3, "prod", True)


async def test_server_away_and_nothing_known(server: DevServer, store: Store) -> None:
    await server.stop()
    report = await run(server, store)
    assert (report.exit_code, report.bundle, report.can_start, report.warnings) == (3, None, False, ())


async def test_a_refusal_is_not_taken_for_an_absence(server: DevServer, store: Store) -> None:
    await run(server, store)
    server.faults.add("/api/bundles", Status(403))
    report = await run(server, store)
    assert (report.exit_code, report.offline) == (4, False)


async def test_refreshing_offline_makes_no_sense(server: DevServer, store: Store) -> None:
    assert (await sync(client(server), store, offline=True, refresh=True)).exit_code == 2
    assert (await status(client(server), store, offline=True, remote=True)).exit_code == 2
