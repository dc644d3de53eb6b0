"""Whether what is installed is still what was unpacked, file by file."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ayon_async import Store
from ayon_async.devserver import DevServer, zip_bytes
from ayon_async.store.verify import Checked, Progress, verify
from studios import everything, studio, synced

MAYA: dict[str, bytes | str] = {
    "ayon_maya/__init__.py": "",
    "ayon_maya/version.py": "1.0.0",
    "ayon_maya/deep/er/data.bin": bytes(range(256)) * 10_000,
    "ayon_maya/__pycache__/version.cpython-39.pyc": "byte code",
}
links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def linked() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, target in (("lib/real.so", ""), ("lib/alias.so", "./real.so"), ("current", "lib")):
            member = tarfile.TarInfo(name)
            if target:
                member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(studio({"maya 1.0.0": zip_bytes(MAYA), "linked 1.0.0": linked()})) as server:
        yield server


@pytest.fixture
async def store(server: DevServer, tmp_path: Path) -> Store:
    assert (await synced(server, tmp_path)).ok
    return Store.at(tmp_path)


@pytest.fixture
def maya(store: Store) -> Path:
    return store.root("addon").path / "maya_1.0.0"


async def found(store: Store, name: str = "maya", *, quick: bool = False) -> Checked:
    [checked] = [one for one in await store.verify(quick=quick) if one.item.name == name]
    return checked


async def problems(store: Store, name: str = "maya", *, quick: bool = False) -> dict[str, str]:
    checked = await found(store, name, quick=quick)
    assert (checked.state == "damaged") is bool(checked.problems)
    return {problem.path: problem.what for problem in checked.problems}


@pytest.mark.parametrize("quick", [False, True])
async def test_intact(store: Store, tmp_path: Path, quick: bool) -> None:
    before = everything(tmp_path)
    assert [(c.item.label, c.state) for c in await store.verify(quick=quick)] == [
        ("linked 1.0.0", "intact"),
        ("maya 1.0.0", "intact"),
    ]
    checked = await found(store, quick=quick)
    assert (checked.files, checked.size) == (len(MAYA), sum(map(len, MAYA.values())))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("quick", [False, True])
async def test_changed_missing_and_extra(store: Store, maya: Path, quick: bool) -> None:
    version = maya / "ayon_maya/version.py"
    version.write_text("1.0.1")
    later = version.stat().st_mtime_ns + 10**9
    os.utime(version, ns=(later, later))
    (maya / "ayon_maya/__init__.py").unlink()
    (maya / "ayon_maya/deep/sneaked.py").write_text("import os")
    assert await problems(store, quick=quick) == {
        "ayon_maya/version.py": "changed",
        "ayon_maya/__init__.py": "missing",
        "ayon_maya/deep/sneaked.py": "extra",
    }
    assert (await found(store, "linked", quick=quick)).state == "intact"


@pytest.mark.parametrize("quick", [False, True])
async def test_another_size_is_enough(store: Store, maya: Path, quick: bool) -> None:
    file = maya / "ayon_maya/version.py"
    times = file.stat()
    file.write_text("1.0.10")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert await problems(store, quick=quick) == {"ayon_maya/version.py": "changed"}


async def test_the_same_size_and_time_deceive_only_the_quick_check(store: Store, maya: Path) -> None:
    file = maya / "ayon_maya/deep/er/data.bin"
    times = file.stat()
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\0")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert await problems(store, quick=True) == {}
    assert await problems(store) == {"ayon_maya/deep/er/data.bin": "changed"}


async def test_a_later_time_alone_is_no_damage(store: Store, maya: Path) -> None:
    """A store that was copied has other times; the quick check then reads."""
    later = time.time() + 3600
    for name in MAYA:
        os.utime(maya / name, (later, later))
    assert await problems(store, quick=True) == {}


async def test_what_python_writes_is_no_damage(store: Store, maya: Path) -> None:
    cache = maya / "ayon_maya/__pycache__"
    (cache / "version.cpython-311.pyc").write_bytes(b"newer byte code")
    (cache / "version.cpython-39.pyc").unlink()
    (maya / "ayon_maya/deep/__pycache__").mkdir()
    (maya / "ayon_maya/deep/__pycache__/x.cpython-311.pyc").write_bytes(b"")
    (maya / "ayon_maya/version.pyc").write_bytes(b"as Python 2 does it")
    assert await problems(store) == {}


async def test_byte_code_without_a_source_is_extra(store: Store, maya: Path) -> None:
    (maya / "ayon_maya/sneaked.pyc").write_bytes(b"importable")
    assert await problems(store) == {"ayon_maya/sneaked.pyc": "extra"}


@links
async def test_a_link_where_a_file_was(store: Store, maya: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (maya / "ayon_maya/version.py").rename(outside)
    (maya / "ayon_maya/version.py").symlink_to(outside)
    (maya / "ayon_maya/deep/er").rename(tmp_path / "er")
    (maya / "ayon_maya/deep/er").symlink_to(tmp_path / "er")
    assert await problems(store) == {"ayon_maya/version.py": "changed", "ayon_maya/deep/er": "extra"}


@links
async def test_links_of_the_archive(store: Store) -> None:
    folder = store.root("addon").path / "linked_1.0.0"
    (folder / "lib/alias.so").unlink()
    (folder / "lib/alias.so").symlink_to("other.so")
    (folder / "current").unlink()
    assert await problems(store, "linked") == {"lib/alias.so": "changed", "current": "missing"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are none")
async def test_a_fifo_where_a_file_was_does_not_hang(store: Store, maya: Path) -> None:
    (maya / "ayon_maya/version.py").unlink()
    os.mkfifo(maya / "ayon_maya/version.py")
    assert await asyncio.wait_for(problems(store), 5) == {"ayon_maya/version.py": "changed"}


async def test_damaged_records(store: Store, maya: Path) -> None:
    (maya / "dist_progress.json").unlink()
    assert await problems(store) == {"dist_progress.json": "missing"}
    (maya / ".ayon-async.json").write_text("{")
    assert await problems(store) == {".ayon-async.json": "changed"}


async def test_the_launcher_keeps_no_inventory(store: Store, maya: Path) -> None:
    (maya / ".ayon-async.json").unlink()
    checked = await found(store)
    assert (checked.state, checked.item.version, checked.files) == ("unknown", "1.0.0", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")
def test_records_can_be_read_in_many_threads_at_once(maya: Path) -> None:
    script = Path(__file__).with_name("store_threads.py")
    env = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    assert subprocess.run([sys.executable, str(script), str(maya)], env=env, check=False).returncode == 0


async def test_what_is_not_installed_is_not_looked_at(store: Store) -> None:
    half = store.root("addon").path / "half_1.0.0"
    half.mkdir()
    (half / "dist_progress.json").write_text('{"state": "moving"}')
    (store.root("addon").path / "notes.txt").write_text("mine")
    assert {checked.item.name for checked in await store.verify()} == {"linked", "maya"}


async def test_progress_and_an_empty_store(store: Store, tmp_path: Path) -> None:
    told: list[Progress] = []
    await store.verify(progress=told.append)
    await asyncio.sleep(0)
    last = told[-1]
    assert (last.files_done, last.bytes_done) == (last.files, last.size)
    assert last.size == sum(map(len, MAYA.values()))
    assert await Store.at(tmp_path / "none").verify() == ()


async def test_it_can_be_stopped(store: Store) -> None:
    task = asyncio.create_task(store.verify())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


def test_names_of_addons_may_have_underscores(tmp_path: Path) -> None:
    from ayon_async.store.listing import installed

    for folder in ("ayon_third_party_1.0.0-rc.1", "plain", "odd_v1_2"):
        (tmp_path / "addons" / folder).mkdir(parents=True)
        (tmp_path / "addons" / folder / "dist_progress.json").write_text('{"state": "done"}')
    (tmp_path / "addons/addons.json").write_text('{"odd": {"v1_2": {}}}')
    entries = installed([Store.at(tmp_path).root("addon")])
    assert [(entry.item.name, entry.item.version) for entry in entries] == [
        ("ayon_third_party", "1.0.0-rc.1"),
        ("odd", "v1_2"),
        ("plain", ""),
    ]
    assert {checked.state for checked in verify(entries)} == {"unknown"}
