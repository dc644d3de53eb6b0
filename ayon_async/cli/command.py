"""A command from its options to its exit code: set up, work in an event loop, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ayon_async.cli import interrupt
from ayon_async.cli.output import Output, be_lenient, complain
from ayon_async.errors import AyonAsyncError

if TYPE_CHECKING:
    import typer

    from ayon_async.cli.setup import Setup

_USAGE = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command.

    Attributes:
        text: What was asked for, for people; nothing is printed where it is empty.
        document: What was asked for, as JSON; its `ok` and `error` are set when it is printed.
        error: The command's own error.
        failures: Errors of single items, each with the item's label.
        warnings: Sentences that a person should see.
        exit_code: Where it is not the error's.
    """

    text: str = ""
    document: Mapping[str, Any] | None = None
    error: AyonAsyncError | None = None
    failures: tuple[tuple[str, AyonAsyncError], ...] = ()
    warnings: tuple[str, ...] = ()
    exit_code: int = 0


def run(ctx: typer.Context, work: Callable[[Setup], Coroutine[Any, Any, Answer]]) -> NoReturn:
    """Do a command's work, say what came of it and end with its exit code.

    Raises:
        typer.Exit: Always.
    """

    def do(setup: Setup, log_to: Callable[[Path], None]) -> Answer:
        if setup.settings.log_file is not None:
            log_to(setup.settings.log_file)
        return interrupt.run(lambda: work(setup))

    run_without_loop(ctx, do)


def run_without_loop(ctx: typer.Context, work: Callable[[Setup, Callable[[Path], None]], Answer]) -> NoReturn:
    """As `run`, for a command that brings its own event loop, and logs where it wants.

    Raises:
        typer.Exit: Always.
    """
    _exit(perform(ctx.info_name or "", ctx.params, work))


def perform(name: str, given: Mapping[str, Any], work: Callable[[Setup, Callable[[Path], None]], Answer]) -> int:
    """Do a command's work and say what came of it, without the parser of options; returns its exit code.

    Args:
        name: The command's.
        given: Its options by their parameters' names.
        work: As with `run_without_loop`.
    """
    server: str | None = None

    def do(output: Output, log_to: Callable[[Path], None]) -> Answer:
        nonlocal server
        from ayon_async.cli.setup import set_up

        setup = set_up(given, output)
        server = setup.settings.server
        return work(setup, log_to)

    return _run(name, given, do, lambda: server)


def run_alone(ctx: typer.Context, work: Callable[[Output], Coroutine[Any, Any, Answer]]) -> NoReturn:
    """As `run`, for a command that has nothing to do with this machine's settings, folders and servers.

    Raises:
        typer.Exit: Always.
    """
    _exit(
        _run(
            ctx.info_name or "",
            ctx.params,
            lambda output, log_to: interrupt.run(lambda: work(output)),
            lambda: None,
        )
    )


def _exit(code: int) -> NoReturn:
    import typer

    raise typer.Exit(code)


def _run(
    name: str,
    given: Mapping[str, Any],
    do: Callable[[Output, Callable[[Path], None]], Answer],
    server: Callable[[], str | None],
) -> int:
    be_lenient()
    output = Output.of(given)
    started = time.monotonic()
    try:
        from ayon_async.cli.logs import logging_to

        with logging_to(output) as log_to, faults_told():
            answer = do(output, log_to)
    except interrupt.Stopped:
        answer = _failure(name, interrupt.error(), server(), started)
    except AyonAsyncError as error:
        answer = _failure(name, error, server(), started)
    return tell(answer, output)


@contextmanager
def faults_told() -> Iterator[None]:
    """The outermost place, where a fault of this program becomes an error like any other."""
    try:
        yield
    except AyonAsyncError:
        raise
    except Exception as error:
        from ayon_async.fault import fault_of

        raise fault_of(error) from error


def tell(answer: Answer, output: Output) -> int:
    """Say what came of a command and return its exit code; from here on no signal interrupts any more."""
    interrupt.hold()
    for warning in answer.warnings:
        output.warning(warning)
    output.errors(answer.failures, answer.error)
    code = answer.exit_code
    try:
        if answer.text:
            output.result(answer.text)
        if answer.document is not None and code != _USAGE:
            output.document({**answer.document, "ok": code == 0})
    except OSError as error:
        complain(f"Error: The result can't be written to standard output: {error.strerror}.")
        return code or 1
    return code


def end_early(arguments: list[str]) -> int:
    """Say that a signal came before the command itself could; returns the exit code."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    name = next((argument for argument in own if not argument.startswith("-")), "")
    return tell(_failure(name, interrupt.error(), None, time.monotonic()), Output(as_json="--json" in own))


def _failure(name: str, error: AyonAsyncError | None, server: str | None, started: float) -> Answer:
    """The answer of a command that could not do its work."""
    document = _empty_document(name)
    if error is None:
        raise AssertionError("there is an error, else nothing had ended the command")
    if document is not None:
        document |= {"server": server, "error": error.to_dict()}
        document |= {"seconds": round(time.monotonic() - started, 3)} if "seconds" in document else {}
    return Answer(document=document, error=error, exit_code=error.exit_code)


def _empty_document(name: str) -> dict[str, Any] | None:
    """The shape of a command's JSON document, without content; None where it has none."""
    if name in ("sync", "status", "repair", "lock"):
        from ayon_async.report import SyncReport

        further: dict[str, dict[str, Any]] = {"repair": {"damaged": []}, "lock": {"lock": None}}
        return SyncReport(None).to_dict() | further.get(name, {})
    nothing: dict[str, Any] = {"ok": False, "server": None, "seconds": 0.0, "items": [], "error": None}
    shapes: dict[str, dict[str, Any]] = {
        "bundles": {"ok": False, "server": None, "bundles": [], "error": None},
        "paths": {"ok": False, "server": None, "paths": {}, "other_store": None, "error": None},
        "verify": {**nothing, "files": 0, "bytes": 0},
        "prune": {**nothing, "removed": False, "bytes_freed": 0, "warnings": []},
        "history": {"ok": False, "server": None, "history": [], "error": None},
    }
    return shapes.get(name)
