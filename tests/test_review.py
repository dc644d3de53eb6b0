"""What a careful stranger found by trying: a test for each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ayon_async import AyonServer, BundleChoice, model
from ayon_async.devserver import DevServer, addon, tiny_studio
from ayon_async.errors import InvalidAnswer, ServerUnreachable
from cli_machine import Machine
from studios import RIGHT, reached, states, studio, synced

SWALLOWED = """
import asyncio, os, signal
from ayon_async.cli import interrupt

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

async def work():
    await asyncio.sleep(60)

interrupt.listen()
finalized = Finalized()
del finalized
try:
    interrupt.run(work)
except interrupt.Stopped:
    raise SystemExit(interrupt.error().exit_code)
"""


@pytest.fixture
async def strangers() -> AsyncIterator[tuple[str, list[Any]]]:
    """Two origins: the first redirects everything to the second, which keeps what it is sent."""
    got: list[Any] = []

    async def keep(request: web.Request) -> web.Response:
        got.append((request.path, await request.text(), dict(request.headers)))
        return web.json_response({"token": "t" * 64})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", keep)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", got
    await runner.cleanup()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_password_is_never_posted_elsewhere(strangers: tuple[str, list[Any]], status: int) -> None:
    elsewhere, got = strangers

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": elsewhere + request.path})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", redirect)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with AyonServer(f"http://127.0.0.1:{runner.addresses[0][1]}") as server:
        with pytest.raises(ServerUnreachable, match=elsewhere):
            await server.login("me", "a password")
    await runner.cleanup()
    assert got == []


async def test_a_second_sync_of_a_project_makes_two_requests(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as dev:
        first = await synced(dev, tmp_path, BundleChoice(project="demo"))
        dev.forget_requests()
        second = await synced(dev, tmp_path, BundleChoice(project="demo"))
        assert reached(dev) == ["/api/bundles", "/api/projects/demo"]
    assert (first.variant, second.variant) == ("project", "project")
    assert {item.label for item in first.items} == {item.label for item in second.items}
    assert second.bytes_downloaded == 0


async def test_a_source_that_can_not_be_used_leaves_the_others(tmp_path: Path) -> None:
    sources: tuple[Any, ...] = ({"type": "http", "url": 5}, {"type": "server", "filename": "client.zip"})
    house = studio({"maya 1.0.0": addon(RIGHT, sources=sources)})
    async with DevServer(house) as dev:
        assert states(await synced(dev, tmp_path)) == {"maya 1.0.0": "installed"}


@pytest.mark.parametrize(
    ("body", "kind", "field"),
    [
        (
            b'{"bundles": [{"name": "a", "addons": {"x": "1", "maya": 3}}]}',
            model.Bundles,
            "$.bundles[0].addons['maya']",
        ),
        (
            b'{"addons": [{"name": "a", "versions": {"1.0.0": {}, "2.0.0": {"clientSourceInfo": 4}}}]}',
            model.Addons,
            "$.addons[0].versions['2.0.0'].clientSourceInfo",
        ),
    ],
)
def test_a_wrong_type_is_named_with_its_key(body: bytes, kind: type[Any], field: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        model.decode(body, kind, "https://ayon/api/x")
    assert field in caught.value.message
    assert "https://ayon/api/x" in caught.value.message


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals that can be sent to oneself")
def test_a_signal_that_python_drops_still_ends_the_run() -> None:
    ended = subprocess.run([sys.executable, "-c", SWALLOWED], timeout=30, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 130, ended.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such rights")
async def test_a_store_that_all_may_write_is_refused_until_it_is_trusted(tmp_path: Path) -> None:
    async with DevServer(tiny_studio()) as dev:
        machine = Machine(tmp_path, dev.url)
        assert (await machine.call("sync")).code == 0
        (machine.storage / "addons").chmod(0o777)
        refused = await machine.call("sync", "--json")
        assert refused.code == 1
        assert f"chmod -R o-w {machine.storage / 'addons'}" in refused.document["error"]["hint"]
        assert (await machine.call("sync", "--json", "--trust-store")).code == 0
