"""What the tests of transfers share: studios of archives, runs, and what came of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ayon_async import AyonServer, BundleChoice, Store, SyncReport, backoff, sync
from ayon_async.devserver import DevServer, RequestRecord, Studio, addon, noise, zip_bytes
from ayon_async.devserver.faults import Fault
from ayon_async.http import Timeouts
from ayon_async.progress import Watcher
from studios import KEY, leftovers, studio

QUICK = Timeouts(connect=2, silence=0.4)
MAYA = "/addons/maya/1.0.0/private/client.zip"


def archive(name: str, size: int) -> bytes:
    """An archive of exactly this many bytes, most of them one member's, different for each name and size."""
    frame = len(zip_bytes({"data.bin": b""}, stored=True))
    return zip_bytes({"data.bin": noise(size - frame, f"{name} {size}")}, stored=True)


def path_of(name: str) -> str:
    """Where the server has the archive of an addon."""
    return f"/addons/{name}/1.0.0/private/client.zip"


def offering(
    contents: Mapping[str, bytes], *, attested: bool = False, sources: Mapping[str, Any] | None = None, **more: Any
) -> Studio:
    """A studio with one addon for each archive, version 1.0.0.

    Args:
        attested: Whether the server says the archives' checksums.
        sources: Sources of addons that are not only on the server itself.
        more: Further arguments of `studios.studio`.
    """
    versions = {}
    for name, content in contents.items():
        attributes: dict[str, Any] = {"checksum": hashlib.sha256(content).hexdigest()} if attested else {}
        if sources and name in sources:
            attributes["sources"] = tuple(sources[name])
        versions[f"{name} 1.0.0"] = addon(content, **attributes)
    return studio(versions, **more)


async def run(
    dev: DevServer,
    folder: Path,
    choice: BundleChoice = BundleChoice(),  # noqa: B008 - immutable
    *,
    timeouts: Timeouts = QUICK,
    retries: int = 8,
    jobs: int = 1,
    rate: float | None = None,
    progress: Watcher | None = None,
) -> SyncReport:
    """One sync; over one connection unless told otherwise, so that the bytes can be counted."""
    async with AyonServer(dev.url, api_key=KEY, timeouts=timeouts, retries=retries) as server:
        return await sync(server, Store.at(folder), choice, jobs=jobs, rate=rate, progress=progress)


def assert_right(report: SyncReport, folder: Path, contents: Mapping[str, bytes]) -> None:
    """Every archive is installed, with exactly its bytes, and nothing is left of the transfers."""
    assert [(item.label, item.error) for item in report.items if item.state != "installed"] == []
    assert {item.name for item in report.items} == set(contents)
    for item in report.items:
        assert item.path is not None
        assert (item.path / "data.bin").read_bytes() in contents[item.name]
        assert item.size == len(contents[item.name])
    assert leftovers(folder) == []


def downloads(dev: DevServer, glob: str = "*/client.zip") -> list[RequestRecord]:
    """The requests for archives, without those that only ask for a size."""
    return [record for record in dev.requests_to(glob) if record.range != "bytes=0-0"]


def asked(dev: DevServer, glob: str = "*/client.zip") -> int:
    """Bytes of archives that were asked for."""
    return sum(record.asked for record in downloads(dev, glob))


def sent(dev: DevServer, glob: str = "*/client.zip") -> int:
    """Bytes of archives that were sent."""
    return sum(record.bytes_sent for record in downloads(dev, glob) if record.asked)


def break_with(dev: DevServer, *faults: Fault, first: int = 1, path: str = MAYA) -> None:
    """Let the requests for an archive meet these faults, one each, in their order."""
    for number, fault in enumerate(faults, first):
        dev.faults.add(path, fault, attempts=number)


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that happens elsewhere."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon: how long to wait has tests of its own."""
    monkeypatch.setattr(backoff, "FIRST", 0.02)
