"""Whatever is wrong with the server, an archive or the disk: a clear message, the right exit code, the store as before.

Each machine has the production bundle already; staging needs one more addon, core 1.1.0, and that goes wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayon_async.credentials import Credentials
from ayon_async.devserver import AddonVersion, DevServer, Package, addon, client_zip, package, tiny_studio
from ayon_async.devserver.faults import Body, Chunked, Corrupt, Fault, Shortened, Silence, Status, TooLong, Truncated
from ayon_async.paths import platform_folders
from cli_machine import Ended, Machine

CORE = "/addons/core/1.1.0/private/client.zip"


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio()) as server:
        yield server


@pytest.fixture
async def machine(tmp_path: Path, server: DevServer) -> Machine:
    # No waiting between tries: what can't get better is the point here.
    machine = Machine(tmp_path, server.url, AYON_SERVER_RETRIES="1")
    assert (await machine.call("sync")).code == 0
    return machine


async def goes_wrong(machine: Machine, *options: str) -> Ended:
    """Sync the staging bundle; however that ends, nothing of what was in the store has changed, and nothing is half."""
    before = machine.store
    left = await machine.call("sync", "--json", "--use-staging", *options)
    assert machine.store == before
    assert not [*machine.storage.glob("*/.ayon-async/staging/*")]
    assert "Traceback" not in left.err
    return left


async def fails(machine: Machine, kind: str, *options: str) -> str:
    """Core 1.1.0 fails with this type of error and nothing else does; returns the message."""
    left = await goes_wrong(machine, *options)
    assert (left.code, left.document["error"]) == (1, None)
    assert list(left.states.values()) == ["failed", "up_to_date", "up_to_date", "up_to_date"]
    error = left.document["items"][0]["error"]
    assert error["type"] == kind
    assert error["hint"]
    said = error["message"].removeprefix("core 1.1.0: ")
    assert f"Failed: core 1.1.0: {said}\n  {error['hint']}\n" in left.err
    return str(error["message"])


async def ends(machine: Machine, code: int, kind: str, *options: str) -> str:
    """The run ends with this error, told last on both streams; returns the message."""
    left = await goes_wrong(machine, *options)
    error = left.document["error"]
    assert (left.code, error["type"]) == (code, kind)
    assert error["hint"]
    assert left.err.endswith(f"Error: {error['message']}\n  {error['hint']}\n")
    return str(error["message"])


# --- the server -----------------------------------------------------------------------------------------------------


async def test_unreachable_host(machine: Machine) -> None:
    message = await ends(machine, 3, "ServerUnreachable", "--server", "http://ayon.invalid:5000")
    assert "The host of http://ayon.invalid:5000/api/bundles was not found" in message


async def test_wrong_port(machine: Machine, server: DevServer) -> None:
    await server.stop()
    assert f"No connection to {server.url}/api/bundles" in await ends(machine, 3, "ServerUnreachable")


async def test_port_of_something_else(machine: Machine) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        url = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}"
        message = await ends(machine, 3, "ServerUnreachable", "--server", url)
    assert f"What answers at {url}/api/bundles does not speak HTTP" in message


async def test_server_that_says_nothing(machine: Machine, server: DevServer) -> None:
    machine.env["AYON_SERVER_TIMEOUT"] = "0.2"
    server.faults.add("/api/bundles", Silence(-1))
    assert f"No answer from {server.url}/api/bundles in time" in await ends(machine, 3, "ServerUnreachable")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Body(), "with a web page: this is not an AYON server"),
        (Body(b"<h1>Not found</h1>", status=404), "answered 404 with a web page"),
        (Body(b'{"bundles": [', "application/json"), "is not valid JSON"),
        (Body(b'{"name": "Grafana"}', "application/json"), "`bundles`"),
        (Body(b'{"bundles": [{"name": 7}]}', "application/json"), "$.bundles[0].name"),
        (Status(500, "Internal error"), "answered 500: Internal error"),
    ],
)
async def test_not_an_ayon_server(machine: Machine, server: DevServer, answer: Fault, words: str) -> None:
    server.faults.add("/api/bundles", answer)
    message = await ends(machine, 3, "InvalidAnswer")
    assert words in message
    assert f"{server.url}/api/bundles" in message


async def test_expired_token(machine: Machine, server: DevServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in machine.env.items():
            patch.setenv(name, value)
        kept = Credentials(platform_folders().config)
        kept.save(server.url, "expired-token")
    del machine.env["AYON_API_KEY"]
    left = await goes_wrong(machine)
    assert (left.code, left.document["error"]["type"]) == (4, "NotSignedIn")
    assert f"{server.url} does not accept the key or token" in left.err
    assert "ayon-async login" in left.err
    assert "expired-token" not in left.out + left.err


async def test_nobody_is_signed_in(machine: Machine, server: DevServer) -> None:
    del machine.env["AYON_API_KEY"]
    assert f"{server.url} wants to know who you are" in await ends(machine, 4, "NotSignedIn")


# --- the bundle -----------------------------------------------------------------------------------------------------


async def test_empty_bundle(machine: Machine, server: DevServer) -> None:
    bundles = [replace(b, addons={}, dependency_packages={}) if b.is_staging else b for b in server.studio.bundles]
    server.studio = replace(server.studio, bundles=tuple(bundles))
    assert "The bundle 'staging' is empty" in await ends(machine, 5, "BundleError")


async def test_no_such_bundle(machine: Machine, server: DevServer) -> None:
    bundles = [replace(bundle, is_staging=False) for bundle in server.studio.bundles]
    server.studio = replace(server.studio, bundles=tuple(bundles))
    message = await ends(machine, 5, "BundleError")
    assert "no bundle set as staging" in message
    assert "prod (production)" in message


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "The server does not have the addon core 1.1.0; it has 1.0.0."),
        (
            AddonVersion(is_broken=True, reason={"error": "no __init__"}),
            "core 1.1.0 is broken on the server: no __init__",
        ),
        (addon(b"", sources=()), "core 1.1.0: the server names no source"),
        (addon(b"", sources=({"type": "torrent"},)), "core 1.1.0: the server names no source"),
        (
            addon(b"", checksum="beef", checksum_algorithm="sha256"),
            "core 1.1.0: the server's checksum 'beef' is no sha256",
        ),
    ],
)
async def test_addon_that_the_server_does_not_really_have(
    machine: Machine, server: DevServer, version: AddonVersion | None, words: str
) -> None:
    addons = {**server.studio.addons, ("core", "1.1.0"): version}
    server.studio = replace(server.studio, addons={key: entry for key, entry in addons.items() if entry is not None})
    assert words in await fails(machine, "InvalidItem")


@pytest.mark.parametrize("name", ["../core", "/core", r"..\core", "C:core", "", ".", "core\0", "core\n", "a" * 300])
async def test_hostile_name_of_an_addon(machine: Machine, server: DevServer, name: str) -> None:
    bundles = [replace(b, addons={**b.addons, name: "1.0.0", "core": "1.0.0"}) for b in server.studio.bundles]
    addons = {**server.studio.addons, (name, "1.0.0"): addon(client_zip("evil", "1.0.0"))}
    server.studio = replace(server.studio, bundles=tuple(bundles), addons=addons)
    server.forget_requests()
    left = await goes_wrong(machine)
    assert all(request.path.startswith("/api/") for request in server.requests), "nothing of it was fetched"
    [failed] = [item for item in left.document["items"] if item["state"] == "failed"]
    assert (left.code, failed["name"], failed["error"]["type"]) == (1, name, "InvalidItem")
    assert "can't be a folder's name" in failed["error"]["message"]


@pytest.mark.parametrize("package", ["../../x.zip", "nul.zip", "addons.json", ".ayon-async", "x.zip "])
async def test_hostile_version_and_package(machine: Machine, server: DevServer, package: str) -> None:
    addons = {"core": "1.0/../../x", "maya": "1.0."}
    bundles = [replace(b, addons=addons, dependency_packages={"linux": package}) for b in server.studio.bundles]
    server.studio = replace(server.studio, bundles=tuple(bundles))
    left = await goes_wrong(machine, "--platform", "linux")
    assert (left.code, set(left.states.values())) == (1, {"failed"})
    assert {item["error"]["type"] for item in left.document["items"]} == {"InvalidItem"}


async def test_two_items_with_one_folder(machine: Machine, server: DevServer) -> None:
    bundles = [replace(b, addons={"a_1": "2", "a": "1_2", "maya": "1.0.0"}) for b in server.studio.bundles]
    server.studio = replace(server.studio, bundles=tuple(bundles))
    left = await goes_wrong(machine)
    assert left.states == {"a": "failed", "a_1": "failed", "maya": "up_to_date", "ayon_tiny_linux.zip": "up_to_date"}
    assert "a_1 2: another addon of this bundle has the same folder, a_1_2." in left.err


# --- the archive ----------------------------------------------------------------------------------------------------


async def test_missing_archive(machine: Machine, server: DevServer) -> None:
    server.faults.add(CORE, Status(404, "File not found"), probes=True)
    message = await fails(machine, "SourceUnavailable")
    assert server.url + CORE in message
    assert "404" in message


def attest(server: DevServer, **attributes: Any) -> None:
    """Let the server give the checksum of core 1.1.0."""
    right = server.studio.addons["core", "1.1.0"]
    digest = hashlib.sha256(client_zip("core", "1.1.0")).hexdigest()
    attested = replace(right, checksum=digest, checksum_algorithm="sha256", **attributes)
    server.studio = replace(server.studio, addons={**server.studio.addons, ("core", "1.1.0"): attested})


async def test_wrong_checksum(machine: Machine, server: DevServer) -> None:
    attest(server)
    server.faults.add(CORE, Corrupt())
    message = await fails(machine, "ChecksumMismatch")
    assert hashlib.sha256(client_zip("core", "1.1.0")).hexdigest() in message, "what it should have"
    parts = machine.storage.glob("*/.ayon-async/parts/*.part")
    assert not any(part.stat().st_size for part in parts), "wrong bytes are worth nothing"


async def test_wrong_bytes_without_a_checksum(machine: Machine, server: DevServer) -> None:
    server.faults.add(CORE, Corrupt())
    assert "CRC" in await fails(machine, "CrcMismatch")


async def test_truncated_archive(machine: Machine, server: DevServer) -> None:
    server.faults.add(CORE, Truncated(5000))
    assert server.url + CORE in await fails(machine, "Truncated")


async def test_archive_whose_end_is_missing(machine: Machine, server: DevServer) -> None:
    """Each answer is whole in itself, and shorter than the archive."""
    server.faults.add(CORE, Shortened(5000))
    assert server.url + CORE in await fails(machine, "Truncated")


async def test_archive_that_was_uploaded_without_its_end(machine: Machine, server: DevServer) -> None:
    broken = addon(client_zip("core", "1.1.0")[:-5000])
    server.studio = replace(server.studio, addons={**server.studio.addons, ("core", "1.1.0"): broken})
    assert "core 1.1.0" in await fails(machine, "TruncatedArchive")


async def test_archive_that_goes_on(machine: Machine, server: DevServer) -> None:
    server.faults.add(CORE, TooLong(1000))
    assert server.url + CORE in await fails(machine, "TooLong")


@pytest.mark.parametrize("content", [b"<!doctype html><title>Sign in</title>", b"just text", b"\0" * 500, b""])
async def test_not_an_archive(machine: Machine, server: DevServer, content: bytes) -> None:
    server.faults.add(CORE, Body(content, "application/octet-stream"), probes=True)
    assert "core 1.1.0" in await fails(machine, "NotAnArchive")


@pytest.mark.parametrize("start", [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\0", b"\x28\xb5\x2f\xfd"])
async def test_unknown_kind_of_archive(machine: Machine, server: DevServer, start: bytes) -> None:
    server.faults.add(CORE, Body(start + b"\0" * 500, "application/octet-stream"), probes=True)
    assert "core 1.1.0" in await fails(machine, "UnsupportedArchive")


async def test_dependency_package_goes_wrong_the_same_way(machine: Machine, server: DevServer) -> None:
    packages = {one.filename: one for one in server.studio.packages}
    wrong = package("ayon_new.zip", b"no archive", "linux")
    bundles = [replace(b, dependency_packages={"linux": "ayon_new.zip"}) for b in server.studio.bundles]
    everything: tuple[Package, ...] = (*packages.values(), wrong)
    server.studio = replace(server.studio, packages=everything, bundles=tuple(bundles))
    before = machine.store
    left = await machine.call("sync", "--json", "--platform", "linux")
    assert (left.code, left.states["ayon_new.zip"]) == (1, "failed")
    assert left.document["items"][-1]["error"]["type"] == "NotAnArchive"
    assert machine.store == before


# --- the disk -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size in the folder, where this user may mount one; skips the test elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux mounts a small file system")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("size_is_known", [True, False])
async def test_full_disk(tmp_path: Path, server: DevServer, size_is_known: bool) -> None:
    """Where the sizes are known nothing is begun; where they are not, the archive that does not fit fails."""
    big = addon(client_zip("core", "1.1.0", 3_000_000))
    server.studio = replace(server.studio, addons={**server.studio.addons, ("core", "1.1.0"): big})
    machine = Machine(tmp_path, server.url, AYON_SERVER_RETRIES="1")
    with mounted(machine.storage, "2m"):
        assert (await machine.call("sync")).code == 0
        if not size_is_known:
            server.faults.add(CORE, Chunked(), probes=True)
            server.faults.add(CORE, Status(404), probes=True, attempts=1)
        message = await fails(machine, "StoreFull")
        assert str(machine.storage) in message
        assert server.bytes_sent(CORE) < 10 if size_is_known else server.bytes_sent(CORE) > 1_000_000
        remount(machine.storage, "size=20m")
        assert (await machine.call("sync", "--use-staging")).code == 0


async def test_read_only_store(machine: Machine, server: DevServer) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows' rights can't be taken away by mode bits")
    if os.geteuid() != 0:
        for folder in (machine.storage / "addons", *machine.storage.glob("addons/.ayon-async/*/")):
            folder.chmod(0o555)
        assert str(machine.storage) in await fails(machine, "StoreError")
        return
    content = machine.store
    with mounted(machine.storage, "5m"):
        assert (await machine.call("sync")).code == 0
        assert machine.store.keys() == content.keys()
        remount(machine.storage, "ro")
        assert (await machine.call("sync")).code == 0, "what is complete needs no writing"
        message = await fails(machine, "StoreError")
        assert str(machine.storage) in message
        assert "Read-only file system" in message


async def test_storage_path_that_is_a_file(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    for path in (file, file / "below"):
        left = await goes_wrong(machine, "--storage-dir", str(path))
        assert left.code == 1
        assert str(file) in left.err
        assert "--storage-dir" in left.err
    assert file.read_text() == "precious"


async def test_folder_of_the_store_that_is_a_file(tmp_path: Path, server: DevServer) -> None:
    machine = Machine(tmp_path, server.url)
    machine.storage.mkdir()
    (machine.storage / "addons").write_text("precious")
    message = await ends(machine, 1, "StoreError")
    assert message == f"The store's folder {machine.storage / 'addons'} is a file."
    assert machine.store == {"addons": b"precious"}
