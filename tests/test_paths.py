"""Where things are, on each platform and under each setting."""

from __future__ import annotations

import json
import sys
from pathlib import Path, PureWindowsPath

import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from ayon_async.configuration import load_settings
from ayon_async.errors import SettingsError
from ayon_async.paths import (
    Folders,
    StorePaths,
    launcher_local,
    launcher_servers,
    other_store,
    platform_folders,
    site_id,
    store_paths,
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(*(tmp_path / name for name in ("store", "launcher", "config", "cache", "log", "machine")))


# --- the platforms' own folders -------------------------------------------------------------------------------------


def test_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    folders = platform_folders(Unix)
    assert folders.store.as_posix() == "/home/me/.local/share/ynput/ayon"
    assert folders.launcher.as_posix() == "/home/me/.local/share/AYON"
    assert folders.user_file.as_posix() == "/home/me/.config/ayon-async/config.toml"
    assert folders.cache.as_posix() == "/home/me/.cache/ayon-async"
    assert folders.log.as_posix() == "/home/me/.local/state/ayon-async/log"
    assert folders.machine_file.as_posix() == "/etc/ayon-async/config.toml"


def test_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/Users/me")
    monkeypatch.setenv("USERPROFILE", "/Users/me")
    folders = platform_folders(MacOS)
    support = "/Users/me/Library/Application Support"
    assert folders.store.as_posix() == f"{support}/ynput/ayon"
    assert folders.launcher.as_posix() == f"{support}/AYON"
    assert folders.user_file.as_posix() == f"{support}/ayon-async/config.toml"
    assert folders.machine_file.as_posix() == "/Library/Application Support/ayon-async/config.toml"


def test_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    local = r"C:\Users\me\AppData\Local"
    for name, value in {"LOCAL_APPDATA": local, "COMMON_APPDATA": r"D:\ProgramData"}.items():
        monkeypatch.setenv(f"WIN_PD_OVERRIDE_{name}", value)
    monkeypatch.setenv("LOCALAPPDATA", local)
    monkeypatch.setenv("PROGRAMDATA", r"D:\ProgramData")
    monkeypatch.setenv("ALLUSERSPROFILE", r"D:\ProgramData")
    folders = platform_folders(Windows)
    assert PureWindowsPath(folders.store) == PureWindowsPath(local, "ynput", "ayon")
    assert PureWindowsPath(folders.launcher) == PureWindowsPath(local, "Ynput", "AYON")
    assert PureWindowsPath(folders.user_file) == PureWindowsPath(local, "ayon-async", "config.toml")
    assert PureWindowsPath(folders.machine_file) == PureWindowsPath(r"D:\ProgramData\ayon-async\config.toml")


def test_this_platform() -> None:
    folders = platform_folders()
    assert all(path.is_absolute() for path in (folders.store, folders.launcher, folders.config, folders.machine))


# --- the store ------------------------------------------------------------------------------------------------------

ADDONS, DEPENDENCIES, STORAGE = "AYON_ADDONS_DIR", "AYON_DEPENDENCIES_DIR", "AYON_LAUNCHER_STORAGE_DIR"


@pytest.mark.parametrize(
    ("flags", "variables", "user", "addons", "dependencies"),
    [
        ([], [], "", "store/addons", "store/dependency_packages"),
        ([], [STORAGE], "", f"{STORAGE}/addons", f"{STORAGE}/dependency_packages"),
        ([], [STORAGE, ADDONS], "", ADDONS, f"{STORAGE}/dependency_packages"),
        ([], [DEPENDENCIES], "", "store/addons", DEPENDENCIES),
        (["storage_dir"], [STORAGE, ADDONS, DEPENDENCIES], "", "flag/addons", "flag/dependency_packages"),
        (["launcher_layout"], [], "", "launcher/addons", "launcher/dependency_packages"),
        (["launcher_layout"], [STORAGE], "", f"{STORAGE}/addons", f"{STORAGE}/dependency_packages"),
        (["launcher_layout"], [ADDONS], "", ADDONS, "launcher/dependency_packages"),
        (["launcher_layout"], [], "storage_dir", "launcher/addons", "launcher/dependency_packages"),
        (["launcher_layout", "storage_dir"], [], "", "flag/addons", "flag/dependency_packages"),
        ([], [], "launcher_layout", "launcher/addons", "launcher/dependency_packages"),
        ([], [], "storage_dir", "user/addons", "user/dependency_packages"),
        ([], [], "storage_dir addons_dir", "special", "user/dependency_packages"),
        ([], [STORAGE], "addons_dir", f"{STORAGE}/addons", f"{STORAGE}/dependency_packages"),
    ],
)
def test_the_store_s_folders(
    tmp_path: Path,
    folders: Folders,
    flags: list[str],
    variables: list[str],
    user: str,
    addons: str,
    dependencies: str,
) -> None:
    lines = {
        "storage_dir": f"storage_dir = '{tmp_path / 'user'}'",
        "addons_dir": f"addons_dir = '{tmp_path / 'special'}'",
        "launcher_layout": "launcher_layout = true",
    }
    user_file = tmp_path / "user.toml"
    user_file.write_text("\n".join(lines[key] for key in user.split()), encoding="utf-8")
    given = {"storage_dir": tmp_path / "flag", "launcher_layout": True}
    settings = load_settings(
        {key: given[key] for key in flags},
        environ={name: str(tmp_path / name) for name in variables},
        user_file=user_file,
    )
    paths = store_paths(settings, folders)
    assert (paths.addons, paths.dependencies) == (tmp_path / addons, tmp_path / dependencies)


def test_where_the_store_s_folders_came_from(tmp_path: Path, folders: Folders) -> None:
    environ = {ADDONS: str(tmp_path / "a")}
    paths = store_paths(load_settings({"launcher_layout": True}, environ=environ), folders)
    assert (paths.addons_origin, paths.dependencies_origin) == (ADDONS, "--launcher-layout")
    machine = tmp_path / "machine.toml"
    machine.write_text(f"lock = ['storage_dir']\nstorage_dir = '{tmp_path / 'locked'}'", encoding="utf-8")
    paths = store_paths(load_settings(environ=environ, machine_file=machine), folders)
    assert paths.addons == tmp_path / "locked/addons", "a lock beats the more special variable"
    assert paths.addons_origin == f"{machine} (locked)"


def test_a_launcher_s_store_elsewhere_is_told(tmp_path: Path, folders: Folders) -> None:
    ours = StorePaths(tmp_path / "ours/addons", tmp_path / "ours/dependency_packages", "default", "default")
    theirs = folders.launcher / "addons"
    assert other_store(ours, {}, folders) is None, "none there"
    (theirs / ".ayon-async").mkdir(parents=True)
    (theirs / "addons.json").touch()
    assert other_store(ours, {}, folders) is None, "nothing in it"
    (theirs / "maya_1.0.0").mkdir()
    sentence = other_store(ours, {}, folders)
    assert sentence is not None
    assert str(theirs) in sentence
    assert str(ours.addons) in sentence
    assert "--launcher-layout" in sentence
    assert other_store(StorePaths(theirs, theirs, "", ""), {}, folders) is None, "it is this one"
    assert other_store(ours, {STORAGE: str(tmp_path / "ours")}, folders) is None, "the launcher uses this one"
    assert other_store(ours, {STORAGE: str(tmp_path / "x"), ADDONS: str(theirs)}, folders) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_launcher_s_store_reached_by_a_link_is_the_same(tmp_path: Path, folders: Folders) -> None:
    (folders.launcher / "addons/maya_1.0.0").mkdir(parents=True)
    (tmp_path / "link").symlink_to(folders.launcher)
    ours = StorePaths(tmp_path / "link/addons", tmp_path / "link/dependency_packages", "", "")
    assert other_store(ours, {}, folders) is None


# --- the launcher's local files -------------------------------------------------------------------------------------


def test_site_id(tmp_path: Path, folders: Folders) -> None:
    assert site_id({}, folders) is None
    folders.launcher.mkdir()
    (folders.launcher / "site_id").write_text("quick-brown-fox\n")
    assert site_id({}, folders) == "quick-brown-fox"
    assert site_id({"AYON_SITE_ID": "other"}, folders) == "other"
    local = {"AYON_LAUNCHER_LOCAL_DIR": str(tmp_path / "local")}
    assert launcher_local(local, folders) == tmp_path / "local"
    assert site_id(local, folders) is None
    for junk in (b"", b"\xff", b"two\nlines"):
        (folders.launcher / "site_id").write_bytes(junk)
        assert site_id({}, folders) is None


@pytest.mark.parametrize(
    ("content", "urls"),
    [
        ({"last_server": "https://b", "urls": {"https://a": {}, "https://b": {}}}, ("https://b", "https://a")),
        ({"last_server": None, "urls": {"https://a": {}}}, ("https://a",)),
        ({"last_server": "https://a"}, ("https://a",)),
        ({"last_server": 3, "urls": ["https://a"]}, ()),
        ([], ()),
        (None, ()),
    ],
)
def test_servers_that_the_launcher_knows(folders: Folders, content: object, urls: tuple[str, ...]) -> None:
    folders.launcher.mkdir()
    (folders.launcher / "used_servers.json").write_text(json.dumps(content))
    assert launcher_servers({}, folders) == urls


def test_a_launcher_s_list_of_servers_that_is_missing_or_broken(folders: Folders) -> None:
    assert launcher_servers({}, folders) == ()
    folders.launcher.mkdir()
    (folders.launcher / "used_servers.json").write_text('{"last_server": ')
    assert launcher_servers({}, folders) == ()


def test_two_kinds_need_two_folders(tmp_path: Path) -> None:
    settings = load_settings(environ=dict.fromkeys(("AYON_ADDONS_DIR", "AYON_DEPENDENCIES_DIR"), str(tmp_path)))
    with pytest.raises(SettingsError, match=r"both to lie in .* \(AYON_ADDONS_DIR, AYON_DEPENDENCIES_DIR\)"):
        store_paths(settings, platform_folders())
