"""Obtain one archive, verified, by the cheapest way that works. So far there is one way: the network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ayon_async.errors import ArchiveError, StoreError
from ayon_async.locate import Job
from ayon_async.progress import Entry, Phase
from ayon_async.store import Store
from ayon_async.store.lease import Lease
from ayon_async.threads import in_thread
from ayon_async.transfer import Arrival, Fetched, Outgrown, Part, SmallPart, Transfers, detach_part, remove_part


@asynccontextmanager
async def acquired(
    job: Job,
    path: Path,
    transfers: Transfers,
    store: Store,
    entry: Entry,
    *,
    in_memory: bool = False,
    whole: bool = False,
    on_arrival: Callable[[Arrival], None] | None = None,
) -> AsyncIterator[Fetched]:
    """The archive, while it is needed; gone afterwards, unless the work with it could not be ended.

    Args:
        path: Where its bytes are collected, see `part_of`.
        in_memory: Whether it is small and nothing of it is on disk: then nothing is put there.
        whole: Whether it must not be put together from pieces.
        on_arrival: Gets the means to read a large archive while it arrives.

    Raises:
        TransferError, AccessDenied: No source gives it.
        StoreError: It can't be written.
    """
    if in_memory:
        small = SmallPart(path, job.archive.algorithms)
        try:
            try:
                fetched = await transfers.fetch(job.archive, small, entry, whole=whole)
            except Outgrown:
                entry.have(0)
            else:
                yield fetched
                return
        except ArchiveError:
            raise  # of a bad archive nothing is worth keeping
        except BaseException:
            await in_thread(_put_down, job, store, small)
            raise
    opened: list[Part] = []

    def open_part(lease: Lease) -> None:
        if lease.taken_over:
            # Its former holder may come back and write on into the file that it has open: let it have that one.
            detach_part(path)
        opened.append(Part(path, job.archive.algorithms, job.item.folder))

    transfers.wanted[path] += 1
    try:
        # Two items, bundles or processes may want the same archive: one at a time collects its bytes. Of one in memory
        # only who wants the same item is kept waiting, by the item's own lease.
        name = store.root(job.item.kind).part_lease(path)
        async with store.lease(job.item.kind, name, lambda: entry.set(phase=Phase.WAITING), open_part) as lease:
            [part], keep = opened, True
            try:
                yield await transfers.fetch(job.archive, part, entry, whole=whole, on_arrival=on_arrival)
                keep = transfers.wanted[path] > 1
            except ArchiveError:
                keep = False  # of a bad archive nothing is worth keeping
                raise
            finally:
                await in_thread(_end, lease, part, keep)
    finally:
        transfers.wanted[path] -= 1
        for part in opened:
            part.close()  # where this was cancelled while it was opened


def is_small(job: Job) -> bool:
    """Whether the archive is too small to be worth a file, as far as is known."""
    return job.archive.expected is not None and job.archive.expected <= SmallPart.MOST


def _end(lease: Lease, part: Part, keep: bool) -> None:
    """End the work with a part, and its lease; what somebody else took over stays as it is."""
    lost = lease.is_lost()
    try:
        if keep and not lost:
            part.save()
    finally:
        part.close()  # before it is removed: Windows removes no open files
        # With what came without a length nobody could go on, and it may have filled the disk.
        if not lost and not (keep and part.is_saved):
            remove_part(part.path)
    lease.give_back()


def _put_down(job: Job, store: Store, small: SmallPart) -> None:
    """Put on disk what came, for another run to go on with, unless somebody else does so."""
    if small.size is None or small.validator is None or not small.done.spans:
        return  # with that nobody could go on
    root = store.root(job.item.kind)
    with contextlib.suppress(StoreError, OSError), store.lease_now(root.kind, root.part_lease(small.path)) as mine:
        if mine and not small.path.exists():
            part = Part(small.path, job.archive.algorithms, job.item.folder)
            try:
                small.copy_to(part)
            finally:
                part.close()


def part_of(job: Job, store: Store) -> Path:
    """Where the archive's bytes are collected.

    Named by what tells this archive from others: its attested checksum, else where it is; the sidecar knows its state.
    What a lock file or an earlier run says of it is no part of the name: it comes and goes between runs.
    """
    checksum = next((source.checksum for source in job.archive.sources if source.checksum and not source.pin), None)
    key = f"{checksum.algorithm}:{checksum.digest}" if checksum else job.archive.sources[0].location
    return store.root(job.item.kind).part(key)
