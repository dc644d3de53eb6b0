"""Settings and where each came from: flag, environment, user's file, machine's file, default, in this order.

`SETTINGS` is the one table of them. The machine's file may lock keys, ``lock = ["server", "storage_dir"]``: what it
says of them then wins over everything, and what it leaves out stays at its default. Keys that make one choice (which
bundle, which project; `CHOICES`) are one setting: the first place that names any of them decides alone.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ayon_async.choice import BundleChoice
from ayon_async.values import (
    ahead,
    duration,
    file_path,
    folders,
    line,
    number,
    period,
    platform_name,
    rate,
    seconds,
    secret,
    size,
    switch,
    user,
    web_address,
    whole_number,
    word,
)

Platform = Literal["windows", "linux", "darwin"]
Prefetch = Literal["off", "staging", "all"]


def this_platform() -> Platform:
    """The platform's name in AYON."""
    return "windows" if sys.platform == "win32" else "darwin" if sys.platform == "darwin" else "linux"


# --- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table.

    Attributes:
        key: Its name in files and in `Settings`.
        read: Takes what a place gave and returns the value, or raises ValueError with what it must be.
        help: One line for people.
        flag: Option on the command line, or None.
        variable: Environment variable, or None.
        default: Value where no place names one.
        from_text: What the variable's text stands for.
        in_files: False where it may stand in no file.
    """

    key: str
    read: Callable[[object], Any]
    help: str
    flag: str | None = None
    variable: str | None = None
    default: Any = None
    from_text: Callable[[str], object] = str
    in_files: bool = True


SETTINGS = (
    Setting("server", web_address, "URL of the AYON server", "--server", "AYON_SERVER_URL"),
    Setting("api_key", secret, "API key or token; never kept in a file", None, "AYON_API_KEY", in_files=False),
    Setting("bundle", line, "name of the bundle", "--bundle", "AYON_STUDIO_BUNDLE_NAME"),
    Setting("use_dev", switch, "your own dev bundle", "--use-dev", "AYON_USE_DEV", False, word),
    Setting("use_staging", switch, "the staging bundle", "--use-staging", "AYON_USE_STAGING", False, word),
    Setting("project_bundle", line, "name of a project's bundle", None, "AYON_BUNDLE_NAME"),
    Setting("project", line, "project whose bundle is merged over the studio's", "--project", "AYON_PROJECT_NAME"),
    Setting(
        "storage_dir",
        file_path,
        "folder of addons and dependency packages",
        "--storage-dir",
        "AYON_LAUNCHER_STORAGE_DIR",
    ),
    Setting("addons_dir", file_path, "folder of addons alone", None, "AYON_ADDONS_DIR"),
    Setting("dependencies_dir", file_path, "folder of dependency packages alone", None, "AYON_DEPENDENCIES_DIR"),
    Setting("launcher_layout", switch, "share the AYON launcher's own folder", "--launcher-layout", default=False),
    Setting("trust_store", switch, "use folders that other users could write", "--trust-store", default=False),
    Setting("store_owner", user, "user, besides you and root, who may own the store"),
    Setting("group_writable", switch, "let the group write what is installed", "--group-writable", default=False),
    Setting("also", folders, "other stores to look in first, which are only read", "--also"),
    Setting("also_in_place", switch, "use what other stores have where it is, instead of copying it", default=False),
    Setting("max_members", whole_number(1, 10**9), "most members of an archive", default=500_000),
    Setting("max_depth", whole_number(1, 1000), "most levels of folders in an archive", default=100),
    Setting("max_size", size, "most bytes that an archive may unpack to, such as 64GiB", default=64 << 30),
    Setting("max_ratio", whole_number(1, 10**9), "most bytes for each byte of an archive above 100 MiB", default=200),
    Setting("platform", platform_name, "whose dependency package: windows, linux, darwin", "--platform"),
    Setting("jobs", whole_number(1, 16), "most connections used at once, 1 to 16", "--jobs", default=8),
    Setting("limit_rate", rate, "bytes per second at the most, such as 2M", "--limit-rate"),
    Setting(
        "start_jitter", duration, "longest random wait before the start, such as 30s", "--start-jitter", default=0.0
    ),
    Setting("check_every", period, "how often a watch asks without any news, such as 10m", default=600.0),
    Setting("news_wait", duration, "longest random wait of a watch after news, such as 20s", default=20.0),
    Setting("prefetch", ahead, "bundles to fetch before they are active: off, staging, all", default="off"),
    Setting("connect_timeout", seconds, "seconds to wait for a connection", None, "AYON_SERVER_TIMEOUT", 15.0, number),
    Setting(
        "silence_timeout",
        seconds,
        "seconds without a single byte before a new try",
        None,
        "AYON_SERVER_TIMEOUT",
        30.0,
        number,
    ),
    Setting(
        "retries",
        whole_number(0, 1000),
        "further tries since the last byte of progress",
        None,
        "AYON_SERVER_RETRIES",
        8,
        number,
    ),
    Setting("ca_file", file_path, "PEM file with certificates to trust as well", None, "AYON_CA_FILE"),
    Setting("cert_file", file_path, "PEM file with this client's certificate and key", None, "AYON_CERT_FILE"),
    Setting("headless", switch, "ask nothing, show nothing", "--headless", "AYON_HEADLESS_MODE", False, word),
    Setting("log_file", file_path, "file that everything is logged to", "--log-file"),
)
BY_KEY: Mapping[str, Setting] = MappingProxyType({setting.key: setting for setting in SETTINGS})
# Within one place, the first key that is named decides.
CHOICES = (("bundle", "use_dev", "use_staging"), ("project_bundle", "project"))
CHOSEN = frozenset(key for choice in CHOICES for key in choice)


# --- the result -----------------------------------------------------------------------------------------------------


class Place(enum.IntEnum):
    """Where a value came from; the lowest one that names a setting decides."""

    LOCKED = 0
    FLAG = 1
    ENVIRONMENT = 2
    USER_FILE = 3
    MACHINE_FILE = 4
    DEFAULT = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value came from.

    Attributes:
        place: The kind of place.
        name: The place's own name: an option, a variable, a file's path, ``default``.
    """

    place: Place
    name: str

    def __str__(self) -> str:
        return f"{self.name} (locked)" if self.place is Place.LOCKED else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting's value; see `SETTINGS` for what each is.

    Attributes:
        server: Normalised URL, or None where no place names one.
        choice: Which bundle and project.
        storage_dir: Absolute, as are all paths here; `ayon_async.paths.store_paths` makes the store's folders of it.
        limit_rate: Bytes per second.
        start_jitter: Seconds, as are the time-outs and the waits of a watch.
        warnings: Sentences that a person should see once: unknown keys, locked ones.
    """

    server: str | None
    api_key: str | None = field(repr=False)
    choice: BundleChoice
    storage_dir: Path | None
    addons_dir: Path | None
    dependencies_dir: Path | None
    launcher_layout: bool
    trust_store: bool
    store_owner: str | None
    group_writable: bool
    also: tuple[Path, ...] | None
    also_in_place: bool
    max_members: int
    max_depth: int
    max_size: int
    max_ratio: int
    platform: Platform
    jobs: int
    limit_rate: float | None
    start_jitter: float
    check_every: float
    news_wait: float
    prefetch: Prefetch
    connect_timeout: float
    silence_timeout: float
    retries: int
    ca_file: Path | None
    cert_file: Path | None
    headless: bool
    log_file: Path | None
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...] = ()

    def origin(self, key: str) -> Origin:
        """Where the key's value came from; for a key that is part of a choice, where the choice was made."""
        return self.origins[key]

    def shown(self, key: str) -> str:
        """The key's value for people: secrets hidden, empty where there is none."""
        holder = self.choice if key in CHOSEN else self
        value = getattr(holder, {"use_dev": "dev", "use_staging": "staging"}.get(key, key))
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        return "***" if key == "api_key" else str(value)
