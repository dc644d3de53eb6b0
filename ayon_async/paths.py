"""Where things are: the store, the official launcher's files, our settings, cache and log.

`platform_folders` asks the platform; everything else here is computed from what it returned, the environment and the
settings, so that it is the same on every machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from platformdirs.api import PlatformDirsABC
from platformdirs.unix import Unix

from ayon_async.errors import SettingsError
from ayon_async.settings import Place, Settings


@dataclass(frozen=True, slots=True)
class Folders:
    """The platform's folders; none of them needs to exist.

    Attributes:
        store: Root of a store, as the AYON documentation has it.
        launcher: Root of the official launcher's own store and of its local files.
        config: Our settings file and what we remember of servers.
        cache: What can be made again.
        log: Logs.
        machine: Settings that an administrator makes for all users.
    """

    store: Path
    launcher: Path
    config: Path
    cache: Path
    log: Path
    machine: Path

    @property
    def user_file(self) -> Path:
        """The user's settings file."""
        return self.config / "config.toml"

    @property
    def machine_file(self) -> Path:
        """The machine's settings file."""
        return self.machine / "config.toml"


def platform_folders(dirs: type[PlatformDirsABC] = platformdirs.PlatformDirs) -> Folders:
    """This platform's folders, or those of another class of platformdirs."""
    base, ours, launchers = dirs(), dirs("ayon-async", False), dirs("AYON", "Ynput")
    return Folders(
        store=base.user_data_path / "ynput" / "ayon",
        launcher=launchers.user_data_path,
        config=ours.user_config_path,
        cache=ours.user_cache_path,
        log=ours.user_log_path,
        machine=_machine_folder(base),
    )


def _machine_folder(base: PlatformDirsABC) -> Path:
    if isinstance(base, Unix):
        return Path("/etc/ayon-async")
    from platformdirs.windows import Windows  # with ctypes: others need neither

    if isinstance(base, Windows):
        return base.site_data_path / "ayon-async"
    return Path("/Library/Application Support/ayon-async")


# --- the store ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The two folders of a store, which may lie on different file systems.

    Attributes:
        addons: Holds a folder for each addon version.
        dependencies: Holds a folder for each dependency package.
        addons_origin: Where the first came from: an option, a variable, a file's path, a default.
        dependencies_origin: Where the second came from.
    """

    addons: Path
    dependencies: Path
    addons_origin: str
    dependencies_origin: str


def store_paths(settings: Settings, folders: Folders) -> StorePaths:
    """The store's folders: the first place that names one decides, within a place the more special name.

    The launcher's own layout is what the launcher would use, hence its variables count before its default root.

    Raises:
        SettingsError: Both are the same folder.
    """
    addons = _find(settings, folders, "addons_dir", "addons")
    dependencies = _find(settings, folders, "dependencies_dir", "dependency_packages")
    if addons[0] == dependencies[0]:
        message = f"Addons and dependency packages are both to lie in {addons[0]} ({addons[1]}, {dependencies[1]})."
        raise SettingsError(message, "Name two folders.")
    return StorePaths(addons[0], dependencies[0], addons[1], dependencies[1])


def _find(settings: Settings, folders: Folders, key: str, name: str) -> tuple[Path, str]:
    """One folder of the store and where it came from."""
    special: Path | None = getattr(settings, key)
    named = [(Place.DEFAULT, folders.store / name, "default")]
    if settings.launcher_layout:
        layout = settings.origin("launcher_layout")
        place = Place.ENVIRONMENT if layout.place is Place.FLAG else layout.place
        named.insert(0, (place, folders.launcher / name, str(layout)))
    if settings.storage_dir is not None:
        storage = settings.origin("storage_dir")
        named.insert(0, (storage.place, settings.storage_dir / name, str(storage)))
    if special is not None:
        named.insert(0, (settings.origin(key).place, special, str(settings.origin(key))))
    _, path, origin = min(named, key=lambda entry: entry[0])  # the first of those in the same place
    return path, origin


def other_store(paths: StorePaths, environ: Mapping[str, str], folders: Folders) -> str | None:
    """A sentence where the official launcher keeps a store with something in it, and this is not that one."""
    root = Path(environ.get("AYON_LAUNCHER_STORAGE_DIR") or folders.launcher)
    theirs = Path(environ.get("AYON_ADDONS_DIR") or root / "addons").expanduser().absolute()
    if _same(theirs, paths.addons) or not _has_addons(theirs):
        return None
    return (
        f"The AYON launcher has a store of its own in {theirs}; this one is {paths.addons}. "
        "With --launcher-layout both use the launcher's."
    )


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.normcase(one) == os.path.normcase(other)


def _has_addons(folder: Path) -> bool:
    try:
        return any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return False


# --- the official launcher's local files ----------------------------------------------------------------------------


def launcher_local(environ: Mapping[str, str], folders: Folders) -> Path:
    """Where the official launcher keeps what belongs to this machine and user alone."""
    named = environ.get("AYON_LAUNCHER_LOCAL_DIR")
    return Path(named).expanduser().absolute() if named else folders.launcher


def site_id(environ: Mapping[str, str], folders: Folders) -> str | None:
    """The name by which the server knows this machine, or None where the launcher has not given it one."""
    named = environ.get("AYON_SITE_ID", "").strip()
    if named:
        return named
    try:
        text = (launcher_local(environ, folders) / "site_id").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.isascii() and text.isprintable() and text else None


def launcher_servers(environ: Mapping[str, str], folders: Folders) -> tuple[str, ...]:
    """URLs that the launcher was signed in to, as it spells them, the last used one first."""
    try:
        known = json.loads((launcher_local(environ, folders) / "used_servers.json").read_bytes())
    except (OSError, ValueError):
        return ()
    if not isinstance(known, dict):
        return ()
    last, urls = known.get("last_server"), known.get("urls")
    listed = [last, *urls] if isinstance(urls, dict) else [last]
    return tuple(dict.fromkeys(url for url in listed if isinstance(url, str) and url))
