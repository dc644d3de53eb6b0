"""``ayon-async paths``: where things are on this machine, and why there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup


def paths(
    ctx: typer.Context,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Say where things are, and what says so.

    Addons, dependency packages, settings, the token, the cache and logs.
    """
    command.run(ctx, _paths)


async def _paths(setup: Setup) -> command.Answer:
    from ayon_async.cli.text import table
    from ayon_async.paths import launcher_local, other_store

    store, folders = setup.paths, setup.folders
    launchers = launcher_local(os.environ, folders)
    found = {
        "addons": (store.addons, store.addons_origin),
        "dependency_packages": (store.dependencies, store.dependencies_origin),
        "settings": (folders.user_file, "default"),
        "machine_settings": (folders.machine_file, "default"),
        "credentials": (folders.config, "default"),
        "cache": (folders.cache, "default"),
        "log": (setup.settings.log_file or folders.log, str(setup.settings.origin("log_file"))),
        "launcher": (launchers, "default" if launchers == folders.launcher else "AYON_LAUNCHER_LOCAL_DIR"),
    }
    sentence = other_store(store, os.environ, folders)
    rows = [[name.replace("_", " "), str(path), origin] for name, (path, origin) in found.items()]
    return command.Answer(
        text=table(rows) + (f"\n{sentence}" if sentence else ""),
        document={
            "ok": True,
            "server": setup.settings.server,
            "paths": {name: {"path": str(path), "origin": origin} for name, (path, origin) in found.items()},
            "other_store": sentence,
            "error": None,
        },
    )
