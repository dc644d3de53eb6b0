"""From what a run lives through to its report: an error of its own is told there, and raised nowhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ayon_async.errors import AccessDenied, AyonAsyncError, ServerError
from ayon_async.offline import say_whether_it_can_start
from ayon_async.progress import Ledger, report_of
from ayon_async.report import SyncReport
from ayon_async.survey import Survey


async def tell(
    story: Callable[[], Awaitable[Survey | None]],
    ledger: Ledger,
    without_server: Callable[[], Awaitable[Survey]] | None = None,
) -> SyncReport:
    """Live through a run's story and say what came of it; the ledger is closed when this returns.

    Args:
        story: Ends in what was found, where that was a bundle's.
        without_server: Another one for the case that the server is away.
    """
    started, survey = time.monotonic(), None
    error: AyonAsyncError | None = None
    try:
        try:
            survey = await story()
        except AyonAsyncError as failure:
            error = failure
        except BaseExceptionGroup as group:
            error = _first(group)
        if without_server is not None and isinstance(error, ServerError):
            with contextlib.suppress(AyonAsyncError):  # the server's absence is the story
                survey = await without_server()
    finally:
        snapshot = ledger.finish()
    report = report_of(snapshot, time.monotonic() - started, error)
    # Who is refused in mid-run is told so by the run, not only by the items that it hit.
    refused = next((item.error for item in report.items if isinstance(item.error, AccessDenied)), None)
    report = replace(report, error=error or refused)
    if survey is not None:
        report = replace(
            report,
            studio_bundle=survey.chosen.studio_bundle,
            is_dev=survey.chosen.bundle.is_dev,
            warnings=tuple(survey.warnings),
            offline=survey.offline,
        )
    return say_whether_it_can_start(report) if error is not None and report.offline else report


def _first(group: BaseExceptionGroup[BaseException]) -> AyonAsyncError:
    """The first of our own errors in a group of tasks; the group itself is raised where there are others in it."""
    ours, others = group.split(AyonAsyncError)
    if ours is None or others is not None:
        raise group
    first: BaseException = ours
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, AyonAsyncError)
    return first
