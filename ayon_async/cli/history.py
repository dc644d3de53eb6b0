"""``ayon-async history``: what the store held and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.item import Item
    from ayon_async.store import Held
    from ayon_async.store.history import Key, State


def history(
    ctx: typer.Context,
    storage_dir: options.StorageDir = None,
    launcher_layout: options.LauncherLayout = False,
    trust_store: options.TrustStore = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """Show which bundles the store has held.

    Those that were complete, the newest first, and what of them is still there.
    """
    command.run(ctx, _history)


async def _history(setup: Setup) -> command.Answer:
    await setup.store.check()
    histories = await setup.store.memory.histories()
    states = [(one.key, state) for one in histories for state in one.states]
    states.sort(key=lambda entry: entry[1].since, reverse=True)
    held = await setup.store.held({item for _, state in states for item in state.on_disk})
    return command.Answer(
        text=_text(states, held),
        document={
            "ok": True,
            "server": setup.settings.server,
            "history": [_entry(key, state, held) for key, state in states],
            "error": None,
        },
    )


def _entry(key: Key, state: State, held: Mapping[Item, Held]) -> dict[str, Any]:
    return {
        "server": key.server,
        "platform": key.platform,
        "bundle": state.bundle,
        "studio_bundle": state.studio_bundle,
        "variant": state.variant,
        "lock": key.lock,
        "since": state.since.isoformat(),
        "confirmed": state.confirmed.isoformat(),
        "items": [
            {
                "kind": entry.kind,
                "name": entry.name,
                "version": entry.version,
                "sha256": entry.sha256,
                "size": entry.size,
                "reason": entry.reason,
                "in_store": entry.item in held,
            }
            for entry in state.items
        ],
    }


def _text(states: list[tuple[Key, State]], held: Mapping[Item, Held]) -> str:
    from ayon_async.cli.text import table
    from ayon_async.text import counted

    rows = []
    for key, state in states:
        missing = sum(item not in held for item in state.on_disk)
        rows.append(
            [
                f"{state.since.astimezone():%Y-%m-%d %H:%M}",
                f"last seen {state.confirmed.astimezone():%Y-%m-%d %H:%M}",
                f"{state.bundle} ({state.variant}{', locked' if key.lock else ''})",
                counted(len(state.on_disk), "item"),
                f"{missing} no longer here" if missing else "all here",
            ]
        )
    return table(rows) if rows else "No bundle was ever complete in this store."
