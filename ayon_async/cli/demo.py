"""``ayon-async demo``: syncs and a promotion against the embedded server, with nothing of this machine's touched."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, options
from ayon_async.cli.output import Output
from ayon_async.errors import AyonAsyncError

if TYPE_CHECKING:
    from ayon_async.devserver import DevServer, Studio
    from ayon_async.report import SyncReport
    from ayon_async.store import Store


def demo(
    ctx: typer.Context,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    headless: options.Headless = False,
) -> None:
    """Show syncs against a server of its own.

    A sync, a promotion and the sync after it, with a sample studio.

    Needs no server and no settings, and leaves nothing but the sample's archives in the cache.
    """
    command.run_alone(ctx, lambda output: _demo(output, headless))


async def _demo(output: Output, still: bool) -> command.Answer:
    from ayon_async.devserver import DevServer
    from ayon_async.store import Store

    # No proxy knows the way to this very process.
    os.environ["no_proxy"] = "127.0.0.1"
    studio = await _studio(output)
    with tempfile.TemporaryDirectory(prefix="ayon-async-demo-", ignore_cleanup_errors=True) as folder:
        async with DevServer(studio) as server:
            output.note(f"An AYON server with a sample studio is at {server.url}; the store is {folder}.")
            return await Show(server, Store.at(folder), output, still).run()


async def _studio(output: Output) -> Studio:
    """The sample studio, whose archives are made the first time.

    Raises:
        AyonAsyncError: They can't be written.
    """
    from ayon_async.devserver import sample_studio
    from ayon_async.paths import platform_folders
    from ayon_async.threads import in_thread

    cache = platform_folders().cache / "devserver"
    output.note(f"Looking for the sample studio's archives in {cache}; the first time they are made there …")
    stop = threading.Event()
    try:
        return await in_thread(lambda: sample_studio(cache, stop), stop=stop)
    except OSError as error:
        message = f"The sample studio can't be made in {error.filename or cache}: {error.strerror}."
        raise AyonAsyncError(message, "Free some space there, or get the right to write there.") from error


@dataclass(frozen=True, slots=True)
class _Ran:
    """One sync of the show, and how many requests it took."""

    title: str
    report: SyncReport
    requests: int


class Show:
    """The steps of the demo.

    Args:
        server: Whose staging bundle is to be promoted.
        store: Empty.
        output: Where to say what happens.
        still: Without moving bars.
    """

    def __init__(self, server: DevServer, store: Store, output: Output, still: bool) -> None:
        self._server = server
        self._store = store
        self._output = output
        self._still = still
        self._runs: list[_Ran] = []

    async def run(self) -> command.Answer:
        """Every step, as far as they go well; what came of them."""
        from ayon_async.cli.reports import answer_of

        await self._sync("first sync", "The first sync, into an empty store:")
        if self._went_well:
            staging = self._server.studio.staging()
            assert staging is not None
            await self._server.promote(staging.name)
            await self._sync("after the promotion", f"{staging.name} was made the production bundle. The next sync:")
        if self._went_well:
            await self._sync("once more")
        return answer_of(self._runs[-1].report, self._text() if self._went_well else "")

    @property
    def _went_well(self) -> bool:
        return self._runs[-1].report.ok

    async def _sync(self, title: str, says: str | None = None) -> None:
        """Sync what is production now, and show it where something is said of it."""
        from ayon_async.cli.progress import showing
        from ayon_async.devserver import ARTIST
        from ayon_async.server import AyonServer
        from ayon_async.syncing import sync

        if says is not None:
            self._output.note(says)
        self._server.forget_requests()
        with showing(self._output.note, quiet=self._output.quiet or says is None, still=self._still) as watch:
            async with AyonServer(self._server.url, api_key=ARTIST.api_keys[0]) as server:
                report = await sync(server, self._store, progress=watch)
        self._runs.append(_Ran(title, report, len(self._server.requests)))

    def _text(self) -> str:
        """What the syncs did, and what the promotion changed."""
        from ayon_async.cli.text import table

        first, second = self._runs[0].report, self._runs[1].report
        head = ["", "bundle", "archives", "bytes", "time", "speed", "requests"]
        kept, rows = changes(first, second)
        lines = [table([head, *map(_row, self._runs)]), "", f"The promotion changed {len(rows)} of its items:"]
        return "\n".join([*lines, table(rows), f"{kept} stayed as they were."])


def _row(ran: _Ran) -> list[str]:
    from ayon_async.text import size_text, time_text

    report = ran.report
    fetched = sum(item.state == "installed" for item in report.items)
    speed = f"{size_text(report.bytes_downloaded / report.seconds)}/s" if fetched else ""
    amounts = [str(fetched), size_text(report.bytes_downloaded), time_text(report.seconds), speed, str(ran.requests)]
    return [ran.title, report.bundle or "", *amounts]


def changes(before: SyncReport, after: SyncReport) -> tuple[int, list[list[str]]]:
    """How many items two bundles share, and a row for each difference: what it is, its old and its new version."""

    def versions(report: SyncReport) -> dict[str, str]:
        # A dependency package's version is its file's name.
        return {
            item.name if item.version else "dependency package": item.version or item.name
            for item in report.items
            if item.state != "skipped"
        }

    old, new = versions(before), versions(after)
    rows = [
        [name, old.get(name, "added"), "->" if name in old and name in new else "", new.get(name, "removed")]
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    return sum(old.get(name) == version for name, version in new.items()), rows
