"""A large update under the tray's eyes: its window stays alive, and it is about as fast as the command line."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from ayon_async.devserver import noise, zip_bytes
from cli_machine import CHECKOUT, Machine
from test_tray_driven import Driver, driving_missing
from watching import configure

if not driving_missing():
    from tray_desktop import desktop

SERVER = """
import asyncio, sys
from pathlib import Path
from ayon_async.devserver import USERS, Bundle, DevServer, Studio, addon

async def main():
    archives = {(path.stem, "1.0.0"): addon(path) for path in Path(sys.argv[1]).iterdir()}
    bundle = Bundle("prod", dict(list(archives)), is_production=True)
    async with DevServer(Studio(users=USERS, addons=archives, bundles=(bundle,))) as server:
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def archive(path: Path) -> None:
    """Fifty megabytes, in a hundred files of which half can be made smaller."""
    name = path.stem
    plain = {f"ayon_{name}/data/{number}.bin": noise(500_000, f"{name}{number}") for number in range(99)}
    path.write_bytes(zip_bytes({f"ayon_{name}/__init__.py": "", **plain}))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(driving_missing()), reason=driving_missing() or "runs")
async def test_the_window_stays_alive_while_much_arrives(tmp_path: Path) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    for number in range(16):
        archive(archives / f"addon{number:02}.zip")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    pipe = asyncio.subprocess.PIPE
    env = Machine(tmp_path).env
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, str(archives), env=env, stdout=pipe)
    try:
        assert server.stdout is not None
        url = (await server.stdout.readline()).decode().strip()
        line = await Machine(tmp_path / "one", url).run("sync", "--json")
        assert line.code == 0, line.err
        async with desktop() as desk:
            figures = tmp_path / "figures.json"
            machine = Machine(tmp_path / "other", url, TRAY_PROBE=str(figures), **desk.env)
            configure(machine, news_wait=0)
            process = await machine.start_python(str(CHECKOUT / "tests/tray_probe.py"))
            driver = Driver(machine, desk, process)
            try:
                async with asyncio.timeout(200):
                    while not figures.exists():
                        assert process.returncode is None, await process.communicate()
                        await asyncio.sleep(0.1)
                await asyncio.sleep(0.2)
                await driver.end()
            finally:
                if process.returncode is None:
                    process.kill()
    finally:
        server.kill()
        await server.wait()
    probe = json.loads(figures.read_text())
    ratio = line.document["seconds"] / probe["seconds"]
    told = f"{probe['worst'] * 1000:.0f} ms at worst, {ratio:.2f} of the command line's speed"
    print(told)
    assert ratio > 0.8, told
    assert probe["worst"] < 0.1, told
