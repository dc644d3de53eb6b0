"""What a sync, a dry run or a status found, as text for people."""

from __future__ import annotations

from collections import Counter

from ayon_async.cli.command import Answer
from ayon_async.cli.text import table
from ayon_async.report import ItemReport, SyncReport
from ayon_async.text import counted, size_text, time_text


def answer_of(report: SyncReport, text: str, exit_code: int | None = None) -> Answer:
    """The answer of a command whose work was this run.

    Args:
        exit_code: Where it is not the report's own.
    """
    code = report.exit_code if exit_code is None else exit_code
    return Answer(
        text=text,
        document=report.to_dict(code),
        error=report.error,
        failures=tuple(
            (item.label, item.error)
            for item in report.items
            if item.error is not None and item.error is not report.error
        ),
        warnings=report.warnings,
        exit_code=code,
    )


def summary(report: SyncReport) -> str:
    """What was done, in a line; empty where it did not get as far as to know the bundle."""
    if report.bundle is None:
        return ""
    took = f"{size_text(report.bytes_downloaded)} in {time_text(report.seconds)}"
    return f"{_bundle(report)}: {_counts(report, 'not installed')}; {took}."


def plan_text(report: SyncReport) -> str:
    """What would be done: every archive to fetch with its size, and their sum."""
    if report.bundle is None:
        return ""
    planned = [item for item in report.items if item.state == "planned"]
    known = [item.size for item in planned if item.size is not None]
    unknown = len(planned) - len(known)
    whole = size_text(sum(known)) + (f" and {counted(unknown, 'archive')} of unknown size" if unknown else "")
    head = f"{_bundle(report)}: {_counts(report, 'to install')}" + (f"; {whole}." if planned else ".")
    rows = [[item.label, size_text(item.size)] for item in planned]
    return f"{table(rows)}\n{head}" if rows else head


def status_text(report: SyncReport) -> str:
    """Every item of the bundle with its state."""
    if report.bundle is None:
        return ""
    rows = [[item.label, _state(item), _remark(item)] for item in report.items]
    head = f"{_bundle(report)}: {_counts(report, 'missing')}."
    return f"{table(rows)}\n{head}" if rows else head


def _bundle(report: SyncReport) -> str:
    over = report.studio_bundle if report.studio_bundle not in (None, report.bundle) else None
    return f"Bundle {report.bundle} ({report.variant}{f', over {over}' if over else ''})"


def _state(item: ItemReport) -> str:
    return "missing" if item.state == "planned" else item.state.replace("_", " ")


def _remark(item: ItemReport) -> str:
    if item.remote == "may_have_changed":
        return "may have changed on the server: sync --refresh takes it"
    if item.remote == "unknown":
        return "the server does not tell whether it changed"
    return item.reason or (str(item.path) if item.path else "")


def _counts(report: SyncReport, planned: str) -> str:
    count: Counter[str] = Counter(item.state for item in report.items)
    words = {"installed": "installed", "up_to_date": "up to date", "planned": planned, "skipped": "skipped"}
    named = {**words, "failed": "failed"}
    return ", ".join(f"{count[state]} {word}" for state, word in named.items() if count[state])
