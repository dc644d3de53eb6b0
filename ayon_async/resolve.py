"""From what the server says to what this machine needs; pure: no I/O, no awaiting.

`choose_bundle` finds the bundle, `wanted_items` names what belongs to it, `locate` says where one item's archive is.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from ayon_async import model
from ayon_async.choice import BundleChoice
from ayon_async.errors import BundleError, InvalidItem
from ayon_async.report import ItemReport, Kind
from ayon_async.server import AyonServer

Variant = Literal["production", "staging", "dev", "project", "named"]

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
    if bundle.is_archived:
        raise BundleError(f"The project bundle '{name}' is archived. Project bundles: {projects}.", "Ask for another.")
    return name if bundle.is_project else None


def merge_project(bundles: model.Bundles, chosen: Chosen, name: str, versions: Mapping[str, str]) -> Chosen:
    """The choice with the project's bundle merged over the studio's.

    Args:
        versions: What the server says the merged addon versions are; an addon left out is disabled for the project.
    """
    project = next(bundle for bundle in bundles.bundles if bundle.name == name)
    merged = msgspec.structs.replace(
        project,
        addons={addon: versions.get(addon) for addon in {**chosen.bundle.addons, **versions}},
        dependency_packages={
            **(chosen.bundle.dependency_packages or {}),
            **{platform: file for platform, file in (project.dependency_packages or {}).items() if file},
        },
    )
    return Chosen(merged, "project", chosen.studio_bundle)


# --- what belongs to it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that has to be on disk.

    Attributes:
        kind: Addon or dependency package.
        name: The addon's name, or the package's file name.
        version: The addon's version; None for a dependency package.
    """

    kind: Kind
    name: str
    version: str | None

    @property
    def folder(self) -> str:
        """Name of its folder in the store."""
        return self.name if self.version is None else f"{self.name}_{self.version}"

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name if self.version is None else f"{self.name} {self.version}"

    def skipped(self, reason: str, path: Path | None = None) -> ItemReport:
        """The report of an item that has nothing to install."""
        return ItemReport(self.kind, self.name, self.version, "skipped", path=path, reason=reason)

    def failed(self, error: InvalidItem) -> ItemReport:
        """The report of an item that can't be installed."""
        return ItemReport(self.kind, self.name, self.version, "failed", error=error)


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
    if not path:
        return item.skipped("in development, but the bundle gives no path for it")
    return item.skipped("in development", Path(expand_path(path, environ)))


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
    # A store may lie on, or move to, a file system that does not tell case apart.
    taken = Counter((w.item.kind, w.item.folder.casefold()) for w in wanted if w.outcome is None)

    def check(entry: Wanted) -> Wanted:
        if entry.outcome is not None or taken[entry.item.kind, entry.item.folder.casefold()] < 2:
            return entry
        message = f"{entry.item.label}: another addon of this bundle has the same folder, {entry.item.folder}."
        return replace(entry, outcome=entry.item.failed(InvalidItem(message, "Rename one of the two on the server.")))

    return tuple(map(check, wanted))


def _no_folder(item: Item, problem: str) -> InvalidItem:
    message = f"{item.kind.replace('_', ' ').capitalize()} {item.label!r} can't be a folder's name: it has {problem}."
    return InvalidItem(message, "Rename it on the server.")


_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_OURS = frozenset({"addons.json", "dependency.json"})


def folder_problem(name: str) -> str | None:
    """Why the name can't be one folder's name on every platform (a store can move), in words, or None if it can.

    >>> folder_problem("maya_1.2.0"), folder_problem("../maya_1.2.0")
    (None, 'a slash or backslash')
    """
    problems = (
        (not name, "an empty name"),
        (bool(set("/\\") & set(name)), "a slash or backslash"),
        (bool(set('<>:"|?*') & set(name)), 'one of < > : " | ? *'),
        (any(ord(char) < 32 or ord(char) == 127 for char in name), "a control character"),
        (any(0xD800 <= ord(char) <= 0xDFFF for char in name), "half a character (a lone surrogate)"),
        (name.startswith("."), "a dot at its start"),
        (name != name.rstrip(". "), "a dot or space at its end"),
        (bool(_DEVICES.fullmatch(name)), "a name that Windows keeps for a device"),
        (name.casefold() in _OURS, "the name of one of the store's own files"),
        (len(name.encode("utf-8", "replace")) > 240, "more than 240 bytes"),
    )
    return next((words for problem, words in problems if problem), None)


# --- where its archive is -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest that somebody attests.

    Attributes:
        algorithm: `md5`, `sha1` or `sha256`.
        digest: In lower-case hexadecimal.
    """

    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True)
class Source:
    """One place where an archive's bytes may be had.

    Attributes:
        kind: The AYON server, any web server, or a file system.
        location: URL or path.
        headers: Meant for this URL's origin only.
        checksum: What the archive from here must have.
        info: How the server described it, without headers, as the launcher's ``addons.json`` wants it.
    """

    kind: Literal["server", "http", "filesystem"]
    location: str
    headers: Mapping[str, str]
    checksum: Checksum | None
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Archive:
    """The file that an item is unpacked from.

    Attributes:
        sources: In the order in which to try them; at least one.
        size: Bytes, where the server says.
    """

    sources: tuple[Source, ...]
    size: int | None

    @property
    def checksum(self) -> Checksum | None:
        """What the server attests, by the first source that says."""
        return next((source.checksum for source in self.sources if source.checksum), None)


@dataclass(frozen=True, slots=True)
class Job:
    """An item with the archive that it comes from."""

    item: Item
    archive: Archive


@dataclass(frozen=True, slots=True)
class Details:
    """What the server knows of all its addons and packages."""

    addons: Mapping[str, model.Addon]
    packages: Mapping[str, model.DependencyPackage]

    @classmethod
    def of(cls, addons: Iterable[model.Addon], packages: Iterable[model.DependencyPackage]) -> Details:
        """Index the server's lists by name."""
        return cls({addon.name: addon for addon in addons}, {package.filename: package for package in packages})


def locate(item: Item, details: Details, server: AyonServer, platform: str) -> Job | ItemReport:
    """Where the item's archive is; or why there is nothing to install; or why it can't be installed."""
    try:
        if item.kind == "addon":
            return _locate_addon(item, details, server, platform)
        return _locate_package(item, details, server, platform)
    except InvalidItem as error:
        return item.failed(error)


NO_CLIENT = "no client part"


def _locate_addon(item: Item, details: Details, server: AyonServer, platform: str) -> Job | ItemReport:
    addon = details.addons.get(item.name)
    version = addon.versions.get(item.version or "") if addon else None
    hint = "Upload the addon to the server, or take it out of the bundle."
    if addon is None or version is None:
        has = ", ".join(sorted(addon.versions)) if addon and addon.versions else "no version of it"
        raise InvalidItem(f"The server does not have the addon {item.label}; it has {has}.", hint)
    if version.is_broken:
        raise InvalidItem(f"The addon {item.label} is broken on the server{_reason(version.reason)}.", hint)
    if version.client_source_info is None:
        return item.skipped(NO_CLIENT)
    checksum = _checksum(version.checksum or version.hash, version.checksum_algorithm, None, item)

    def url(source: model.ServerSource) -> str:
        if not source.filename:
            raise InvalidItem(f"{item.label}: the server's source names neither a file nor a path.", hint)
        return server.addon_url(item.name, item.version or "", source.filename)

    infos = model.decode_sources(version.client_source_info, item.label)
    return _job(item, infos, checksum, version.size, server, platform, url)


def _locate_package(item: Item, details: Details, server: AyonServer, platform: str) -> Job | ItemReport:
    package = details.packages.get(item.name)
    if package is None:
        hint = "Upload the package to the server, or choose another one in the bundle."
        raise InvalidItem(f"The server does not have the dependency package {item.name}.", hint)
    checksum = _checksum(package.checksum, package.checksum_algorithm, None, item)
    # A package with no source at all was uploaded to the server itself.
    infos = model.decode_sources(package.sources or [{"type": "server"}], item.label)

    def url(source: model.ServerSource) -> str:
        return server.dependency_package_url(source.filename or item.name)

    return _job(item, infos, checksum, package.size, server, platform, url)


def _job(
    item: Item,
    infos: tuple[model.SourceInfo, ...],
    checksum: Checksum | None,
    size: int | None,
    server: AyonServer,
    platform: str,
    server_url: Any,
) -> Job:
    sources = []
    for info in infos:
        own = _checksum(info.checksum or info.hash, info.checksum_algorithm, checksum, item)
        match info:
            case model.ServerSource():
                location = server.path_url(info.path) if info.path else server_url(info)
                described = {"type": "server", "filename": info.filename, "path": info.path}
                sources.append(Source("server", location, {}, own, described))
            case model.HttpSource():
                described = {"type": "http", "url": info.url, "filename": info.filename}
                sources.append(Source("http", info.url, info.headers or {}, own, described))
            case model.FilesystemSource():
                path = info.path.get(platform)
                if path:
                    sources.append(Source("filesystem", path, {}, own, {"type": "filesystem", "path": info.path}))
    if not sources:
        message = f"{item.label}: the server names no source that this version of ayon-async can use on {platform}."
        raise InvalidItem(message, "Add a source on the server, or update ayon-async.")
    return Job(item, Archive(tuple(sources), size if size is None or size >= 0 else None))


_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


def _checksum(digest: str | None, algorithm: str | None, default: Checksum | None, item: Item) -> Checksum | None:
    if not digest:
        return default
    name = (algorithm or "sha256").lower().replace("-", "")
    if _DIGITS.get(name) != len(digest.strip()):
        message = f"{item.label}: the server's checksum {digest!r} is no {algorithm or 'sha256'} that can be checked."
        raise InvalidItem(message, "Correct it on the server: md5, sha1 or sha256, in hexadecimal.")
    return Checksum(name, digest.strip().lower())


def _reason(reason: object) -> str:
    if isinstance(reason, dict):
        reason = reason.get("error") or reason.get("message") or ""
    return f": {reason}" if reason else ""
