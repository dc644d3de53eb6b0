"""The commands and where they live; each one's module is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ayon_async.version import __version__

_HOMES = {
    "sync": "sync:sync",
    "status": "status:status",
    "verify": "verify:verify",
    "repair": "repair:repair",
    "prune": "prune:prune",
    "history": "history:history",
    "lock": "lock:lock",
    "bundles": "bundles:bundles",
    "login": "login:login",
    "logout": "login:logout",
    "paths": "paths:paths",
    "config": "config:config",
    "exec": "execute:execute",
    "tray": "tray:tray",
    "watch": "watch:watch",
    "demo": "demo:demo",
}
# Plain text: Rich's own help would have to be imported first.
_STYLE: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class _Commands(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(_HOMES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _HOMES:
            return None
        module, _, function = _HOMES[cmd_name].partition(":")
        alone = typer.Typer(**_STYLE)
        alone.command(cmd_name)(getattr(importlib.import_module(f"ayon_async.cli.{module}"), function))
        return typer.main.get_command(alone)


app = typer.Typer(cls=_Commands, no_args_is_help=True, **_STYLE)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep this machine's AYON addons equal to the studio's bundle."""


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    try:
        app(arguments, prog_name="ayon-async")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
    return 0
