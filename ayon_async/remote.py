"""Whether the server's archives of what is installed may have changed under the same version; nothing is downloaded.

The server gives no checksums of addons, so this is what size and validator tell. A validator is made from an archive's
time: the same bytes, uploaded again, have another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ayon_async.item import Item
from ayon_async.locate import Archive, Details, Job, Source, locate
from ayon_async.report import Remote
from ayon_async.server import AyonServer
from ayon_async.store import Held, Record
from ayon_async.transfer import Probe, probe
from ayon_async.urls import redact

_PROBES = 8


async def compare(server: AyonServer, held: Mapping[Item, Held], details: Details, platform: str) -> dict[Item, Remote]:
    """For each item that is on disk whether its archive may have changed; asks each one's source for one byte."""
    gate = asyncio.Semaphore(_PROBES)

    async def ask(item: Item, record: Record) -> Remote:
        job = locate(item, details, server, platform)
        if not isinstance(job, Job):
            return "unknown"  # the server has it no more
        attested = _by_checksum(record, job.archive)
        if attested is not None:
            return attested
        async with gate:
            return judge(record, await probe(_source(record, job.archive), server))

    async with asyncio.TaskGroup() as group:
        tasks = {item: group.create_task(ask(item, there.record)) for item, there in held.items()}
    return {item: task.result() for item, task in tasks.items()}


def _by_checksum(record: Record, archive: Archive) -> Remote | None:
    """What the checksum tells that the server attests now, where it attests one that can be compared."""
    checksum = archive.checksum
    if checksum is None:
        return None
    known = {"sha256": record.sha256, record.checksum_algorithm or "": record.checksum}.get(checksum.algorithm)
    if known is None:
        return None
    return "same" if known == checksum.digest else "may_have_changed"


def _source(record: Record, archive: Archive) -> Source:
    """The source that served it, if it is still there: another one's validator tells nothing."""
    return next((source for source in archive.sources if redact(source.location) == record.source), archive.sources[0])


def judge(record: Record, found: Probe | None) -> Remote:
    """What the source's answer tells; pure."""
    if found is None:
        return "unknown"
    if None not in (record.size, found.size) and record.size != found.size:
        return "may_have_changed"
    if redact(found.validator.url) == record.source:
        pairs = ((record.etag, found.validator.etag), (record.modified, found.validator.modified))
        for before, now in pairs:
            if before is not None and now is not None:
                return "same" if before == now else "may_have_changed"
    return "unknown"
