"""One sync inside one process, timed after imports; prints what it cost as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

# A sync imports these two itself where something is missing.
import ayon_async.install
import ayon_async.room  # noqa: F401
from ayon_async import AyonServer, Store, SyncReport, sync


@contextmanager
def longest_step() -> Iterator[list[float]]:
    """Measure every step of this thread's event loop; the list has the longest one's processor time in seconds."""
    longest = [0.0]
    plain = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        before = time.thread_time()
        try:
            plain(handle)
        finally:
            longest[0] = max(longest[0], time.thread_time() - before)

    asyncio.Handle._run = timed  # type: ignore[assignment, method-assign]
    try:
        yield longest
    finally:
        asyncio.Handle._run = plain  # type: ignore[method-assign]


async def _sync(arguments: argparse.Namespace) -> tuple[SyncReport, float]:
    async with AyonServer(arguments.server, api_key=os.environ["AYON_API_KEY"]) as server:
        begun = time.perf_counter()
        report = await sync(server, Store.at(arguments.store), jobs=arguments.jobs)
        return report, time.perf_counter() - begun


def main() -> None:
    """Sync once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="URL of the AYON server")
    parser.add_argument("store", type=Path)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--steps", action="store_true", help="measure every step of the event loop, which costs time")
    arguments = parser.parse_args()
    with longest_step() if arguments.steps else nullcontext([0.0]) as longest:
        report, wall = asyncio.run(_sync(arguments))
    report.raise_for_error()
    print(
        json.dumps(
            {
                "wall": wall,
                "step": longest[0],
                "installed": sum(item.state == "installed" for item in report.items),
            }
        )
    )


if __name__ == "__main__":
    main()
