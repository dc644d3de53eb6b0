"""How large is what is missing, and is there room for it: where it is known that there is none, nothing is begun."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Collection
from dataclasses import replace

from ayon_async.acquire import part_of
from ayon_async.effort import MOST_CONNECTIONS
from ayon_async.errors import StoreError, StoreFull
from ayon_async.locate import Job
from ayon_async.progress import Ledger
from ayon_async.server import AyonServer
from ayon_async.store import Need, Store
from ayon_async.store.guard import Room
from ayon_async.transfer import probe

_PATIENCE = 1.0
"""For how many times as long as half of the sizes took the others are waited for, ..."""
_LEAST = 0.1
"""... and for how many seconds at least."""


async def learn_sizes(
    jobs: list[Job], server: AyonServer, ledger: Ledger, connections: int, *, patiently: bool = False
) -> list[Job]:
    """The jobs with the sizes that the server did not give, where the archives' own sources give them in time.

    They serve the order and a look at the room only: one lost packet, or a dead source, must not hold up the others.

    Args:
        patiently: Whether every source is waited for.
    """
    gate = asyncio.Semaphore(min(max(1, connections), MOST_CONNECTIONS))

    async def ask(job: Job) -> int | None:
        source = job.archive.sources[0]
        # A share costs no connection, and a dead one must not hold up one archive after the other.
        async with contextlib.nullcontext() if source.kind == "filesystem" else gate:
            probed = await probe(source, server)
        return probed.size if probed else None

    async with asyncio.TaskGroup() as group:
        asked = {job.item: group.create_task(ask(job)) for job in jobs if job.archive.size is None and job.near is None}
        if not patiently:
            await _wait_for_most(asked.values())

    def learned(job: Job) -> Job:
        probed = None
        if job.item in asked:
            probed = None if asked[job.item].cancelled() else asked[job.item].result()
        elif job.archive.size is None and job.near is not None:
            probed = job.near.record.size
        archive = replace(job.archive, probed=probed)
        ledger[job.item].set(size=archive.expected)
        return replace(job, archive=archive)

    return [learned(job) for job in jobs]


async def _wait_for_most(tasks: Collection[asyncio.Task[int | None]]) -> None:
    """Wait for half of the tasks and some time longer; the others are cancelled."""
    begun = time.monotonic()
    for first in itertools.islice(asyncio.as_completed(tasks), (len(tasks) + 1) // 2):
        await first
    pending = {task for task in tasks if not task.done()}
    if pending:
        _, pending = await asyncio.wait(pending, timeout=max(_LEAST, _PATIENCE * (time.monotonic() - begun)))
    for task in pending:
        task.cancel()


async def with_room(jobs: list[Job], store: Store, ledger: Ledger) -> list[Job]:
    """The jobs, or none where it is known that there is no room for them all: half a bundle is of no use."""
    needs = [Need(job.item, job.archive.expected, None if job.near else part_of(job, store)) for job in jobs]
    if await _shortage(needs, store) is None:
        return jobs
    with contextlib.suppress(StoreError):
        await store.sweep(keep={job.item.folder for job in jobs})  # killed runs may have left much
    short = await _shortage(needs, store, flushed=True)
    if short is None:
        return jobs
    for job in jobs:
        error = StoreFull(f"{job.item.label}: {_sentence(short)}", "Free some space, then sync again.")
        ledger[job.item].end(job.item.failed(error))
    return []


async def _shortage(needs: list[Need], store: Store, *, flushed: bool = False) -> Room | None:
    return next((room for room in await store.room(needs, flushed=flushed) if not room.enough), None)


def _sentence(room: Room) -> str:
    unknown = f"; sizes unknown and not counted: {room.unknown}" if room.unknown else ""
    return (
        f"what is missing needs {room.needed:,} bytes (an estimate: the download, and once more the archives' size to"
        f" unpack them{unknown}), and {room.free:,} are free in {room.path}."
    )
