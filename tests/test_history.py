"""What a store held and when: written after a good sync, and only when it says something new."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ayon_async import BundleChoice, Store
from ayon_async.devserver import Bundle, DevServer
from ayon_async.store import history
from ayon_async.store.history import CONFIRM_EVERY, Entry, History, Key, State
from studios import everything, small, studio, synced

NOW = datetime(2026, 6, 30, 6, tzinfo=UTC)


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    has = small("maya 1.0.0", "maya 2.0.0") | {"slack 1.0.0": None}
    bundles = [Bundle("two", {"maya": "2.0.0"}), Bundle("staged", {"maya": "2.0.0"}, is_staging=True)]
    async with DevServer(studio(has, bundles=bundles, addons={"maya": "1.0.0", "slack": "1.0.0"})) as server:
        yield server


async def kept(folder: Path) -> dict[str, list[str]]:
    """The bundles that were good, the newest first, by what was asked for."""
    histories = await Store.at(folder).memory.histories()
    return {one.key.bundle or one.key.variant: [state.bundle for state in one.states] for one in histories}


async def test_every_good_bundle_is_remembered(server: DevServer, tmp_path: Path) -> None:
    assert await kept(tmp_path) == {}
    for name in ("prod", "two", "prod"):
        await server.promote(name)
        await synced(server, tmp_path)
    assert await kept(tmp_path) == {"production": ["prod", "two", "prod"]}
    await synced(server, tmp_path, BundleChoice(staging=True))
    await synced(server, tmp_path, BundleChoice(bundle="two"))
    assert await kept(tmp_path) == {"production": ["prod", "two", "prod"], "staging": ["staged"], "two": ["two"]}


async def test_a_state_says_what_was_there(server: DevServer, tmp_path: Path) -> None:
    before = datetime.now(UTC)
    report = await synced(server, tmp_path)
    [one] = await Store.at(tmp_path).memory.histories()
    [state] = one.states
    maya, slack = state.items
    assert (maya.name, maya.version, maya.sha256, maya.size) == (
        "maya",
        "1.0.0",
        report.items[0].checksum,
        report.items[0].size,
    )
    assert (slack.name, slack.reason) == ("slack", "no client part")
    assert state.on_disk == {maya.item}
    assert before <= state.since <= datetime.now(UTC)
    assert (state.studio_bundle, state.variant, one.key.server) == ("prod", "production", server.url)


async def test_a_bundle_that_changes_in_place_is_another_state(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    await server.patch_bundle("prod", {"addons": {"maya": "2.0.0"}})
    await synced(server, tmp_path)
    [one] = await Store.at(tmp_path).memory.histories()
    assert [state.items[0].version for state in one.states] == ["2.0.0", "1.0.0"]


async def test_a_sync_with_nothing_to_do_writes_nothing(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    before = everything(tmp_path)
    await synced(server, tmp_path)
    assert everything(tmp_path) == before


async def test_a_store_that_cannot_be_written_is_no_reason_to_complain(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(server, tmp_path)
    for file in (tmp_path / "addons/.ayon-async/bundles").iterdir():
        file.unlink()

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("ayon_async.fs.write_atomic", read_only)
    report = await synced(server, tmp_path)
    assert (report.exit_code, report.warnings) == (0, ())


# --- the rules, without a server ------------------------------------------------------------------------------------

KEY = Key("https://ayon.example", "linux")


def state(bundle: str, when: datetime, version: str = "1.0.0", sha256: str = "a") -> State:
    return State(bundle, bundle, "production", False, (Entry("addon", "maya", version, sha256),), when, when)


def noted(folder: Path, good: State, key: Key = KEY) -> History | None:
    root = Store.at(folder).root("addon")
    updated = history.updated(root, key, good)
    if updated is not None:
        history.write(root, updated)
    return updated


def test_it_is_confirmed_now_and_then(tmp_path: Path) -> None:
    assert noted(tmp_path, state("prod", NOW)) is not None
    assert noted(tmp_path, state("prod", NOW + CONFIRM_EVERY - timedelta(seconds=1))) is None
    later = NOW + CONFIRM_EVERY
    confirmed = noted(tmp_path, state("prod", later))
    assert confirmed is not None
    assert [(one.since, one.confirmed) for one in confirmed.states] == [(NOW, later)]
    back = noted(tmp_path, state("prod", NOW - timedelta(days=1)))  # somebody set the clock right
    assert back is not None
    assert back.states[0].confirmed == NOW - timedelta(days=1)


def test_other_bytes_are_another_state(tmp_path: Path) -> None:
    noted(tmp_path, state("prod", NOW))
    updated = noted(tmp_path, state("prod", NOW, sha256="b"))
    assert updated is not None
    assert [one.items[0].sha256 for one in updated.states] == ["b", "a"]


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    for number in range(30):
        updated = noted(tmp_path, state("prod", NOW, f"{number}.0.0"))
    assert updated is not None
    assert len(updated.states) == 20
    assert updated.states[0].items[0].version == "29.0.0"


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"key": 7}', b'{"key": {"server": "", "platform": ""}, "states": []}']
)
def test_a_damaged_file_is_written_anew(tmp_path: Path, content: bytes) -> None:
    noted(tmp_path, state("prod", NOW))
    root = Store.at(tmp_path).root("addon")
    [file] = root.bundles.iterdir()
    file.write_bytes(content)
    assert history.last_good(root, KEY) is None
    assert history.read_all(root) == ()
    noted(tmp_path, state("prod", NOW))
    assert history.last_good(root, KEY) is not None


def test_a_newer_file_is_understood_as_far_as_it_goes(tmp_path: Path) -> None:
    noted(tmp_path, state("prod", NOW))
    root = Store.at(tmp_path).root("addon")
    [file] = root.bundles.iterdir()
    newer = msgspec.json.decode(file.read_bytes()) | {"format": 2, "signed_by": "somebody"}
    file.write_bytes(msgspec.json.encode(newer))
    good = history.last_good(root, KEY)
    assert good is not None
    assert good.bundle == "prod"


def test_each_choice_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [
        BundleChoice(),
        BundleChoice(staging=True),
        BundleChoice(dev=True),
        BundleChoice(bundle="prod"),
        BundleChoice(project="demo"),
        BundleChoice(project_bundle="demo"),
    ]
    keys = {Key.of("https://ayon.example", choice, "linux") for choice in choices}
    keys |= {Key.of("https://ayon.example", BundleChoice(), "linux", lock=True)}
    keys |= {Key.of("https://other.example", BundleChoice(), "linux"), Key.of("https://ayon.example", choices[0], "x")}
    assert len(keys) == len(choices) + 3
    [dev] = [key for key in keys if key.user]
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setitem(os.environ, variable, "somebody-else")
    assert Key.of("https://ayon.example", BundleChoice(dev=True), "linux") != dev
