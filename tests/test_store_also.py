"""Other stores that are looked in first: what they have is copied, checked, or used where it is."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tarfile
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import Store, fs, sync
from ayon_async.devserver import DevServer, addon, client_zip, package, tiny_studio, zip_bytes
from ayon_async.store import nearby
from cli_machine import Machine
from store_processes import content, leftovers
from studios import everything, signed_in, studio

NAMES = {"core", "maya", "nuke", "ayon_tiny_linux.zip"}


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


@pytest.fixture
async def other(machine: Machine, server: DevServer, tmp_path: Path) -> Path:
    """A store that has everything."""
    other = tmp_path / "other"
    done = await machine.call("sync", "--storage-dir", str(other))
    assert done.code == 0, done.err
    server.forget_requests()
    return other


async def test_what_another_store_has_is_copied_and_not_fetched(
    machine: Machine, server: DevServer, other: Path
) -> None:
    before = everything(other)
    done = await machine.call("sync", "--json", "--also", str(other))
    assert (done.code, set(done.states.values()), done.document["warnings"]) == (0, {"installed"}, [])
    assert server.bytes_asked() == 0, "not even a size"
    assert done.document["bytes_downloaded"] == 0
    kept = {item["name"]: item for item in done.document["items"]}
    assert set(kept) == NAMES
    theirs = (await machine.call("status", "--json", "--storage-dir", str(other))).document["items"]
    for item in theirs:
        mine = kept[item["name"]]
        assert mine["source"] == str(other)
        assert mine["verified_by"] == item["verified_by"]
        assert (mine["checksum"], mine["size"]) == (item["checksum"], item["size"])
        assert Path(mine["path"]).parent.parent == machine.storage
    assert everything(other) == before, "it is only read"
    assert leftovers(machine.storage) == []
    there, mine = content(other), content(machine.storage)
    records = [path for path in mine if path.endswith((".ayon-async.json", "addons.json", "dependency.json"))]
    assert {path: mine[path] for path in mine if path not in records} == {
        path: there[path] for path in there if path not in records
    }
    for path in machine.storage.rglob("*"):
        twin = other / path.relative_to(machine.storage)
        if path.is_file() and twin.is_file():
            assert not path.samefile(twin)
            assert path.stat().st_nlink == 1
            assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(twin.stat().st_mode)
    assert (await machine.call("verify")).code == 0
    again = await machine.call("sync", "--json")
    assert set(again.states.values()) == {"up_to_date"}


async def test_only_what_is_not_there_is_fetched(machine: Machine, server: DevServer, other: Path) -> None:
    done = await machine.call("sync", "--json", "--use-staging", "--also", str(other))
    assert done.code == 0
    sources = {item["name"]: item["source"] for item in done.document["items"]}
    assert {name for name, source in sources.items() if source == str(other)} == NAMES - {"core"}
    assert sources["core"].startswith(server.url)
    assert {record.path.split("/")[2] for record in server.requests if record.asked} == {"core"}


async def test_several_are_looked_in_in_their_order(machine: Machine, other: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    shutil.copytree(other, first)
    shutil.rmtree(first / "addons/core_1.0.0")
    done = await machine.call("sync", "--json", "--also", str(first), "--also", str(other))
    assert done.code == 0
    sources = {item["name"]: item["source"] for item in done.document["items"]}
    assert sources == {name: str(other if name == "core" else first) for name in NAMES}


async def test_setting_names_several(machine: Machine, server: DevServer, other: Path) -> None:
    settings = machine.home / ".config/ayon-async/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'also = ["{other}"]\n')
    assert (await machine.call("sync")).code == 0
    assert server.bytes_asked() == 0
    shown = (await machine.call("config")).out
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith("also ")] == [["also", str(other)]]
    settings.write_text('also = ["relative"]\n')
    assert (await machine.call("sync")).code == 2


async def test_in_place(machine: Machine, server: DevServer, other: Path) -> None:
    """Where that is allowed, nothing is copied; a started AYON gets the paths where things are."""
    settings = machine.home / ".config/ayon-async/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'also = ["{other}"]\nalso_in_place = true\n')
    shutil.rmtree(other / "addons/core_1.0.0")
    before = everything(other)
    done = await machine.call("sync", "--json")
    assert done.code == 0
    assert done.states == {name: "installed" if name == "core" else "up_to_date" for name in NAMES}
    paths = {item["name"]: Path(item["path"]) for item in done.document["items"]}
    assert {name for name, path in paths.items() if path.parent.parent == other} == NAMES - {"core"}
    assert content(machine.storage).keys() == {
        path
        for path in content(machine.storage)
        if path.startswith("addons/core_1.0.0/") or path == "addons/addons.json"
    }
    assert "maya" not in (machine.storage / "addons/addons.json").read_text()
    assert everything(other) == before
    printed = await machine.call("exec", "--print")
    assert str(other / "addons/maya_1.0.0") in printed.out
    assert str(machine.storage / "addons/core_1.0.0") in printed.out
    assert set((await machine.call("status", "--json")).states.values()) == {"up_to_date"}
    offline = await machine.call("sync", "--offline", "--json")
    assert (offline.code, set(offline.states.values())) == (0, {"up_to_date"})


# --- what is not to be trusted --------------------------------------------------------------------------------------


def changed(folder: Path) -> None:
    (folder / "ayon_core/version.py").write_text('__version__ = "6.6.6"\n')


def shorter(folder: Path) -> None:
    (folder / "ayon_core/data.bin").write_bytes(b"")


def missing(folder: Path) -> None:
    (folder / "ayon_core/version.py").unlink()


def linked(folder: Path) -> None:
    (folder / "ayon_core/version.py").rename(folder / "moved")
    (folder / "ayon_core/version.py").symlink_to("../moved")


def fifo(folder: Path) -> None:
    (folder / "ayon_core/version.py").unlink()
    os.mkfifo(folder / "ayon_core/version.py")


def damaged_record(folder: Path) -> None:
    (folder / ".ayon-async.json").write_text('{"sha256": "00", "size": 5, "files": 7}')


def leaves_the_folder(folder: Path) -> None:
    record = folder / ".ayon-async.json"
    record.write_text(record.read_text().replace("ayon_core/version.py", "../../../evil.py"))
    (folder.parents[2] / "evil.py").write_text('__version__ = "1.0.0"\n')


@pytest.mark.skipif(sys.platform == "win32", reason="there are no fifos")
@pytest.mark.parametrize(
    "damage", [changed, shorter, missing, linked, fifo, damaged_record, leaves_the_folder], ids=lambda one: one.__name__
)
async def test_damaged_item_is_fetched_instead(
    machine: Machine, server: DevServer, other: Path, damage: Callable[[Path], None]
) -> None:
    damage(other / "addons/core_1.0.0")
    done = await machine.call("sync", "--json", "--also", str(other))
    assert (done.code, done.states["core"]) == (0, "installed")
    sources = {item["name"]: item["source"] for item in done.document["items"]}
    assert sources["core"].startswith(server.url)
    assert sources["maya"] == str(other)
    assert (machine.storage / "addons/core_1.0.0/ayon_core/version.py").read_text() == '__version__ = "1.0.0"\n'
    assert not (machine.storage / "addons/core_1.0.0/ayon_core/version.py").is_symlink()
    assert list(machine.storage.rglob("evil.py")) == []
    assert leftovers(machine.storage) == []


async def test_python_s_caches_and_additions_are_not_copied(machine: Machine, other: Path) -> None:
    (other / "addons/core_1.0.0/ayon_core/__pycache__").mkdir()
    (other / "addons/core_1.0.0/ayon_core/__pycache__/version.cpython-311.pyc").write_bytes(b"")
    (other / "addons/core_1.0.0/added.py").write_text("")
    assert (await machine.call("sync", "--also", str(other))).code == 0
    assert not (machine.storage / "addons/core_1.0.0/ayon_core/__pycache__").exists()
    assert not (machine.storage / "addons/core_1.0.0/added.py").exists()


async def test_what_the_launcher_installed_is_not_copied(machine: Machine, server: DevServer, other: Path) -> None:
    """It keeps no inventory that could be checked."""
    (other / "addons/core_1.0.0/.ayon-async.json").unlink()
    done = await machine.call("sync", "--json", "--also", str(other))
    sources = {item["name"]: item["source"] for item in done.document["items"]}
    assert sources["core"].startswith(server.url)


async def test_another_archive_of_the_same_name_is_not_taken(machine: Machine, server: DevServer, other: Path) -> None:
    """The server's checksum says which one is meant."""
    [old] = [one for one in server.studio.packages if one.filename == "ayon_tiny_linux.zip"]
    new = package(old.filename, zip_bytes({"dependencies/new.py": "new = True\n"}))
    others = [one for one in server.studio.packages if one is not old]
    core = client_zip("core", "1.0.0", 500)
    addons = {
        **server.studio.addons,
        ("core", "1.0.0"): replace(addon(core), checksum="0" * 32, checksum_algorithm="md5"),
    }
    server.studio = replace(server.studio, packages=(*others, new), addons=addons)
    done = await machine.call("sync", "--json", "--also", str(other))
    assert (done.states["maya"], done.states["ayon_tiny_linux.zip"], done.states["core"]) == (
        "installed",
        "installed",
        "failed",
    )
    assert (machine.storage / "dependency_packages/ayon_tiny_linux.zip/dependencies/new.py").exists()


async def test_store_that_others_can_write_is_not_looked_in(machine: Machine, server: DevServer, other: Path) -> None:
    (other / "addons").chmod(0o777)
    done = await machine.call("sync", "--json", "--also", str(other))
    assert done.code == 0
    [warning] = done.document["warnings"]
    assert f"{other / 'addons'} can be written by every user" in warning
    assert "not looked in" in warning
    assert server.bytes_asked() > 0


async def test_store_that_is_not_there(machine: Machine, tmp_path: Path) -> None:
    done = await machine.call("sync", "--json", "--also", str(tmp_path / "unmounted"))
    assert done.code == 0
    assert done.document["warnings"] == [f"There is no store in {tmp_path / 'unmounted'}. That store is not looked in."]


async def test_store_that_does_not_answer(
    machine: Machine, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server of files that is down."""
    never = threading.Event()
    monkeypatch.setattr(nearby, "PATIENCE", 0.2)
    monkeypatch.setattr(nearby, "held", lambda roots, items: never.wait(20))
    done = await machine.call("sync", "--json", "--also", str(other))
    never.set()
    assert done.code == 0
    assert done.document["warnings"] == [f"The store {other} does not answer. That store is not looked in."]


async def test_room_that_is_missing_for_a_copy(machine: Machine, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, so only what is unpacked counts."""
    whole = sum(item["size"] for item in (await machine.call("sync", "--json", "--dry-run")).document["items"])
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, whole - 1))
    refused = await machine.call("sync", "--json", "--also", str(other))
    assert refused.code == 1
    assert f"needs {whole:,} bytes" in refused.err
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, whole))
    assert (await machine.call("sync", "--also", str(other))).code == 0


# --- how it is copied -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="there is no copy_file_range")
async def test_file_system_copies_where_it_can(machine: Machine, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    original = os.copy_file_range

    def copy_file_range(source: int, fd: int, count: int) -> int:
        copied.append(original(source, fd, count))
        return copied[-1]

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    assert (await machine.call("sync", "--also", str(other))).code == 0
    assert sum(copied) > 4 * 20_000


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="there is no copy_file_range")
async def test_copy_by_hand_where_it_can_t(machine: Machine, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between some file systems, and on some, the kernel refuses."""

    def refuse(source: int, fd: int, count: int) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert (await machine.call("sync", "--also", str(other))).code == 0
    assert (await machine.call("verify")).code == 0


async def test_links_and_empty_folders_are_copied(tmp_path: Path) -> None:
    archive = tmp_path / "client.tar.gz"
    tree = tmp_path / "tree"
    (tree / "ayon_core/empty").mkdir(parents=True)
    (tree / "ayon_core/lib.so.1").write_text("library")
    (tree / "ayon_core/lib.so").symlink_to("lib.so.1")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, ".")
    async with DevServer(studio({"core 1.0.0": archive.read_bytes()})) as server, signed_in(server) as client:
        assert (await sync(client, Store.at(tmp_path / "one"))).ok
        server.forget_requests()
        two = tmp_path / "two"
        store = Store(two / "addons", two / "dependency_packages", also=[tmp_path / "one"])
        assert (await sync(client, store)).ok
        assert server.bytes_asked() == 0
    core = tmp_path / "two/addons/core_1.0.0/ayon_core"
    assert (core / "empty").is_dir()
    assert (core / "lib.so").readlink() == Path("lib.so.1")


async def test_full_disk_while_copying(
    machine: Machine, server: DevServer, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: int, fd: int, before_each: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fs, "copy", full)
    done = await machine.call("sync", "--json", "--also", str(other))
    assert done.code == 0, "there was room for the download, as it happens"
    assert leftovers(machine.storage) == []


async def test_copy_that_fails_and_can_not_be_removed(
    machine: Machine, server: DevServer, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, while a virus scanner has a file of it open: the item is fetched, and nobody else is stopped."""
    (other / "addons/core_1.0.0/ayon_core/version.py").write_bytes(b"!")
    remove_tree = fs.remove_tree

    def blocked(path: Path) -> None:
        if path.name.startswith("core_1.0.0.") and path.is_dir():
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        remove_tree(path)

    monkeypatch.setattr(fs, "remove_tree", blocked)
    done = await machine.call("sync", "--json", "--also", str(other))
    assert (done.code, set(done.states.values())) == (0, {"installed"}), done.err
    assert server.bytes_asked() > 0
