"""Whether there is room for what is missing: where it is known that there is none, nothing is begun."""

from __future__ import annotations

import contextlib

from ayon_async.acquire import part_of
from ayon_async.errors import StoreError, StoreFull
from ayon_async.locate import Job
from ayon_async.progress import Ledger
from ayon_async.store import Need, Store
from ayon_async.store.guard import Room


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
