"""Against nginx: ranges, a limit on each connection, TLS of a private authority, and its sudden end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from authority import Authority
from ayon_async import AyonServer, Store, SyncReport, backoff, sync
from ayon_async.devserver import DevServer, Studio
from ayon_async.http import Tls
from ayon_async.progress import Snapshot
from nginx_peer import NGINX, Nginx
from studios import KEY
from transfer_bench import archive, assert_right, offering, run, until
from transfer_client import started

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

MIB = 1 << 20
SIZE = 4 * MIB
CONTENT = archive("maya", SIZE)


def house(nginx: Nginx, *, attested: bool = False) -> Studio:
    """A studio whose archive is on nginx."""
    (nginx.files / "maya.zip").write_bytes(CONTENT)
    source = {"type": "http", "url": f"{nginx.url}/maya.zip"}
    return offering({"maya": CONTENT}, attested=attested, sources={"maya": [source]})


class Halfway:
    """Waits until so many bytes of all items are here."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.reached = asyncio.Event()

    def __call__(self, snapshot: Snapshot) -> None:
        if sum(item.bytes_done for item in snapshot.items) >= self._count:
            self.reached.set()


async def test_a_sync_from_nginx(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path / "nginx")
    async with nginx.running(), DevServer(house(nginx)) as dev:
        assert_right(await run(dev, tmp_path / "store"), tmp_path / "store", {"maya": CONTENT})
        await until(lambda: [(answer.status, answer.sent) for answer in nginx.answers()] == [(200, SIZE)])


async def test_its_sudden_end_costs_nothing_that_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.1)
    nginx, halfway = Nginx(tmp_path / "nginx", more="limit_rate 4m;"), Halfway(SIZE // 2)
    async with DevServer(house(nginx)) as dev:
        async with nginx.running():
            task = asyncio.create_task(run(dev, tmp_path / "store", progress=halfway))
            await halfway.reached.wait()
        async with nginx.running():
            report = await task
            assert_right(report, tmp_path / "store", {"maya": CONTENT})
            await until(lambda: any(answer.status == 206 for answer in nginx.answers()))
            [answer] = [answer for answer in nginx.answers() if answer.status == 206]
    assert answer.if_range not in ("", "-")
    assert answer.sent <= SIZE // 2
    assert report.bytes_downloaded == SIZE


async def test_killed_and_resumed(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path / "nginx", more="limit_rate 4m;")
    folder = tmp_path / "store"
    async with nginx.running(), DevServer(house(nginx)) as dev:
        with started(dev.url, folder, jobs=1) as (process, _):
            parts = folder / "addons/.ayon-async/parts"
            await until(lambda: any(path.stat().st_size >= 2 * MIB for path in parts.glob("*.part")))
            process.kill()
            await asyncio.to_thread(process.join)
        assert_right(await run(dev, folder), folder, {"maya": CONTENT})
        await until(lambda: any(answer.status == 206 for answer in nginx.answers()))
        [answer] = [answer for answer in nginx.answers() if answer.status == 206]
    assert answer.sent <= SIZE - MIB


async def test_a_new_file_means_start_over(tmp_path: Path) -> None:
    nginx, halfway = Nginx(tmp_path / "nginx", more="limit_rate 4m;"), Halfway(SIZE // 2)
    folder, new = tmp_path / "store", archive("another maya", SIZE)
    async with nginx.running(), DevServer(house(nginx)) as dev:
        task = asyncio.create_task(run(dev, folder, progress=halfway))
        await halfway.reached.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        (nginx.files / "maya.zip").write_bytes(new)
        later = time.time() + 10
        os.utime(nginx.files / "maya.zip", (later, later))
        assert_right(await run(dev, folder), folder, {"maya": new})
        await until(lambda: [answer.status for answer in nginx.answers()][-1] == 200)


async def test_split_where_it_limits_each_connection(tmp_path: Path) -> None:
    nginx = Nginx(tmp_path / "nginx", more="limit_rate 2m;")
    times = []
    async with nginx.running(), DevServer(house(nginx, attested=True)) as dev:
        for jobs in (1, 8):
            started_at, folder = time.monotonic(), tmp_path / str(jobs)
            assert_right(await run(dev, folder, jobs=jobs), folder, {"maya": CONTENT})
            times.append(time.monotonic() - started_at)
        split = [answer for answer in nginx.answers() if answer.status == 206]
    assert len(split) >= 3
    print(f"{times[0]:.2f} s alone, {times[1]:.2f} s split, ratio {times[1] / times[0]:.2f}")
    assert times[1] < 0.75 * times[0]


async def test_tls_of_a_private_authority(tmp_path: Path) -> None:
    studio, provider = Authority(tmp_path), Authority(tmp_path, "Provider CA")
    both = tmp_path / "both.pem"
    both.write_bytes(studio.file.read_bytes() + provider.file.read_bytes())
    nginx = Nginx(tmp_path / "nginx", certificate=provider.issue("mirror"), more="limit_rate 2m;")
    async with nginx.running(), DevServer(house(nginx), ssl=studio.serve()) as dev:

        async def synced(authorities: Path, name: str) -> SyncReport:
            async with AyonServer(dev.url, api_key=KEY, tls=Tls(authorities)) as server:
                return await sync(server, Store.at(tmp_path / name))

        [item] = (await synced(studio.file, "one")).items
        assert item.error is not None
        assert item.error.message.startswith(f"The certificate of {nginx.url}/maya.zip is not trusted")
        assert nginx.answers() == []
        assert_right(await synced(both, "two"), tmp_path / "two", {"maya": CONTENT})
        # It writes down an answer that was broken off only once it notices.
        await until(lambda: {answer.status for answer in nginx.answers()} == {200, 206})
