"""Other users of the same machine: what they may not write, read or put in our way."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async import Store, sync, unpacking
from ayon_async.devserver import DevServer, client_zip
from ayon_async.unpack import unpack
from cli_machine import Ended, Machine
from store_processes import KINDS, OURS, Zygote, content, leftovers
from store_steps import STEPS, STUDIO
from studios import signed_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are not what Windows goes by")
as_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can be several users")

ALICE, BOB, ARTISTS = 54321, 54322, 54323


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("zygote")
    folder.chmod(0o777)
    zygote = Zygote(folder)
    yield zygote
    zygote.close()


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(STUDIO) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, server: DevServer) -> Machine:
    return Machine(tmp_path, server.url)


@pytest.fixture
def reachable(server: DevServer) -> Iterator[Machine]:
    """A machine whose folders every user gets to."""
    folder = Path(tempfile.mkdtemp(prefix="ayon-async-", dir="/var/tmp"))
    folder.chmod(0o755)
    machine = Machine(folder, server.url)
    machine.home.chmod(0o777)
    yield machine
    shutil.rmtree(folder)


def modes(folder: Path) -> dict[str, int]:
    """Every mode below a folder, and its own, by path."""
    paths = [folder, *folder.rglob("*")]
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in paths}


# --- modes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_modes(zygote: Zygote, machine: Machine, umask: int) -> None:
    """What is installed is for all to read, whatever the umask; what is not yet is for nobody else to see."""
    machine.env["AYON_LAUNCHER_STORAGE_DIR"] = str(machine.storage / "deep/down")
    assert (await zygote.run(machine, "sync", umask=umask)).code == 0
    found = modes(machine.storage)
    assert [path for path, mode in found.items() if mode & stat.S_IWOTH] == []
    assert found["."] == 0o755 & ~umask
    for kind in KINDS:
        assert found[f"deep/down/{kind}"] == 0o755 & ~umask
        for name in ("parts", "staging", "locks"):
            assert found[f"deep/down/{kind}/{OURS}/{name}"] == 0o700
    item = "deep/down/addons/core_1.0.0"
    expected = {
        "": 0o755,
        "/ayon_core": 0o755,
        "/ayon_core/bin/launch": 0o755,
        "/ayon_core/version.py": 0o644,
        "/dist_progress.json": 0o644,
        "/.ayon-async.json": 0o644,
    }
    assert {path: found[item + path] for path in expected} == expected


async def test_what_is_on_its_way_is_private(zygote: Zygote, server: DevServer, machine: Machine) -> None:
    step = STEPS["write our record"]
    assert (await zygote.run(machine, "sync", "--jobs", "1", kill=step, umask=0)).code == -signal.SIGKILL
    ours = machine.storage / "addons" / OURS
    found = {path: mode for path, mode in modes(ours).items() if path.endswith((".part", ".json", ".lease"))}
    parts = {path: mode for path, mode in found.items() if path.startswith(("parts/", "locks/"))}
    assert set(parts.values()) == {0o600}
    assert len(parts) == 4, "a part, its sidecar, two leases"


async def test_folders_that_were_opened_are_closed_again(machine: Machine) -> None:
    assert (await machine.call("sync")).code == 0
    staging = machine.storage / "addons" / OURS / "staging"
    staging.chmod(0o777)
    shutil.rmtree(machine.storage / "addons/core_1.0.0")
    assert (await machine.call("sync")).code == 0
    assert stat.S_IMODE(staging.stat().st_mode) == 0o700


async def test_group_writable(zygote: Zygote, machine: Machine) -> None:
    assert (await zygote.run(machine, "sync", "--group-writable", umask=0o077)).code == 0
    found = modes(machine.storage)
    assert [path for path, mode in found.items() if mode & stat.S_IWOTH] == []
    assert found["addons"] == 0o2775
    for name in ("parts", "staging", "locks"):
        assert found[f"addons/{OURS}/{name}"] == 0o2770
    assert (found["addons/core_1.0.0"], found["addons/core_1.0.0/ayon_core/bin"]) == (0o2775, 0o2775)
    assert (found["addons/core_1.0.0/ayon_core/version.py"], found["addons/addons.json"]) == (0o664, 0o664)
    assert (found["addons/core_1.0.0/dist_progress.json"], found["addons/core_1.0.0/ayon_core/bin/launch"]) == (
        0o664,
        0o775,
    )


@as_root
async def test_a_folder_that_was_not_yet_opened_for_the_group_is_removed(zygote: Zygote, reachable: Machine) -> None:
    how: dict[str, Any] = {"group": ARTISTS, "umask": 0o077}
    options = ("--group-writable", "--trust-store")
    for folder in (reachable.storage, reachable.storage / "addons"):
        folder.mkdir()
        os.chown(folder, ALICE, ARTISTS)
        folder.chmod(0o2775)
    assert (await zygote.run(reachable, "sync", *options, user=ALICE, **how)).code == 0
    shutil.rmtree(reachable.storage / "addons/core_1.0.0")
    closed = reachable.storage / "addons" / OURS / f"staging/core_1.0.0.{'0' * 32}"
    closed.mkdir(0o700)
    os.chown(closed, ALICE, ARTISTS)
    done = await zygote.run(reachable, "sync", *options, user=BOB, **how)
    assert done.code == 0, done.err
    assert leftovers(reachable.storage) == []


@as_root
@pytest.mark.parametrize("moment", ["write the part", "write a member", "flush the staged folder", "write the list"])
async def test_one_of_the_group_goes_on_where_another_died(zygote: Zygote, reachable: Machine, moment: str) -> None:
    for folder in (reachable.storage, *(reachable.storage / kind for kind in KINDS)):
        folder.mkdir()
        os.chown(folder, ALICE, ARTISTS)
        folder.chmod(0o2775)
    owner = f"store_owner = {ALICE}\n"
    (reachable.home / ".config/ayon-async").mkdir(parents=True)
    (reachable.home / ".config/ayon-async/config.toml").write_text(f"group_writable = true\n{owner}")
    how: dict[str, Any] = {"group": ARTISTS, "umask": 0o077}
    killed = await zygote.run(reachable, "sync", "--jobs", "1", kill=STEPS[moment], user=ALICE, **how)
    assert killed.code == -signal.SIGKILL, killed.err
    for user in (BOB, ALICE):
        done = await zygote.run(reachable, "sync", "--json", user=user, **how)
        assert (done.code, done.document["warnings"]) == (0, []), done.err
    assert leftovers(reachable.storage) == []
    assert (await zygote.run(reachable, "sync", user=BOB + 10, group=BOB)).code == 0, "it is for all to use"


# --- links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "planted",
    [
        "addons/.ayon-async",
        "addons/.ayon-async/parts",
        "addons/.ayon-async/staging",
        "addons/.ayon-async/locks",
        "addons/.ayon-async/store.json",
        "addons/.ayon-async/locks/core_1.0.0.lease",
        "addons/.ayon-async/parts/*.part",
    ],
)
async def test_planted_link_is_not_followed(zygote: Zygote, machine: Machine, tmp_path: Path, planted: str) -> None:
    """Nothing is written to, or taken from, where the link leads; the error names it."""
    if "*" in planted:
        step = STEPS["write the part"]
        assert (await zygote.run(machine, "sync", "--jobs", "1", kill=step)).code == -signal.SIGKILL
        [path] = machine.storage.glob(planted)
        path.unlink()
    else:
        path = machine.storage / planted
        path.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    if path.suffix:
        victim.write_text('{"format": 1}')
    else:
        victim.mkdir()
        (victim / "kept").write_text("kept")
    before = content(tmp_path / "victim") if victim.is_dir() else victim.read_bytes()
    path.symlink_to(victim)
    refused = await machine.call("sync", "--json")
    assert refused.code == 1
    assert (refused.states["core"], refused.states["tiny.zip"]) == ("failed", "installed")
    assert str(path) in refused.err
    assert "symbolic link, which is not followed there" in refused.err
    assert (content(tmp_path / "victim") if victim.is_dir() else victim.read_bytes()) == before
    path.unlink()
    assert (await machine.call("sync")).code == 0


async def test_link_in_place_of_an_item_is_replaced_and_not_followed(machine: Machine, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    (machine.storage / "addons").mkdir(parents=True)
    (machine.storage / "addons/core_1.0.0").symlink_to(victim)
    (machine.storage / "addons/addons.json").symlink_to(victim / "kept")
    assert (await machine.call("sync")).code == 0
    assert not (machine.storage / "addons/core_1.0.0").is_symlink()
    assert [path.name for path in victim.iterdir()] == ["kept"]
    assert (victim / "kept").read_text() == "kept"
    assert leftovers(machine.storage) == []


async def test_archive_is_unpacked_from_the_file_that_was_hashed(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever puts another archive in its place after the check has no part in what is installed."""
    evil = client_zip("core", "6.6.6")

    def exchanged(archive: Any, *arguments: Any, **more: Any) -> Any:
        for path in tmp_path.rglob("*.part"):
            path.unlink()
            path.write_bytes(evil)
        return unpack(archive, *arguments, **more)

    monkeypatch.setattr(unpacking, "unpack", exchanged)
    async with signed_in(server) as client:
        assert (await sync(client, Store.at(tmp_path))).ok
    assert (tmp_path / "addons/core_1.0.0/ayon_core/version.py").read_text() == '__version__ = "1.0.0"\n'


# --- folders that others can write ----------------------------------------------------------------------------------


def mend(refused: Ended) -> None:
    """Do what the hint says."""
    [line] = [line for line in refused.err.splitlines() if "Mend it with: " in line]
    command = line.partition("Mend it with: ")[2].partition(" - or")[0]
    subprocess.run(shlex.split(command.removeprefix("sudo ")), check=True)


@pytest.mark.parametrize("folder", ["", "addons", "dependency_packages", "addons/.ayon-async"])
@pytest.mark.parametrize("command", ["sync", "status"])
async def test_world_writable_store_is_refused(machine: Machine, folder: str, command: str) -> None:
    assert (await machine.call("sync")).code == 0
    (machine.storage / folder).chmod(0o777)
    refused = await machine.call(command, "--json")
    assert (refused.code, refused.document["error"]["type"]) == (1, "StoreError")
    assert f"{machine.storage / folder} can be written by every user of this machine" in refused.err
    assert (await machine.call(command, "--trust-store")).code == 0
    mend(refused)
    assert (await machine.call(command)).code == 0


async def test_link_to_a_world_writable_store_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").chmod(0o777)
    machine.storage.mkdir()
    (machine.storage / "addons").symlink_to(tmp_path / "elsewhere")
    refused = await machine.call("sync")
    assert refused.code == 1
    assert "can be written by every user" in refused.err
    mend(refused)
    assert (await machine.call("sync")).code == 0


async def test_new_store_in_a_world_writable_folder_is_refused_unless_that_is_sticky(machine: Machine) -> None:
    machine.storage.mkdir()
    machine.storage.chmod(0o777)
    refused = await machine.call("sync")
    assert refused.code == 1
    assert list(machine.storage.iterdir()) == []
    machine.storage.chmod(0o1777)  # as /tmp is: nobody can put another folder in the place of ours
    assert (await machine.call("sync")).code == 0
    machine.storage.chmod(0o777)
    mend(refused)
    assert stat.S_IMODE(machine.storage.stat().st_mode) == 0o775
    assert (await machine.call("sync")).code == 0


@as_root
@pytest.mark.parametrize("folder", ["", "addons"])
async def test_store_of_another_user_is_refused(machine: Machine, folder: str) -> None:
    assert (await machine.call("sync")).code == 0
    os.chown(machine.storage / folder, ALICE, ALICE)
    refused = await machine.call("sync")
    assert refused.code == 1
    assert f"belongs to another user (id {ALICE})" in refused.err
    assert (await machine.call("sync", "--trust-store")).code == 0
    mend(refused)
    assert (await machine.call("sync")).code == 0


@as_root
@pytest.mark.parametrize("owner", ["54321", '"54321"', '"nobody"', '"no such user"'])
async def test_store_of_the_configured_owner(machine: Machine, owner: str) -> None:
    """By number or by name."""
    import pwd

    assert (await machine.call("sync")).code == 0
    uid = pwd.getpwnam("nobody").pw_uid if "nobody" in owner else ALICE
    for kind in KINDS:
        os.chown(machine.storage / kind, uid, uid)
    settings = machine.home / ".config/ayon-async/config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"store_owner = {owner}\n")
    done = await machine.call("sync")
    if "such" in owner:
        assert done.code == 2
        assert "'no such user'" in done.err
    else:
        assert done.code == 0, done.err


@as_root
async def test_roots_store_is_used_by_everybody(zygote: Zygote, reachable: Machine) -> None:
    """And what is missing there is said, since only root may write it."""
    assert (await reachable.call("sync")).code == 0
    before = modes(reachable.storage)
    done = await zygote.run(reachable, "sync", "--json", user=ALICE, group=ALICE)
    assert (done.code, done.document["warnings"]) == (0, []), done.err
    shutil.rmtree(reachable.storage / "addons/core_1.0.0")
    missing = await zygote.run(reachable, "sync", "--json", user=ALICE, group=ALICE)
    assert (missing.code, missing.states) == (1, {"core": "failed", "tiny.zip": "up_to_date"})
    assert "Use an account that may write there" in missing.err
    assert {path: before[path] for path in modes(reachable.storage)} == modes(reachable.storage)


@as_root
async def test_an_item_that_a_user_may_not_look_into_is_damaged_and_no_more(zygote: Zygote, reachable: Machine) -> None:
    assert (await reachable.call("sync")).code == 0
    (reachable.storage / "addons/core_1.0.0").chmod(0o700)
    done = await zygote.run(reachable, "verify", "--json", user=ALICE, group=ALICE)
    assert (done.code, done.states) == (1, {"core": "damaged", "tiny.zip": "intact"}), done.err
    listed = await zygote.run(reachable, "prune", user=ALICE, group=ALICE)
    assert "can't be written" not in listed.err


@as_root
async def test_a_store_that_a_user_may_not_look_into_is_told_so(zygote: Zygote, reachable: Machine) -> None:
    assert (await reachable.call("sync")).code == 0
    (reachable.storage / "addons").chmod(0o700)
    done = await zygote.run(reachable, "verify", "--json", user=ALICE, group=ALICE)
    assert done.code == 1
    assert f"The store can't be read: {reachable.storage / 'addons'}" in done.err
