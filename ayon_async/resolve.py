"""From what the server says to what this machine needs; pure: no I/O, no awaiting.

`choose_bundle` finds the bundle, `merge_project` lays a project's over it, `wanted_items` names what belongs to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.errors import BundleError, InvalidItem
from ayon_async.item import Item, folder_problem
from ayon_async.report import ItemReport, Variant

# --- which bundle ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """The bundle to install.

    Attributes:
        bundle: With a project's own versions already merged in, once `merge_project` did so.
        variant: How it was chosen.
        studio_bundle: Name of the studio bundle; the same as the bundle's own where no project is merged over it.
    """

    bundle: model.Bundle
    variant: Variant
    studio_bundle: str


def choose_bundle(bundles: model.Bundles, choice: BundleChoice, user: str | None) -> Chosen:
    """The studio bundle that the choice means.

    Args:
        user: Name of the signed-in user; needed for a dev bundle only.

    Raises:
        BundleError: None is set, it is not there, or it is archived; the message lists what there is.
    """
    studio = [bundle for bundle in bundles.bundles if not bundle.is_project]
    variant: Variant
    if choice.bundle is not None:
        variant, what = "named", f"named '{choice.bundle}'"
        found = [bundle for bundle in studio if bundle.name == choice.bundle]
    elif choice.dev:
        variant, what = "dev", f"whose developer is '{user}'"
        found = [bundle for bundle in studio if bundle.is_dev and bundle.active_user == user]
    elif choice.staging:
        variant, what = "staging", "set as staging"
        found = _flagged(studio, bundles.staging_bundle, "is_staging")
    else:
        variant, what = "production", "set as production"
        found = _flagged(studio, bundles.production_bundle, "is_production")
    listed = _listing(studio)
    if not found:
        raise BundleError(f"The server has no bundle {what}. {listed}", "Choose another one with --bundle.")
    bundle = found[-1]
    if bundle.is_archived:
        raise BundleError(f"The bundle '{bundle.name}' is archived. {listed}", "Choose another one with --bundle.")
    return Chosen(bundle, variant, bundle.name)


def _flagged(studio: list[model.Bundle], name: str | None, flag: str) -> list[model.Bundle]:
    return [bundle for bundle in studio if bundle.name == name or (name is None and getattr(bundle, flag))]


def _listing(studio: list[model.Bundle]) -> str:
    def describe(bundle: model.Bundle) -> str:
        flags = (
            (bundle.is_production, "production"),
            (bundle.is_staging, "staging"),
            (bundle.is_dev, f"dev of {bundle.active_user or 'nobody'}"),
            (bundle.is_archived, "archived"),
        )
        roles = ", ".join(word for flag, word in flags if flag)
        return f"{bundle.name} ({roles})" if roles else bundle.name

    return "There are: " + (", ".join(map(describe, studio)) or "none") + "."


def project_bundle_name(
    bundles: model.Bundles, chosen: Chosen, choice: BundleChoice, own: model.ProjectBundles
) -> str | None:
    """Name of the project bundle to merge over the studio's, as the official launcher decides it, or None.

    A developer's bundle is never merged; a named project bundle that is a studio bundle is ignored.

    Args:
        own: The project's own bundles, where the choice names a project.

    Raises:
        BundleError: The named project bundle is not there, or is archived.
    """
    if chosen.bundle.is_dev:
        return None
    staging = chosen.variant == "staging"
    name = choice.project_bundle or (own.staging if staging else own.production)
    if not name or name == chosen.bundle.name:
        return None
    bundle = next((bundle for bundle in bundles.bundles if bundle.name == name), None)
    projects = ", ".join(bundle.name for bundle in bundles.bundles if bundle.is_project) or "none"
    if bundle is None:
        hint = "Check --project, AYON_PROJECT_NAME and AYON_BUNDLE_NAME."
        raise BundleError(f"The server has no project bundle '{name}'. Project bundles: {projects}.", hint)
    if not bundle.is_project:
        return None
    if bundle.is_archived:
        raise BundleError(f"The project bundle '{name}' is archived. Project bundles: {projects}.", "Ask for another.")
    return name


def merge_key(bundles: model.Bundles, chosen: Chosen, name: str) -> str:
    """What tells one merge of a project bundle from another: as long as it is the same, so is the server's answer."""
    project = next(bundle for bundle in bundles.bundles if bundle.name == name)
    content = [chosen.variant, chosen.bundle.name, chosen.bundle.addons, project.name, project.addons]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def merge_project(bundles: model.Bundles, chosen: Chosen, name: str, versions: Mapping[str, str]) -> Chosen:
    """The choice with the project's bundle merged over the studio's.

    Args:
        versions: What the server says the merged addon versions are; an addon left out is disabled for the project.
    """
    project = next(bundle for bundle in bundles.bundles if bundle.name == name)
    # The server's merge passes over this word and keeps the studio's version.
    disabled = {addon: version for addon, version in project.addons.items() if version == "__disable__"}
    merged = msgspec.structs.replace(
        project,
        addons={addon: versions.get(addon) for addon in {**chosen.bundle.addons, **versions}} | disabled,
        dependency_packages={
            **(chosen.bundle.dependency_packages or {}),
            **{platform: file for platform, file in (project.dependency_packages or {}).items() if file},
        },
    )
    return Chosen(merged, "project", chosen.studio_bundle)


IN_DEVELOPMENT = "in development"

# --- what belongs to it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item of a bundle, and what became of it where the bundle alone decides that."""

    item: Item
    outcome: ItemReport | None = None


def wanted_items(bundle: model.Bundle, platform: str, environ: Mapping[str, str] = os.environ) -> tuple[Wanted, ...]:
    """Every item of the bundle, addons by name, the dependency package last.

    Raises:
        BundleError: The bundle names nothing at all.
    """
    wanted = [_wanted_addon(bundle, name, version, environ) for name, version in sorted(bundle.addons.items())]
    package = (bundle.dependency_packages or {}).get(platform)
    if package is not None:
        item = Item("dependency_package", package, None)
        problem = folder_problem(package)
        wanted.append(Wanted(item, item.failed(_no_folder(item, problem)) if problem else None))
    if not wanted:
        hint = "Add addons to the bundle on the server, or choose another one with --bundle."
        raise BundleError(f"The bundle '{bundle.name}' is empty: it names no addon and no dependency package.", hint)
    return _without_shared_folders(wanted)


def _wanted_addon(bundle: model.Bundle, name: str, version: str | None, environ: Mapping[str, str]) -> Wanted:
    development = (bundle.addon_development or {}).get(name) if bundle.is_dev else None
    known = version if version not in ("__inherit__", "__disable__") else None
    item = Item("addon", name, known)
    if development is not None and development.enabled and known is not None:
        return Wanted(item, _development(item, development.path, environ))
    if known is None:
        word = {"__disable__": "disabled", "__inherit__": "inherited, and nothing to inherit from"}.get(version or "")
        return Wanted(item, item.skipped(word or "no version in this bundle"))
    problem = "an empty name" if not name else "an empty version" if not known else folder_problem(item.folder)
    return Wanted(item, item.failed(_no_folder(item, problem)) if problem else None)


def _development(item: Item, path: str | None, environ: Mapping[str, str]) -> ItemReport:
    return item.skipped(IN_DEVELOPMENT, Path(expand_path(path, environ)) if path else None)


def expand_path(path: str, environ: Mapping[str, str]) -> str:
    """A development path with ``~``, ``$VAR``, ``${VAR}``, ``%VAR%`` (Windows) and ``{VAR}`` expanded.

    >>> expand_path("{ROOT}/maya/$SUB", {"ROOT": "/dev", "SUB": "client"})
    '/dev/maya/client'
    """
    pattern = r"\{(?P<a>\w+)\}|\$\{(?P<b>\w+)\}|\$(?P<c>\w+)" + (r"|%(?P<d>\w+)%" if os.name == "nt" else "")
    # ${VAR} first: its braces must not be taken for {VAR}
    pattern = pattern.replace(r"\{(?P<a>\w+)\}|\$\{(?P<b>\w+)\}", r"\$\{(?P<b>\w+)\}|\{(?P<a>\w+)\}")

    def value(match: re.Match[str]) -> str:
        return environ.get(match.group(match.lastgroup or 0), match.group())

    return os.path.expanduser(re.sub(pattern, value, path))  # noqa: PTH111 - "~" may stand for another user's


def _without_shared_folders(wanted: list[Wanted]) -> tuple[Wanted, ...]:
    def place(item: Item) -> tuple[str, str]:
        # A store may lie on, or move to, a file system that does not tell case or composed letters apart.
        return item.kind, unicodedata.normalize("NFC", item.folder).casefold()

    taken = Counter(place(entry.item) for entry in wanted if entry.outcome is None)

    def check(entry: Wanted) -> Wanted:
        if entry.outcome is not None or taken[place(entry.item)] < 2:
            return entry
        message = f"{entry.item.label}: another addon of this bundle has the same folder, {entry.item.folder}."
        return replace(entry, outcome=entry.item.failed(InvalidItem(message, "Rename one of the two on the server.")))

    return tuple(map(check, wanted))


def _no_folder(item: Item, problem: str) -> InvalidItem:
    message = f"{item.kind.replace('_', ' ').capitalize()} {item.label!r} can't be a folder's name: it has {problem}."
    return InvalidItem(message, "Rename it on the server.")
