"""A watch against a real server: news, moods, pauses, other bundles, and servers that go and come."""

from __future__ import annotations

import asyncio
import os
import time
import tomllib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from ayon_async.cli import setup
from ayon_async.credentials import Credentials
from ayon_async.devserver import ARTIST, Bundle, DevServer, tiny_studio
from ayon_async.devserver.faults import Slow, Status
from ayon_async.errors import BundleError, NotSignedIn, ServerUnreachable, SettingsError
from ayon_async.paths import platform_folders
from ayon_async.watch import Mood
from ayon_async.watch.clock import Clock
from cli_machine import Machine
from watching import QUICK, configure, settings_file, until, watching


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(), heartbeat=0.2) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


async def test_it_begins_with_a_sync_and_says_who_is_signed_in(machine: Machine) -> None:
    async with watching(machine) as seen:
        state = await seen.idle()
    assert seen.moods[0] in (Mood.STARTING, Mood.CHECKING)
    assert (state.user, state.follows, state.has_dev_bundle) == ("artist", "production", True)
    assert state.report is not None
    assert {item.state for item in state.report.items} == {"installed"}
    assert state.checked is not None
    [update] = seen.updates
    assert (len(update.labels), update.bundle) == (4, "prod")
    assert seen.failures == []


async def test_a_promotion_is_noticed_within_two_seconds(machine: Machine, server: DevServer) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        seen.forget()
        begun = time.monotonic()
        await server.promote("staging")
        await seen.passed(Mood.CHECKING)
        assert time.monotonic() - begun < 2
        await seen.idle("staging")
    assert [update.labels for update in seen.updates[1:]] == [("core 1.1.0",)]


# --- news -------------------------------------------------------------------------------------------------------------


async def test_a_wake_up_waits_a_random_while_and_check_now_does_not(machine: Machine, server: DevServer) -> None:
    async with watching(machine, news_wait="1h") as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        server.forget_requests()
        await server.promote("staging")
        await seen.mood(Mood.CHECKING)  # what waits is not verified
        assert server.requests_to("/api/bundles") == []
        seen.watch.check_now()
        await seen.idle("staging")


async def test_a_burst_of_news_is_one_check(machine: Machine, server: DevServer) -> None:
    async with watching(machine, news_wait="1s") as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        server.forget_requests()
        seen.forget()
        for _ in range(20):
            await server.news.tell("bundle.updated")
        await seen.passed(Mood.CHECKING)
        await seen.idle()
        assert 1 <= len(server.requests_to("/api/bundles")) <= 2, "a second one where news came while it ran"


async def test_news_of_other_things_wake_nobody(machine: Machine, server: DevServer) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        server.forget_requests()
        await server.news.tell("server.restart_requested")  # nothing to ask while it goes down
        await server.news.tell("bundle.updated")
        await until(lambda: server.requests_to("/api/bundles"))
        await seen.idle()
        assert len(server.requests) == 1


async def test_without_news_a_poll_finds_what_changed(machine: Machine, server: DevServer) -> None:
    server.faults.add("/ws", Status(404))
    async with watching(machine, check_every="1s") as seen:
        await seen.idle()
        assert not seen.state.listening
        bundles = [replace(one, is_production=one.name == "staging") for one in server.studio.bundles]
        server.studio = replace(server.studio, bundles=tuple(bundles))
        await seen.idle("staging")
        assert Mood.OFFLINE not in seen.moods


async def test_a_silent_connection_is_dead(machine: Machine, server: DevServer) -> None:
    server.news.heartbeat = 60.0
    async with watching(machine, replace(QUICK, silence=0.3)) as seen:
        await until(lambda: len(server.requests_to("/ws")) >= 3)
        await seen.idle()
        assert Mood.OFFLINE not in seen.moods


async def test_a_restarting_server_is_listened_to_again(machine: Machine, server: DevServer) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        await server.news.restart()
        await seen.until(lambda state: not state.listening)
        await seen.until(lambda state: state.listening)
        await server.promote("staging")
        await seen.idle("staging")


# --- the server goes and comes ----------------------------------------------------------------------------------------


async def test_a_server_that_goes_and_comes_back(machine: Machine, server: DevServer) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        await server.stop()
        state = await seen.mood(Mood.OFFLINE)
        assert isinstance(state.error, ServerUnreachable)
        bundles = [replace(one, is_production=one.name == "staging") for one in server.studio.bundles]
        server.studio = replace(server.studio, bundles=tuple(bundles))
        seen.forget()
        await server.start()
        await seen.idle("staging")
    assert {state.bundle for state in seen.states if state.mood is Mood.IDLE} == {"staging"}, "not verified before"
    assert seen.failures == []


async def test_a_start_without_the_server_shows_what_is_there(machine: Machine, server: DevServer) -> None:
    assert (await machine.call("sync")).code == 0
    await server.stop()
    async with watching(machine) as seen:
        state = await seen.until(lambda state: state.mood is Mood.OFFLINE and state.snapshot is not None)
        assert state.snapshot is not None
        assert len(state.snapshot.items) == 4
        assert state.update is not None, "the store's history tells it"
        assert (state.bundle, len(state.update.labels)) == ("prod", 4)
        await server.start()
        await seen.idle()
    assert seen.updates == [], "nothing has changed"


async def test_a_sleeping_computer_checks_when_it_wakes(machine: Machine, server: DevServer) -> None:
    ahead = 0.0
    clock = Clock(wall=lambda: time.time() + ahead)
    async with watching(machine, replace(QUICK, clock=clock)) as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        server.forget_requests()
        ahead = 3600.0
        await until(lambda: server.requests_to("/api/bundles") and server.requests_to("/ws"))
        await seen.idle()


# --- a person ---------------------------------------------------------------------------------------------------------


async def test_a_pause_in_a_download_loses_nothing(machine: Machine, server: DevServer) -> None:
    server.studio = tiny_studio(400_000)
    slow = server.faults.add("/addons/*", Slow(100_000))
    async with watching(machine) as seen:
        await until(lambda: server.bytes_sent("/addons/*") > 300_000)
        assert seen.state.mood is Mood.WORKING
        seen.watch.pause()
        await seen.mood(Mood.PAUSED)
        await until(lambda: not seen.watch._board.facts.is_running)
        await until(lambda: all(record.done for record in server.requests_to("/addons/*")))
        came = server.bytes_sent("/addons/*")
        server.faults.remove(slow)
        server.forget_requests()
        seen.watch.check_now()
        await until(lambda: seen.watch._board.facts.pending)
        assert server.requests_to("/api/bundles") == [], "a pause is a pause"
        seen.watch.resume()
        await seen.idle()
        assert came > 250_000
        assert server.bytes_asked("/addons/*") < 3 * 400_000 - 200_000
    moods = seen.moods
    assert Mood.IDLE not in moods[: moods.index(Mood.PAUSED)]


async def test_another_bundle_is_followed_and_remembered(machine: Machine, server: DevServer) -> None:
    async with watching(machine, jobs=4) as seen:
        await seen.idle()
        seen.watch.follow("staging")
        state = await seen.idle("staging")
        assert state.follows == "staging"
        assert tomllib.loads(settings_file(machine).read_text()) == {"news_wait": 0, "jobs": 4, "use_staging": True}
        seen.watch.follow("dev")
        assert (await seen.idle("dev-artist")).follows == "dev"
        seen.watch.follow("production")
        assert (await seen.idle("prod")).follows == "production"
        assert tomllib.loads(settings_file(machine).read_text()) == {"news_wait": 0, "jobs": 4}
    pairs = {(state.follows, state.bundle) for state in seen.states if state.mood is Mood.IDLE}
    assert pairs == {("production", "prod"), ("staging", "staging"), ("dev", "dev-artist")}, "never of the one before"


async def test_a_choice_counts_where_the_file_has_no_say(machine: Machine, server: DevServer) -> None:
    machine.env["AYON_USE_STAGING"] = "1"
    async with watching(machine) as seen:
        await seen.idle("staging")
        seen.watch.follow("production")
        assert (await seen.idle("prod")).follows == "production"


async def test_what_is_locked_is_not_changed(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('lock = ["use_staging", "limit_rate"]\n')
    monkeypatch.setattr(setup, "platform_folders", lambda: replace(platform_folders(), machine=tmp_path))
    async with watching(machine) as seen:
        await seen.idle()
        seen.watch.follow("staging")
        seen.watch.limit(1e6)
        seen.forget()
        seen.watch.check_now()
        await seen.passed(Mood.CHECKING)
        state = await seen.idle()
    assert (state.follows, state.limit) == ("production", None)
    assert tomllib.loads(settings_file(machine).read_text()) == {"news_wait": 0}


async def test_a_limit_is_moved_under_a_running_download(machine: Machine, server: DevServer) -> None:
    server.studio = tiny_studio(2_000_000)
    async with watching(machine, limit_rate="200k") as seen:  # it would take forty seconds
        await until(lambda: server.bytes_sent("/addons/*") > 0)
        assert seen.state.limit == 200_000
        seen.watch.limit(20e6)
        await seen.idle()
        assert seen.state.limit == 20e6
        assert tomllib.loads(settings_file(machine).read_text())["limit_rate"] == 20_000_000
        assert len(server.requests_to("/api/bundles")) == 1, "it was not begun anew"


async def test_a_change_of_the_file_is_taken(machine: Machine, server: DevServer) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        configure(machine, news_wait=0, use_staging=True)
        assert (await seen.idle("staging")).follows == "staging"
        settings_file(machine).write_text("use_staging = maybe\n")
        state = await seen.mood(Mood.ERROR)
        assert isinstance(state.error, SettingsError)
        configure(machine, news_wait=0)
        await seen.idle("prod")


# --- who one is -------------------------------------------------------------------------------------------------------


def without_key(machine: Machine) -> Credentials:
    """Take the key from the environment; returns where tokens are kept."""
    machine.env.pop("AYON_API_KEY")
    return Credentials(settings_file(machine).parent)


def token_of_artist(server: DevServer) -> str:
    return server.accounts.open_session(ARTIST)


async def keep_token(machine: Machine, credentials: Credentials, url: str, token: str) -> None:
    with mock.patch.dict(os.environ, machine.env, clear=True):
        await asyncio.to_thread(credentials.save, url, token)


async def test_from_signed_out_to_in_place(machine: Machine, server: DevServer) -> None:
    credentials = without_key(machine)
    async with watching(machine) as seen:
        state = await seen.mood(Mood.SIGNED_OUT)
        assert isinstance(state.error, NotSignedIn)
        await keep_token(machine, credentials, server.url, token_of_artist(server))
        seen.watch.signed_in(server.url)
        assert (await seen.idle()).user == "artist"


async def test_a_key_that_is_kept_hears_news_too(machine: Machine, server: DevServer) -> None:
    await keep_token(machine, without_key(machine), server.url, "artist-key")
    async with watching(machine) as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        await server.promote("staging")
        await seen.idle("staging")


async def test_a_sign_in_elsewhere_is_noticed(machine: Machine, server: DevServer) -> None:
    credentials = without_key(machine)
    async with watching(machine) as seen:
        await seen.mood(Mood.SIGNED_OUT)
        await keep_token(machine, credentials, server.url, token_of_artist(server))
        await seen.idle()


async def test_a_sign_in_to_another_server_moves_there(machine: Machine, server: DevServer) -> None:
    credentials = without_key(machine)
    await keep_token(machine, credentials, server.url, token_of_artist(server))
    async with DevServer(tiny_studio()) as other, watching(machine) as seen:
        await seen.idle()
        await keep_token(machine, credentials, other.url, token_of_artist(other))
        seen.watch.signed_in(other.url)
        await seen.until(lambda state: state.mood is Mood.IDLE and state.server == other.url)
        assert other.requests_to("/api/bundles")


async def test_a_token_that_expires_is_said_once(machine: Machine, server: DevServer) -> None:
    credentials = without_key(machine)
    await keep_token(machine, credentials, server.url, token_of_artist(server))
    async with watching(machine, check_every="1s") as seen:
        await seen.idle()
        await seen.until(lambda state: state.listening)
        server.accounts.end_all_sessions()
        await server.promote("staging")
        state = await seen.mood(Mood.SIGNED_OUT)
        assert (state.user, state.was_user, state.server) == (None, "artist", server.url)
        server.forget_requests()
        seen.forget()
        await until(lambda: len(server.requests) >= 2)  # as often as it polls, no more
        assert {record.path for record in server.requests} == {"/api/users/me"}
        assert {state.mood for state in seen.states} <= {Mood.SIGNED_OUT}
        assert seen.failures == []
        await keep_token(machine, credentials, server.url, token_of_artist(server))
        seen.watch.signed_in(server.url)
        state = await seen.idle("staging")
        assert (state.user, state.was_user) == ("artist", None)


async def test_signing_out(machine: Machine, server: DevServer) -> None:
    credentials = without_key(machine)
    token = token_of_artist(server)
    await keep_token(machine, credentials, server.url, token)
    async with watching(machine) as seen:
        await seen.idle()
        seen.watch.sign_out()
        state = await seen.mood(Mood.SIGNED_OUT)
        assert (state.user, state.was_user) == (None, None)
        await until(lambda: token not in server.accounts.sessions)
        await until(lambda: credentials.load(server.url) is None)
    assert seen.moods[-1] is Mood.SIGNED_OUT


async def test_who_signed_out_stays_out(machine: Machine, server: DevServer) -> None:
    """A key in the environment signs nobody in again: not by the clock, and not by other settings."""
    async with watching(machine, replace(QUICK, tick=0.05)) as seen:
        await seen.idle()
        seen.watch.sign_out()
        await seen.mood(Mood.SIGNED_OUT)
        server.forget_requests()
        configure(machine, news_wait=0, check_every="1s")
        await seen.until(lambda state: state.mood is Mood.SIGNED_OUT)
        configure(machine, news_wait=0, check_every="1s", use_staging=True)
        await seen.until(lambda state: state.follows == "staging")
        await asyncio.sleep(1.5)  # longer than it would take to ask again
        assert (seen.watch.state.mood, server.requests_to("/api/bundles")) == (Mood.SIGNED_OUT, [])
        seen.watch.signed_in(server.url)
        await seen.idle("staging")


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_a_failure_is_told_once_and_tried_again(machine: Machine, server: DevServer) -> None:
    fault = server.faults.add("/addons/maya/*", Status(404))
    async with watching(machine, replace(QUICK, first=0.01, longest=0.02)) as seen:
        state = await seen.mood(Mood.ATTENTION)
        assert state.report is not None
        assert [item.name for item in state.report.items if item.state == "failed"] == ["maya"]
        await until(lambda: len(server.requests_to("/api/bundles")) >= 3)
        await seen.mood(Mood.ATTENTION)
        assert (len(seen.failures), seen.updates) == (1, [])
        server.faults.remove(fault)
        seen.watch.check_now()
        await seen.idle()
    [update] = seen.updates
    assert len(update.labels) == 4, "it is complete only now"


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_replaced_while_it_arrives(machine: Machine, server: DevServer, fails: bool) -> None:
    slow = server.faults.add("/addons/core/1.0.0/*", Slow(15_000))
    if fails:
        server.faults.add("/addons/maya/1.0.0/*", Status(404))
    async with watching(machine, news_wait=3600) as seen:
        await seen.until(lambda state: state.listening and state.mood is Mood.WORKING)
        await until(lambda: server.bytes_sent("/addons/core/1.0.0/*"))
        await server.add_bundle(Bundle("next", {"core": "1.1.0"}))
        await server.promote("next")
        server.faults.remove(slow)
        await seen.idle("next")
    assert seen.failures == [], "nobody needs it any more"


async def test_a_bundle_that_is_not_there_is_an_error(machine: Machine, server: DevServer) -> None:
    async with watching(machine, bundle="nowhere") as seen:
        state = await seen.mood(Mood.ERROR)
        assert isinstance(state.error, BundleError)
        assert len(seen.failures) == 1
        seen.watch.follow("production")
        await seen.idle()


# --- ahead ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", ["staging", "all"])
async def test_a_promotion_of_what_was_fetched_ahead_costs_no_byte(
    machine: Machine, server: DevServer, prefetch: str
) -> None:
    later = Bundle("later", {"core": "1.1.0", "maya": "1.0.0", "nuke": "1.1.0"}, created_at="2026-12-01T10:00:00+00:00")
    async with watching(machine, prefetch=prefetch) as seen:
        await seen.idle()
        await until(lambda: "addons/core_1.1.0/dist_progress.json" in machine.store)
        await seen.until(lambda state: state.listening)
        name = "staging"
        if prefetch == "all":
            await server.add_bundle(later)
            await until(lambda: "addons/nuke_1.1.0/dist_progress.json" in machine.store)
            name = "later"
        await seen.until(lambda state: state.mood is Mood.IDLE and state.prefetching is None)
        history = (await machine.call("history")).out
        assert "prod (production)" in history
        assert "staging" not in history
        assert "later" not in history
        assert [update.bundle for update in seen.updates] == ["prod"], "what is fetched ahead is nobody's update yet"
        server.forget_requests()
        await server.promote(name)
        await seen.idle(name)
        assert server.bytes_asked() == 0
        assert seen.updates[-1].labels[0] == "core 1.1.0"


async def test_what_is_fetched_ahead_gives_way(machine: Machine, server: DevServer) -> None:
    server.faults.add("/addons/core/1.1.0/*", Slow(2_000))
    async with watching(machine, prefetch="staging") as seen:
        state = await seen.until(lambda state: state.prefetching and state.mood is Mood.WORKING)
        assert state.prefetching == "staging"
        await seen.until(lambda state: state.listening)
        await server.patch_bundle("prod", {"addons": {"nuke": "1.1.0"}})
        await until(lambda: "addons/nuke_1.1.0/dist_progress.json" in machine.store)
        await seen.until(lambda state: state.prefetching == "staging")


async def test_without_the_setting_nothing_is_fetched_ahead(machine: Machine) -> None:
    async with watching(machine) as seen:
        await seen.idle()
        seen.forget()
        seen.watch.check_now()
        await seen.passed(Mood.CHECKING)
        await seen.idle()
    assert not (machine.storage / "addons/core_1.1.0").exists()
