"""What an AYON server says, decoded and validated; field names are the server's (camelCase on the wire).

Fields that a server may leave out have defaults, unknown fields and unknown source types are survived, a wrong type is
an `InvalidAnswer` that names the URL and the field. Facts read off AYON server 1.16.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ayon_async.errors import InvalidAnswer

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """Base of everything decoded from JSON."""


# --- who is there ---------------------------------------------------------------------------------------------------


class User(Answer, frozen=True, rename="camel"):
    """The part of a user that we need; answers about users carry password hashes, so nothing else is decoded."""

    name: str


class Info(Answer, frozen=True, rename="camel"):
    """``/api/info``: `user` is there exactly when the request was signed in."""

    version: str
    user: User | None = None


class Login(Answer, frozen=True, rename="camel"):
    """``/api/auth/login``: the token, or why there is none."""

    token: str | None = None
    detail: str | None = None
    user: User | None = None


# --- what should be installed ---------------------------------------------------------------------------------------


class AddonDevelopment(Answer, frozen=True, rename="camel"):
    """How a developer uses an addon from a folder of their own."""

    enabled: bool = False
    path: str | None = None


class Bundle(Answer, frozen=True, rename="camel"):
    """A named set of addon versions; a version may also be None, ``__inherit__`` or ``__disable__``."""

    name: str
    addons: dict[str, str | None] = {}
    dependency_packages: dict[str, str | None] | None = None
    addon_development: dict[str, AddonDevelopment] | None = None
    installer_version: str | None = None
    created_at: str | None = None
    is_production: bool = False
    is_staging: bool = False
    is_archived: bool = False
    is_dev: bool = False
    is_project: bool | None = False
    active_user: str | None = None


class Bundles(Answer, frozen=True, rename="camel"):
    """``/api/bundles``."""

    bundles: list[Bundle]
    production_bundle: str | None = None
    staging_bundle: str | None = None
    dev_bundles: list[str] = []


class AddonVersion(Answer, frozen=True, rename="camel"):
    """One version of an addon; without `client_source_info` it has no client part."""

    client_source_info: list[Any] | None = None
    checksum: str | None = None
    hash: str | None = None
    checksum_algorithm: str | None = None
    size: int | None = None
    is_broken: bool | None = False
    reason: Any = None


class Addon(Answer, frozen=True, rename="camel"):
    """An addon with all the versions that the server has."""

    name: str
    versions: dict[str, AddonVersion] = {}
    title: str | None = None


class Addons(Answer, frozen=True, rename="camel"):
    """``/api/addons?details=1``."""

    addons: list[Addon]


class DependencyPackage(Answer, frozen=True, rename="camel"):
    """A package of Python modules that a bundle's addons need."""

    filename: str
    platform: str | None = None
    size: int | None = None
    checksum: str | None = None
    checksum_algorithm: str | None = None
    sources: list[Any] | None = None


class DependencyPackages(Answer, frozen=True, rename="camel"):
    """``/api/desktop/dependencyPackages``."""

    packages: list[DependencyPackage]


class Installer(Answer, frozen=True, rename="camel"):
    """An installer of the AYON launcher."""

    filename: str
    version: str
    platform: str
    size: int | None = None
    checksum: str | None = None
    checksum_algorithm: str | None = None
    sources: list[Any] | None = None
    distro_short: str | None = None


class Installers(Answer, frozen=True, rename="camel"):
    """``/api/desktop/installers``."""

    installers: list[Installer]


class ProjectBundles(Answer, frozen=True, rename="camel"):
    """The names of a project's own bundles."""

    production: str | None = None
    staging: str | None = None


class _ProjectData(Answer, frozen=True, rename="camel"):
    bundle: ProjectBundles | None = None


class Project(Answer, frozen=True, rename="camel"):
    """``/api/projects/{name}``."""

    name: str
    data: _ProjectData | None = None

    @property
    def bundles(self) -> ProjectBundles:
        """The project's own bundles; both None where it has none."""
        return (self.data and self.data.bundle) or ProjectBundles()


class SummaryAddon(Answer, frozen=True, rename="camel"):
    """One addon as it results from merging a project bundle over the studio's."""

    name: str
    version: str


class SettingsSummary(Answer, frozen=True, rename="camel"):
    """``/api/settings?summary=true``."""

    addons: list[SummaryAddon]


# --- where the bytes are --------------------------------------------------------------------------------------------


class ServerSource(Answer, frozen=True, rename="camel"):
    """The AYON server itself: a file name in the item's own place, or a path on the server."""

    filename: str | None = None
    path: str | None = None
    checksum: str | None = None
    hash: str | None = None
    checksum_algorithm: str | None = None


class HttpSource(Answer, frozen=True, rename="camel"):
    """Any web server, with headers meant for it alone."""

    url: str
    filename: str | None = None
    headers: dict[str, str] | None = None
    checksum: str | None = None
    hash: str | None = None
    checksum_algorithm: str | None = None


class FilesystemSource(Answer, frozen=True, rename="camel"):
    """A file that this machine may be able to read, one path for each platform."""

    path: dict[str, str | None]
    checksum: str | None = None
    hash: str | None = None
    checksum_algorithm: str | None = None


SourceInfo = ServerSource | HttpSource | FilesystemSource
_SOURCE_TYPES: Mapping[str, type[SourceInfo]] = {
    "server": ServerSource,
    "http": HttpSource,
    "filesystem": FilesystemSource,
}


def decode_sources(raw: list[Any], where: str) -> tuple[tuple[SourceInfo, ...], tuple[str, ...]]:
    """The sources of known types, in the server's order, and what is wrong with those that can't be used.

    Args:
        raw: The list as decoded from JSON.
        where: What the list belongs to, for the message.

    """
    sources: list[SourceInfo] = []
    problems: list[str] = []
    for index, entry in enumerate(raw):
        kind = entry.get("type") if isinstance(entry, dict) else None
        cls = _SOURCE_TYPES.get(kind) if isinstance(kind, str) else None
        if cls is None:
            continue
        try:
            sources.append(msgspec.convert(entry, cls))
        except msgspec.ValidationError as error:
            problems.append(f"Source {index + 1} of {where} can't be used: {error}.")
    return tuple(sources), tuple(problems)


_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # too deep, that is


def decode(body: bytes, kind: type[T], url: str) -> T:
    """The JSON body as `kind`.

    Raises:
        InvalidAnswer: It is not JSON, or a field is missing or of a wrong type; the message names the URL and field.
    """
    hint = "Check that the address is an AYON server's, and its version."
    try:
        return msgspec.json.decode(body, type=kind)
    except _NO_JSON as error:
        raise InvalidAnswer(f"The answer of {url} is {_what_is_wrong(error, body, kind)}", hint) from error


def _what_is_wrong(error: Exception, body: bytes, kind: type[Any]) -> str:
    if isinstance(error, msgspec.ValidationError):
        try:
            content = msgspec.json.decode(body)
        except _NO_JSON as deeper:  # in what had not been read
            error = deeper
        else:
            return f"not as an AYON server gives it: {_with_keys(str(error), content, kind)}"
    return f"not valid JSON: {error}"


_ANY_KEY = "[...]"


def _with_keys(problem: str, content: Any, kind: type[Any]) -> str:
    """The problem with the keys named that msgspec leaves out: it writes ``$.addons[...]`` for any key of a mapping.

    A mapping is cut down to one key after the other, until the same problem shows.
    """
    original = problem
    while _ANY_KEY in problem:
        before = problem.partition(" - at `$")[2].partition(_ANY_KEY)[0]
        holder = content
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]|\['[^']*'\]", before):
            holder = holder[name] if name else holder[int(index)] if index else next(iter(holder.values()))
        entries = dict(holder)
        for key, value in entries.items():
            holder.clear()
            holder[key] = value
            if _problem(content, kind) == original:
                break
        else:
            return problem
        problem = problem.replace(_ANY_KEY, f"[{key!r}]", 1)
    return problem


def _problem(content: Any, kind: type[Any]) -> str | None:
    try:
        msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return None
