"""Where an item's archive is, by what the server says of its addons and packages; pure: no I/O, no awaiting."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ayon_async import model
from ayon_async.checksum import DIGITS, Checksum
from ayon_async.errors import ChecksumMismatch, InvalidItem
from ayon_async.item import Item
from ayon_async.report import ItemReport
from ayon_async.server import AyonServer
from ayon_async.urls import redact

if TYPE_CHECKING:
    from ayon_async.store import Held


@dataclass(frozen=True, slots=True)
class Pin:
    """Which bytes an archive has to be, beyond what the server says of it.

    Attributes:
        sha256: Of the archive.
        by: A lock file, or what was seen first under the same name and version.
    """

    sha256: str
    by: Literal["lock", "recorded"]

    def mismatch(self, what: str, sha256: str) -> ChecksumMismatch:
        """What to say of another archive."""
        than = {"lock": "that the lock file names", "recorded": "that was seen first under this version"}[self.by]
        hint = {
            "lock": "Upload the right archive to the server, or make the lock file again.",
            "recorded": "Somebody exchanged it: ask the studio's AYON administrator. To accept it: sync --refresh.",
        }[self.by]
        message = f"{what} is not the archive {than}: its sha256 is {sha256}, expected {self.sha256}."
        return ChecksumMismatch(message, hint)


@dataclass(frozen=True, slots=True)
class Source:
    """One place where an archive's bytes may be had.

    Attributes:
        kind: The AYON server, any web server, or a file system.
        location: URL or path.
        headers: Meant for this URL's origin only.
        checksum: What the archive from here must have.
        info: How the server described it, without headers and secrets, as the launcher's ``addons.json`` wants it.
        pin: What attests the checksum where it is not the server.
    """

    kind: Literal["server", "http", "filesystem"]
    location: str
    headers: Mapping[str, str]
    checksum: Checksum | None
    info: Mapping[str, Any]
    pin: Pin | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """The file that an item is unpacked from.

    Attributes:
        sources: In the order in which to try them; at least one.
        size: Bytes, where the server says.
        probed: Bytes, where only the first source said so when it was asked in advance; may have changed since.
    """

    sources: tuple[Source, ...]
    size: int | None
    probed: int | None = None

    @property
    def expected(self) -> int | None:
        """Bytes, as far as they are known."""
        return self.probed if self.size is None else self.size

    @property
    def algorithms(self) -> set[str]:
        """By which its checksums are, as far as a source has one."""
        return {source.checksum.algorithm for source in self.sources if source.checksum}

    @property
    def checksum(self) -> Checksum | None:
        """What the server itself attests, by the first source that says."""
        return next((source.checksum for source in self.sources if source.checksum and source.pin is None), None)


@dataclass(frozen=True, slots=True)
class Job:
    """An item with the archive that it comes from.

    Attributes:
        item: The item.
        archive: Where it may be had.
        pin: What the archive has to be, if anything but the server says so.
        near: The same item, unpacked from the same archive as far as anybody can tell, in another store.
    """

    item: Item
    archive: Archive
    pin: Pin | None = None
    near: Held | None = None

    def pinned(self, pin: Pin) -> Job:
        """The job for just these bytes; the server's own checksums are checked as well.

        Raises:
            ChecksumMismatch: The server itself says that it has others.
        """
        wanted = Checksum("sha256", pin.sha256)
        sources = []
        for source in self.archive.sources:
            if source.checksum is None:
                sources.append(replace(source, checksum=wanted, pin=pin))
            elif source.checksum.algorithm != wanted.algorithm or source.checksum == wanted:
                sources.append(source)
        if not sources and self.archive.checksum is not None:
            what = f"What the server now has as {self.item.label}"
            raise pin.mismatch(what, self.archive.checksum.digest)
        return replace(self, archive=replace(self.archive, sources=tuple(sources)), pin=pin)


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

    def url(source: model.ServerSource) -> str | None:
        return server.addon_url(item.name, item.version or "", source.filename) if source.filename else None

    sources = model.decode_sources(version.client_source_info, f"{item.label} in {server.url}/api/addons")
    return _job(item, sources, checksum, version.size, server, platform, url)


def _locate_package(item: Item, details: Details, server: AyonServer, platform: str) -> Job | ItemReport:
    package = details.packages.get(item.name)
    if package is None:
        hint = "Upload the package to the server, or choose another one in the bundle."
        raise InvalidItem(f"The server does not have the dependency package {item.name}.", hint)
    checksum = _checksum(package.checksum, package.checksum_algorithm, None, item)
    # A package with no source at all was uploaded to the server itself.
    where = f"{item.label} in {server.url}/api/desktop/dependencyPackages"
    sources = model.decode_sources(package.sources or [{"type": "server"}], where)

    def url(source: model.ServerSource) -> str | None:
        return server.dependency_package_url(source.filename or item.name)

    return _job(item, sources, checksum, package.size, server, platform, url)


def _job(
    item: Item,
    decoded: tuple[tuple[model.SourceInfo, ...], tuple[str, ...]],
    checksum: Checksum | None,
    size: int | None,
    server: AyonServer,
    platform: str,
    server_url: Callable[[model.ServerSource], str | None],
) -> Job:
    sources = []
    infos, problems = decoded
    for info in infos:
        own = _checksum(info.checksum or info.hash, info.checksum_algorithm, checksum, item)
        match info:
            case model.ServerSource():
                location = server.path_url(info.path) if info.path else server_url(info)
                if location is None:
                    problems += (f"{item.label}: the server's source names neither a file nor a path.",)
                    continue
                described = {"type": "server", "filename": info.filename, "path": info.path}
                sources.append(Source("server", location, {}, own, described))
            case model.HttpSource():
                described = {"type": "http", "url": redact(info.url), "filename": info.filename}
                sources.append(Source("http", info.url, info.headers or {}, own, described))
            case model.FilesystemSource():
                path = info.path.get(platform)
                if path and "\0" not in path:
                    sources.append(Source("filesystem", path, {}, own, {"type": "filesystem", "path": info.path}))
    if not sources:
        message = f"{item.label}: the server names no source that this version of ayon-async can use on {platform}."
        raise InvalidItem(" ".join((message, *problems)), "Add a source on the server, or update ayon-async.")
    return Job(item, Archive(tuple(sources), size if size is None or size >= 0 else None))


def _checksum(digest: str | None, algorithm: str | None, default: Checksum | None, item: Item) -> Checksum | None:
    if not digest:
        return default
    name = (algorithm or "sha256").lower().replace("-", "")
    digest = digest.strip()
    if DIGITS.get(name) != len(digest) or not set(digest) <= set(string.hexdigits):
        message = f"{item.label}: the server's checksum {digest!r} is no {algorithm or 'sha256'} that can be checked."
        raise InvalidItem(message, "Correct it on the server: md5, sha1 or sha256, in hexadecimal.")
    return Checksum(name, digest.lower())


def _reason(reason: object) -> str:
    if isinstance(reason, dict):
        reason = reason.get("error") or reason.get("message") or ""
    return f": {reason}" if reason else ""
