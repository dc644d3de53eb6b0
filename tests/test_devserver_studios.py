"""The studios that come with the embedded server: the sample, recorded answers, and the command that serves them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from aiohttp import ClientSession
from filelock import FileLock

from ayon_async.devserver import DevServer, Studio, recorded_studio, sample_studio, tiny_studio
from ayon_async.devserver.trees import next_release, write_zip


@pytest.fixture(scope="module")
def sample_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return folder / "sample"


@pytest.fixture(scope="module")
def sample(sample_cache: Path) -> Studio:
    with FileLock(sample_cache.parent / "sample.lock"):  # parallel workers make it once
        return sample_studio(sample_cache)


def archive(studio: Studio, name: str, version: str) -> zipfile.ZipFile:
    content = studio.addons[name, version].files["client.zip"]
    assert isinstance(content, Path)
    return zipfile.ZipFile(content)


def contents(archive: zipfile.ZipFile) -> dict[str, int]:
    return {member.filename: member.CRC for member in archive.infolist()}


def test_the_sample_has_twenty_addons_in_two_versions(sample: Studio) -> None:
    production, staging = sample.production(), sample.staging()
    assert production is not None
    assert staging is not None
    with_client = {name for (name, _), version in sample.addons.items() if version.sources is not None}
    assert len(with_client) >= 20
    assert all(sum(name == other for other, _ in sample.addons) == 2 for name in with_client)
    assert {name for name, _ in sample.addons} - with_client == {"slack"}
    assert set(production.addons) == set(staging.addons) == {name for name, _ in sample.addons}
    changed = [name for name in with_client if production.addons[name] != staging.addons[name]]
    assert len(with_client) / 2 < len(changed) < len(with_client)
    for bundle in (production, staging):
        assert all((name, version) in sample.addons for name, version in bundle.addons.items())


def test_the_next_version_is_really_another(sample: Studio) -> None:
    old, new = contents(archive(sample, "maya", "0.6.4")), contents(archive(sample, "maya", "0.6.5"))
    changed = [name for name in old if name in new and old[name] != new[name]]
    assert changed
    assert set(old) - set(new)
    assert set(new) - set(old)
    assert len(changed) < len(old) / 5


def test_the_sample_has_executables(sample: Studio) -> None:
    member = archive(sample, "maya", "0.6.4").getinfo("ayon_maya/bin/launch.sh")
    assert stat.S_IMODE(member.external_attr >> 16) == 0o755


def test_the_packages_are_large_and_attested(sample: Studio) -> None:
    production, staging = sample.production(), sample.staging()
    assert production is not None
    assert staging is not None
    by_name = {package.filename: package for package in sample.packages}
    packages = [by_name[str(bundle.dependency_packages["linux"])] for bundle in (production, staging)]
    for package in packages:
        assert isinstance(package.content, Path)
        data = package.content.read_bytes()
        assert len(data) == package.info["size"] > 10_000_000
        assert hashlib.sha256(data).hexdigest() == package.info["checksum"]
        names = zipfile.ZipFile(package.content).namelist()
        assert len(names) > 1000
        assert {name.split("/")[0] for name in names} == {"dependencies", "runtime"}
    assert packages[0].info["checksum"] != packages[1].info["checksum"]
    assert set(by_name) == {
        f"{stem}_{platform}.zip"
        for stem in ("ayon_2607010900", "ayon_2608150900")
        for platform in ("windows", "linux", "darwin")
    }


def test_the_sample_is_made_once(sample: Studio, sample_cache: Path) -> None:
    [folder] = sample_cache.iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert sample_studio(sample_cache) == sample
    assert [path.name for path in sample_cache.iterdir()] == [folder.name]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_archives_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    members = {f"a/{number}.py": b"x = 1\n" * number for number in range(300)}
    write_zip(tmp_path / "one.zip", members)
    write_zip(tmp_path / "two.zip", dict(reversed(members.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    released = next_release(members)
    assert set(released) < set(members)
    assert any(released[name] != members[name] for name in released)


async def test_recorded_answers_are_given_again(tmp_path: Path) -> None:
    paths = {
        "addons_details.json": "/api/addons?details=1",
        "bundles.json": "/api/bundles",
        "dependency_packages.json": "/api/desktop/dependencyPackages",
        "installers.json": "/api/desktop/installers",
    }
    answers = {}
    async with (
        DevServer(tiny_studio()) as server,
        ClientSession(server.url, headers={"X-Api-Key": "admin-key"}) as client,
    ):
        for file, path in paths.items():
            async with client.get(path) as response:
                answers[file] = await response.json()
                (tmp_path / file).write_bytes(await response.read())
    studio = recorded_studio(tmp_path, {"ayon_tiny_linux.zip": b"given"})
    async with DevServer(studio) as server, ClientSession(server.url, headers={"X-Api-Key": "artist-key"}) as client:
        for file in ("addons_details.json", "bundles.json", "installers.json"):
            async with client.get(paths[file]) as response:
                assert await response.json() == answers[file]
        async with client.get(paths["dependency_packages.json"]) as response:
            listed = {package["filename"]: package for package in (await response.json())["packages"]}
        for filename, package in listed.items():
            async with client.get(f"/api/desktop/dependencyPackages/{filename}") as response:
                data = await response.read()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (package["size"], package["checksum"])
        async with client.get("/addons/maya/1.0.0/private/client.zip") as response:
            assert (await response.read()).startswith(b"PK")
        async with client.get("/api/projects/demo") as response:
            assert (await response.json())["data"] == {"bundle": {"production": "__project__demo__production"}}


def test_the_command_serves_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "ayon_async.devserver", "--studio", "tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("AYON_SERVER_URL=")
        key = process.stdout.readline().strip().rpartition("AYON_API_KEY=")[2]
        request = urllib.request.Request(f"{url}/api/bundles", headers={"X-Api-Key": key})
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["productionBundle"] == "prod"
        if sys.platform == "win32":
            process.terminate()
        else:
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 0


def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "ayon_async.devserver", "--studio", "tiny", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"on port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr
