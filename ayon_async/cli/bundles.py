"""``ayon-async bundles``: the server's bundles and what each is used for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ayon_async.cli import command, options

if TYPE_CHECKING:
    from ayon_async.cli.setup import Setup
    from ayon_async.model import Bundle, Bundles


def bundles(
    ctx: typer.Context,
    server: options.Server = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    log_file: options.LogFile = None,
    headless: options.Headless = False,
) -> None:
    """List the server's bundles, the newest first."""
    command.run(ctx, _bundles)


async def _bundles(setup: Setup) -> command.Answer:
    async with setup.open_server() as server:
        listed = await server.bundles()
    newest_first = sorted(listed.bundles, key=lambda bundle: bundle.created_at or "", reverse=True)
    entries = [_entry(bundle, listed) for bundle in newest_first]
    return command.Answer(
        text=_text(entries), document={"ok": True, "server": setup.server_url, "bundles": entries, "error": None}
    )


def _entry(bundle: Bundle, listed: Bundles) -> dict[str, Any]:
    roles = {
        "production": bundle.is_production or bundle.name == listed.production_bundle,
        "staging": bundle.is_staging or bundle.name == listed.staging_bundle,
        "dev": bundle.is_dev,
        "project": bool(bundle.is_project),
        "archived": bundle.is_archived,
    }
    return {
        "name": bundle.name,
        "roles": [role for role, played in roles.items() if played],
        "active_user": bundle.active_user,
        "created_at": bundle.created_at,
        "addons": {name: version for name, version in sorted(bundle.addons.items()) if version},
        "dependency_packages": {name: file for name, file in (bundle.dependency_packages or {}).items() if file},
        "installer_version": bundle.installer_version,
    }


def _text(entries: list[dict[str, Any]]) -> str:
    from ayon_async.cli.text import table
    from ayon_async.text import counted

    def words(entry: dict[str, Any]) -> str:
        owner = f"dev of {entry['active_user'] or 'nobody'}"
        return ", ".join(owner if role == "dev" else role for role in entry["roles"])

    rows = [
        [entry["name"], words(entry), counted(len(entry["addons"]), "addon"), (entry["created_at"] or "")[:10]]
        for entry in entries
    ]
    return table(rows) if rows else "The server has no bundles."
