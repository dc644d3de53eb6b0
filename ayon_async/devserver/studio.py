"""What a studio has on its AYON server, as one immutable value: users, addons, packages, bundles and projects.

The server holds one `Studio` and swaps it for another when something changes. Archives are bytes or files.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Content = bytes | Path
"""An archive: its bytes, or the file that holds them."""

PLATFORMS = ("windows", "linux", "darwin")

SERVER_SOURCE: Mapping[str, Any] = {"type": "server", "filename": "client.zip"}

_BYTES_WRITTEN_AT = 1_760_000_000


@dataclass(frozen=True, slots=True)
class User:
    """Someone, or some service, that may ask the server.

    Attributes:
        name: Login name.
        password: Password for the login, or None where only keys are accepted.
        api_keys: Keys for `X-Api-Key`.
        is_admin: May promote and create bundles.
        is_service: Has keys, but may not log in.
        full_name: What people call the user.
    """

    name: str
    password: str | None = None
    api_keys: tuple[str, ...] = ()
    is_admin: bool = False
    is_service: bool = False
    full_name: str = ""

    def to_json(self) -> dict[str, Any]:
        """The user as the server tells it, password hash included."""
        data: dict[str, Any] = {"accessGroups": {}, "apiKeys": [], "defaultAccessGroups": ["artist"]}
        if self.password is not None:
            data["password"] = hashlib.sha512(self.password.encode()).hexdigest() + ":salt"
        if self.is_admin:
            data["isAdmin"] = True
        if self.is_service:
            data["isService"] = True
        return {
            "name": self.name,
            "uiExposureLevel": 900 if self.is_admin else 500,
            "attrib": {"fullName": self.full_name or self.name.title(), "email": f"{self.name}@example.com"},
            "data": data,
            "active": True,
            "ownAttrib": ["fullName", "email", "avatarUrl", "developerMode"],
            "createdAt": "2026-11-22T16:55:38.597125+00:00",
            "updatedAt": "2026-11-22T16:55:38.597125+00:00",
        }


@dataclass(frozen=True, slots=True)
class AddonVersion:
    """One version of one addon.

    Attributes:
        files: What is served under the version's `private` path, by file name.
        sources: `clientSourceInfo`; None for a server-only addon.
        is_broken: The server can't load it.
        reason: Why it is broken.
        checksum: Hexadecimal digest on the version entry, as a newer server may give it.
        checksum_algorithm: Its algorithm.
        project_can_override: A project bundle may choose another version.
        extra: Further keys of the version entry.
    """

    files: Mapping[str, Content] = field(default_factory=dict)
    sources: tuple[Mapping[str, Any], ...] | None = (SERVER_SOURCE,)
    is_broken: bool = False
    reason: Mapping[str, str] | None = None
    checksum: str | None = None
    checksum_algorithm: str | None = None
    project_can_override: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], files: Mapping[str, Content]) -> AddonVersion:
        """A version as a server told it, with the archives behind it."""
        rest = dict(entry)
        sources = rest.pop("clientSourceInfo", None)
        return cls(
            files=files,
            sources=None if sources is None else tuple(sources),
            is_broken=rest.pop("isBroken", False),
            reason=rest.pop("reason", None),
            checksum=rest.pop("checksum", None),
            checksum_algorithm=rest.pop("checksumAlgorithm", None),
            project_can_override=rest.pop("projectCanOverrideAddonVersion", False),
            extra=rest,
        )

    def to_json(self, details: bool) -> dict[str, Any]:
        """The version entry of the addon list, with or without `details`."""
        if self.is_broken:
            return {"isBroken": True, "reason": dict(self.reason or {}), "projectCanOverrideAddonVersion": False}
        entry: dict[str, Any] = {"hasSettings": True, "hasSiteSettings": False, **self.extra}
        entry |= {"isBroken": False, "projectCanOverrideAddonVersion": self.project_can_override}
        if not details:
            return {key: value for key, value in entry.items() if key not in ("clientPyproject", "services")}
        if self.sources is not None:
            entry["clientSourceInfo"] = [dict(source) for source in self.sources]
        if self.checksum is not None:
            entry["checksum"] = self.checksum
        if self.checksum_algorithm is not None:
            entry["checksumAlgorithm"] = self.checksum_algorithm
        return entry


@dataclass(frozen=True, slots=True)
class Package:
    """A dependency package or an installer.

    Attributes:
        info: Its entry in the server's list (`filename`, `platform`, `size`, `checksum`, `sources`…).
        content: What the server itself serves for it; None where it only has the entry.
    """

    info: Mapping[str, Any]
    content: Content | None = None

    @property
    def filename(self) -> str:
        """The name that bundles and paths call it by."""
        return str(self.info["filename"])


@dataclass(frozen=True, slots=True)
class Bundle:
    """A named set of versions; the attributes are the server's own."""

    name: str
    addons: Mapping[str, str | None] = field(default_factory=dict)
    installer_version: str | None = None
    dependency_packages: Mapping[str, str | None] = field(default_factory=dict)
    addon_development: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_production: bool = False
    is_staging: bool = False
    is_archived: bool = False
    is_dev: bool = False
    is_project: bool = False
    active_user: str | None = None
    created_at: str = "2026-11-22T17:04:05.307510+00:00"

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Bundle:
        """A bundle as a server tells it, or as one is created; only `name` is needed."""
        known = {attribute: entry[key] for attribute, key in _BUNDLE_KEYS.items() if key in entry}
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The bundle as the server tells it."""
        entry = {key: getattr(self, attribute) for attribute, key in _BUNDLE_KEYS.items()}
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in entry.items()}


_BUNDLE_KEYS = {
    "name": "name",
    "created_at": "createdAt",
    "addons": "addons",
    "installer_version": "installerVersion",
    "dependency_packages": "dependencyPackages",
    "addon_development": "addonDevelopment",
    "is_production": "isProduction",
    "is_staging": "isStaging",
    "is_archived": "isArchived",
    "is_dev": "isDev",
    "is_project": "isProject",
    "active_user": "activeUser",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A project, and the project bundles it uses (`production`, `staging` → bundle name)."""

    name: str
    bundles: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The project as the server tells it."""
        data = {"bundle": dict(self.bundles)} if self.bundles else {}
        return {"name": self.name, "code": self.name[:4].lower(), "library": False, "active": True, "data": data}


@dataclass(frozen=True, slots=True)
class Studio:
    """All that one server has.

    Attributes:
        users: Who may ask.
        addons: Versions by addon name and version.
        titles: What people call an addon, where that is not its name.
        packages: Dependency packages.
        installers: Desktop installers.
        bundles: Bundles, newest first.
        projects: Projects.
        files: Further files, by the path on the server, for sources that name one; those under `/static/` need no
            credentials, so that this server can be another's plain file host.
    """

    users: tuple[User, ...] = ()
    addons: Mapping[tuple[str, str], AddonVersion] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()
    installers: tuple[Package, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    projects: tuple[Project, ...] = ()
    files: Mapping[str, Content] = field(default_factory=dict)

    def title(self, addon: str) -> str:
        """What people call the addon."""
        return self.titles.get(addon, addon.replace("_", " ").title())

    def bundle(self, name: str) -> Bundle | None:
        """The bundle of that name."""
        return next((bundle for bundle in self.bundles if bundle.name == name), None)

    def production(self) -> Bundle | None:
        """The production bundle."""
        return next((bundle for bundle in self.bundles if bundle.is_production), None)

    def staging(self) -> Bundle | None:
        """The staging bundle."""
        return next((bundle for bundle in self.bundles if bundle.is_staging), None)


def size_and_time(content: Content) -> tuple[int, float]:
    """Bytes of an archive, and when it was written in seconds since the epoch.

    Bytes in memory have a made-up time that other bytes do not share, so that their ETag differs.

    Raises:
        FileNotFoundError: The file is gone.
    """
    if isinstance(content, bytes):
        return len(content), float(_BYTES_WRITTEN_AT + zlib.crc32(content) % 10_000_000)
    stat = content.stat()
    return stat.st_size, stat.st_mtime
