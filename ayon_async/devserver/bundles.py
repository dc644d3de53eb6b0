"""What a server does with bundles: list, create, change, promote, and merge a project's over the studio's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ayon_async.devserver.studio import AddonVersion, Bundle, Studio

_FLAGS = {
    "isProduction": ("is_production", "production"),
    "isStaging": ("is_staging", "staging"),
    "isArchived": ("is_archived", "archived"),
    "isDev": ("is_dev", "development"),
}
_VALUES = {
    "installerVersion": ("installer_version", "updated with a new installer version"),
    "dependencyPackages": ("dependency_packages", "updated with new dependency packages"),
    "activeUser": ("active_user", "updated"),
    "addonDevelopment": ("addon_development", "updated"),
}


def bundle_list(studio: Studio, archived: bool) -> dict[str, Any]:
    """The answer to `/api/bundles`."""
    listed = [bundle for bundle in studio.bundles if archived or not bundle.is_archived]
    return {
        "bundles": [bundle.to_json() for bundle in listed],
        "productionBundle": next((bundle.name for bundle in listed if bundle.is_production), None),
        "stagingBundle": next((bundle.name for bundle in listed if bundle.is_staging), None),
        "devBundles": [bundle.name for bundle in listed if bundle.is_dev],
    }


def with_bundle(studio: Studio, bundle: Bundle) -> Studio:
    """The studio with the bundle in it, as the newest or in place of its namesake; what only one can be moves to it."""
    others = tuple(
        replace(
            other,
            is_production=other.is_production and not bundle.is_production,
            is_staging=other.is_staging and not bundle.is_staging,
            active_user=None if other.active_user == bundle.active_user else other.active_user,
        )
        for other in studio.bundles
        if other.name != bundle.name
    )
    place = next((i for i, other in enumerate(studio.bundles) if other.name == bundle.name), 0)
    return replace(studio, bundles=(*others[:place], bundle, *others[place:]))


def patched(bundle: Bundle, patch: Mapping[str, Any]) -> tuple[Bundle, str]:
    """The bundle with the patch applied, and what the server says about it."""
    changes: dict[str, Any] = {}
    said = []
    for key, (attribute, word) in _FLAGS.items():
        if patch.get(key) is not None:
            changes[attribute] = patch[key]
            set_or_not = "" if word == "archived" else "set as "
            said.append(f"{set_or_not}{word}" if patch[key] else f"un{set_or_not}{word}")
    if patch.get("addons") is not None:
        merged = {**bundle.addons, **patch["addons"]}
        changes["addons"] = {name: version for name, version in merged.items() if version is not None}
        said.append("updated with new addons")
    for key, (attribute, words) in _VALUES.items():
        if key in patch:
            changes[attribute] = patch[key]
            said.append(words)
    text = "updated" if not said or len(said) > 2 else ", and ".join(said)
    return replace(bundle, **changes), f"Bundle '{bundle.name}' has been {text}."


def update_summary(bundle: Bundle, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of the news about a changed bundle."""
    return {
        "name": bundle.name,
        "changedFields": [key for key, value in patch.items() if value is not None],
        "isProduction": bundle.is_production,
        "isStaging": bundle.is_staging,
        "isArchived": bundle.is_archived,
        "isDev": bundle.is_dev,
        "isProject": bundle.is_project,
    }


def settings_summary(
    studio: Studio, bundle_name: str | None, project_bundle_name: str | None, variant: str
) -> dict[str, Any] | None:
    """The answer to `/api/settings?summary=true`, or None where a bundle can't be found.

    `variant` is `production`, `staging` or a dev bundle's name. A project bundle is only found where a project uses it
    for that variant.
    """
    bundle = _studio_bundle(studio, bundle_name, variant)
    project = _project_using(studio, project_bundle_name, variant)
    if bundle is None or (project_bundle_name and project is None):
        return None
    addons = {name: version for name, version in bundle.addons.items() if version is not None}
    inherited = set(addons)
    project_bundle = studio.bundle(project_bundle_name) if project_bundle_name else None
    for name, version in project_bundle.addons.items() if project_bundle is not None else ():
        if version is None:
            addons.pop(name, None)
        elif not _can_override(studio.addons.get((name, version))):
            continue  # `__inherit__` and unknown versions too: the studio's version stays
        else:
            addons[name] = version
        inherited.discard(name)
    entries = [_entry(studio, name, version, project, name in inherited) for name, version in addons.items()]
    answer: dict[str, Any] = {} if project is None else {"projectName": project}
    return answer | {
        "bundleName": project_bundle_name or bundle.name,
        "addons": sorted(entries, key=lambda entry: str(entry["title"]).lower()),
        "inheritedAddons": sorted(inherited) if project_bundle is not None else [],
    }


def _studio_bundle(studio: Studio, name: str | None, variant: str) -> Bundle | None:
    if variant not in ("production", "staging"):
        return studio.bundle(variant)
    if name is not None:
        return studio.bundle(name)
    return studio.production() if variant == "production" else studio.staging()


def _project_using(studio: Studio, bundle_name: str | None, variant: str) -> str | None:
    """The project whose bundle for the variant this is."""
    bundle = studio.bundle(bundle_name) if bundle_name else None
    if bundle is None or not bundle.is_project:
        return None
    return next((project.name for project in studio.projects if project.bundles.get(variant) == bundle_name), None)


def _can_override(version: AddonVersion | None) -> bool:
    return version is not None and not version.is_broken and version.project_can_override


def _entry(studio: Studio, name: str, version: str, project: str | None, inherited: bool) -> dict[str, Any]:
    addon = studio.addons.get((name, version))
    if addon is None or addon.is_broken:
        entry: dict[str, Any] = {"name": name, "version": version, "title": name, "settings": {}, "isBroken": False}
        return entry if addon is None else entry | {"isBroken": True, "reason": dict(addon.reason or {})}
    has_settings = bool(addon.extra.get("hasSettings", True))
    return {
        "name": name,
        "version": version,
        "title": studio.title(name),
        "hasSettings": has_settings,
        "hasProjectSettings": has_settings,
        "hasProjectSiteSettings": False,
        "hasSiteSettings": bool(addon.extra.get("hasSiteSettings", False)),
        "settings": {},
        "siteSettings": {},
        "isBroken": False,
        "isProjectBundle": project is not None and not inherited,
    }
