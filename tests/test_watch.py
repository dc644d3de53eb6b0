"""A watch against a real server: news, moods, pauses, other bundles, and servers that go and come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.devserver.faults import Slow, Status
from ayon_async.watch import Mood
from cli_machine import Machine
from watching import until, watching


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
        begun = time.monotonic()
        await server.promote("staging")
        await seen.until(lambda state: state.mood is not Mood.IDLE)
        assert time.monotonic() - begun < 2
        await seen.idle("staging")
    assert [update.labels for update in seen.updates[1:]] == [("core 1.1.0",)]
