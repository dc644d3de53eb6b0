"""Obtain one archive, verified, by the cheapest way that works. So far there is one way: the sources, in order."""

from __future__ import annotations

from ayon_async.errors import TransferError
from ayon_async.locate import Job
from ayon_async.progress import Entry
from ayon_async.server import AyonServer
from ayon_async.store import Store
from ayon_async.transfer import Fetched, fetch


async def acquire(job: Job, server: AyonServer, store: Store, entry: Entry) -> Fetched:
    """The archive, from the first source that gives it.

    Raises:
        TransferError: No source gives it; the message has each one's reason.
        AccessDenied: The AYON server refuses us.
    """
    item, archive = job.item, job.archive
    checksum = archive.checksum
    key = f"{checksum.algorithm}:{checksum.digest}" if checksum else f"{server.url} {item.kind} {item.folder}"
    failures: list[TransferError] = []
    for source in archive.sources:
        try:
            return await fetch(source, archive.size, server, store.part(item, key), entry)
        except TransferError as error:
            failures.append(error)
            entry.set(reason=error.message)
            entry.have(0)
    if len(failures) == 1:
        raise failures[0]
    reasons = " ".join(f"{number}. {error.message}" for number, error in enumerate(failures, 1))
    raise type(failures[-1])(f"None of the {len(failures)} sources gives {item.label}: {reasons}", failures[-1].hint)
