"""``ayon-async prune``: list, or remove, the versions that nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.pruning import Pruned, PruneReport, Rules


def prune(
    ctx: typer.Context,
    server: options.Server = None,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", metavar="N", min=0, help="All but the N newest versions, in place of what no bundle uses."
        ),
    ] = None,
    keep_previous: Annotated[
        int, typer.Option("--keep-previous", metavar="N", min=0, help="Bundles to keep for going back; default: 1.")
    ] = 1,
    min_age: Annotated[
        str, typer.Option("--min-age", metavar="TIME", help="Keep what was installed or in use since: 14d, 12h.")
    ] = "14d",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, and not only say what would be removed.")] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """List what no bundle uses; --yes removes it.

    Installed versions that no bundle on the server has, and how much they take.

    The last good bundle, what a process uses and what is young always stay.
    """
    command.run(ctx, _prune)


async def _prune(setup: Setup) -> command.Answer:
    from ayon_async.pruning import prune as go

    rules, yes = _rules(setup), setup.given["yes"]
    if rules.keep is not None:
        report = await go(setup.store, None, rules, remove=yes)
    else:
        async with setup.open_server() as server:
            report = await go(setup.store, server, rules, remove=yes)
    return command.Answer(
        text=_text(report, kept_too=setup.output.verbose),
        document=report.to_dict(),
        failures=tuple((_label(one), one.error) for one in report.items if one.error is not None),
        warnings=report.warnings,
        exit_code=report.exit_code,
    )


def _rules(setup: Setup) -> Rules:
    from datetime import timedelta

    from ayon_async.errors import UsageError
    from ayon_async.pruning import Rules
    from ayon_async.values import age

    try:
        seconds = age(setup.given["min_age"])
    except ValueError as error:
        raise UsageError(f"--min-age {error}, not {setup.given['min_age']!r}.", "Write it as 14d.") from error
    return Rules(setup.given["keep"], setup.given["keep_previous"], timedelta(seconds=seconds))


def _label(one: Pruned) -> str:
    return one.item.label if one.item is not None else str(one.path)


def _text(report: PruneReport, *, kept_too: bool) -> str:
    from ayon_async.cli.text import table
    from ayon_async.text import counted, size_text

    kept = [one for one in report.items if one.state == "kept"]
    gone = [one for one in report.items if one.state in ("removable", "removed")]
    rows = [[_label(one), size_text(one.size), one.state] for one in gone]
    rows += [[_label(one), "", f"kept: {one.reason}"] for one in kept] if kept_too else []
    freed = size_text(report.bytes_freed)
    if report.removed:
        summary = f"{counted(len(gone), 'item')} removed, {freed} freed; {len(kept)} kept."
    else:
        hint = " Run it again with --yes to remove them." if gone else ""
        summary = f"{counted(len(gone), 'item')} to remove, which would free {freed}; {len(kept)} to keep.{hint}"
    return f"{table(rows)}\n{summary}" if rows else summary
