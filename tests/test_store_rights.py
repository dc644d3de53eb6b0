"""Who may read and write what: modes under every umask, stores that can't be written, read or made."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ayon_async import Store, fs, status
from ayon_async.devserver import DevServer, zip_bytes
from ayon_async.errors import StoreError
from launcher_rules import addon_is_installed, package_is_installed
from studios import everything, item_of, leftovers, names_in, platform_package, signed_in, small, states, studio, synced

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")

MAYA, CORE, PACKAGE = "maya 1.0.0", "core 1.0.0", "all.zip"
NOBODY = 65534
ARCHIVE = zip_bytes({"bin/run": "x", "a/b.py": "x", "empty/": ""}, executable=("bin/run",))


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(studio({**small(CORE), MAYA: ARCHIVE}, [platform_package(PACKAGE, ARCHIVE)])) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user can reach, which tests' own temporary folders are not."""
    path = Path(tempfile.mkdtemp(prefix="ayon-rights-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def as_somebody(folder: Path) -> Iterator[None]:
    """As the owner of all that is in the folder, whom rights bind: root passes them all."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def modes(folder: Path) -> dict[str, int]:
    return {path: stat.S_IMODE(mode) for path, (mode, _, _) in everything(folder).items()}


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077])
async def test_nothing_is_world_writable_and_items_can_be_read(dev: DevServer, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert (await synced(dev, tmp_path / "new" / "store")).ok
    finally:
        os.umask(before)
    found = modes(tmp_path / "new")
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o002} == {}
    for kind, item in (("addons", "maya_1.0.0"), ("dependency_packages", PACKAGE)):
        inside = {path.removeprefix(f"store/{kind}/{item}"): mode for path, mode in found.items() if f"/{item}" in path}
        assert {path: oct(mode) for path, mode in inside.items()} == {
            "": "0o755",
            "/.ayon-async.json": "0o644",
            "/dist_progress.json": "0o644",
            "/a": "0o755",
            "/a/b.py": "0o644",
            "/bin": "0o755",
            "/bin/run": "0o755",
            "/empty": "0o755",
        }
        for name in ("parts", "staging"):
            assert found[f"store/{kind}/.ayon-async/{name}"] == 0o700


# --- stores that can only be read -------------------------------------------------------------------------------------


def make_read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~0o222)


def make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(stat.S_IMODE(path.lstat().st_mode) | 0o200)


def visible(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All but what is only ours, whose modes its owner mends."""
    return {path: found for path, found in everything(folder).items() if ".ayon-async" not in path}


@pytest.mark.parametrize("by", ["us", "the launcher"])
async def test_a_complete_store_that_can_only_be_read(dev: DevServer, folder: Path, by: str) -> None:
    store = folder / "store"
    assert (await synced(dev, store)).ok
    if by == "the launcher":
        for path in [*store.rglob(".ayon-async.json"), *store.glob("*/*.json")]:
            path.unlink()
        for path in store.glob("*/.ayon-async"):
            shutil.rmtree(path)
    make_read_only(folder)
    before = everything(folder)
    with as_somebody(folder):
        report = await synced(dev, store)
    assert everything(folder) == before
    assert (report.ok, report.error) == (True, None)
    assert states(report) == {CORE: "up_to_date", MAYA: "up_to_date", PACKAGE: "up_to_date"}
    assert report.warnings == ()
    make_writable(folder)


async def test_an_incomplete_store_that_can_only_be_read(dev: DevServer, folder: Path) -> None:
    store = folder / "store"
    assert (await synced(dev, store)).ok
    shutil.rmtree(store / "addons" / "maya_1.0.0")
    make_read_only(folder)
    before = visible(folder)
    with as_somebody(folder):
        report = await synced(dev, store)
        async with signed_in(dev) as server:
            checked = await status(server, Store.at(store))
    assert visible(folder) == before
    assert states(report) == {CORE: "up_to_date", MAYA: "failed", PACKAGE: "up_to_date"}
    assert states(checked) == {CORE: "up_to_date", MAYA: "planned", PACKAGE: "up_to_date"}
    assert (report.exit_code, report.error) == (1, None)
    error = item_of(report, MAYA).error
    assert isinstance(error, StoreError)
    assert str(store / "addons") in error.message
    assert "--storage-dir" in error.hint
    make_writable(folder)


async def test_a_store_that_can_not_be_made(dev: DevServer, folder: Path) -> None:
    assert (await synced(dev, folder / "warm")).ok  # what is imported late must be there before rights go
    parent = folder / "parent"
    parent.mkdir()
    parent.chmod(0o555)
    with as_somebody(folder):
        report = await synced(dev, parent / "store")
    assert set(states(report).values()) == {"failed"}
    assert report.exit_code == 1
    for item in report.items:
        assert isinstance(item.error, StoreError)
        assert str(parent / "store") in item.error.message
    assert names_in(parent) == set()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux' /proc")
def test_a_place_where_nothing_can_be_made() -> None:
    """The system says there as it does of a missing parent or of a network drive that is not connected."""
    with pytest.raises(FileNotFoundError):
        fs.make_folders(Path("/proc/ayon-async/addons"))


@pytest.mark.parametrize("what", ["", "addons", "addons/.ayon-async", "addons/maya_1.0.0", "addons/addons.json"])
async def test_what_can_not_be_read(dev: DevServer, folder: Path, what: str) -> None:
    """One error in words, or none at all; never anything else."""
    store = folder / "store"
    assert (await synced(dev, store)).ok
    (store / what).chmod(0)
    with as_somebody(folder):
        report = await synced(dev, store)
        async with signed_in(dev) as server:
            checked = await status(server, Store.at(store))
    (store / what).chmod(0o755)
    for errors in ([report.error], [checked.error], [item.error for item in report.items]):
        for error in errors:
            assert error is None or (isinstance(error, StoreError) and str(store) in error.message), error
    if what in ("", "addons"):
        assert report.exit_code == checked.exit_code == 1
    if what == "addons/maya_1.0.0":
        assert item_of(report, CORE).state == item_of(report, PACKAGE).state == "up_to_date"


# --- something else in the store's place ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["store", "store/addons", "store/dependency_packages", "store/addons/.ayon-async", "."]
)
async def test_a_file_in_a_folders_place(dev: DevServer, tmp_path: Path, place: str) -> None:
    base = tmp_path / "base"
    file = base / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"precious")
    before = everything(tmp_path)
    report = await synced(dev, base / "store")
    assert everything(tmp_path) == before or place == "store/addons/.ayon-async"
    assert file.read_bytes() == b"precious"
    assert report.exit_code == 1
    errors = [report.error] if report.error else [item.error for item in report.items if item.state == "failed"]
    assert errors
    for error in errors:
        assert isinstance(error, StoreError)
        assert str(file) in error.message
        assert error.hint


async def test_the_same_folder_twice_is_one_store(dev: DevServer, tmp_path: Path) -> None:
    """By way of a link, or not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert (await synced(dev, tmp_path / "link")).ok
    report = await synced(dev, tmp_path / "real")
    assert set(states(report).values()) == {"up_to_date"}
    assert addon_is_installed(tmp_path / "real", "maya", "1.0.0")
    assert package_is_installed(tmp_path / "real", PACKAGE)
    assert leftovers(tmp_path / "real") == []
