"""Where an archive may be had and what attests it: what a server may say of that, through a whole run."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ayon_async.devserver import DevServer, Studio, addon
from ayon_async.devserver.faults import Body, Drop, Redirect, Status
from ayon_async.errors import AccessDenied, ChecksumMismatch, InvalidItem
from ayon_async.settings import this_platform
from studios import (
    RIGHT,
    everything,
    item_of,
    leftovers,
    names_in,
    platform_package,
    small,
    states,
    studio,
    synced,
    why,
)

MAYA = "maya 1.0.0"
WRONG = RIGHT.replace(b"ayon_maya", b"ayon_nuke")
assert len(WRONG) == len(RIGHT)
SERVER = {"type": "server", "filename": "client.zip"}
ALGORITHMS = ("md5", "sha1", "sha256")


def digest(algorithm: str, data: bytes = RIGHT) -> str:
    return hashlib.new(algorithm, data).hexdigest()


@pytest.fixture
async def mirror() -> AsyncIterator[DevServer]:
    """Another web server, which has the archive for everybody and a wrong one."""
    async with DevServer(Studio(files={"/static/maya.zip": RIGHT, "/static/wrong.zip": WRONG})) as running:
        yield running


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A folder that holds the archive, as a studio's file server does."""
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "maya.zip").write_bytes(RIGHT)
    return folder


def maya(*sources: Any, **extra: Any) -> Studio:
    """A studio of one addon from these sources, and one that is always fine."""
    return studio({MAYA: addon(RIGHT, sources=sources, extra=extra), **small("core 1.0.0")})


def http(mirror: DevServer, path: str = "/static/maya.zip", **more: Any) -> dict[str, Any]:
    return {"type": "http", "url": mirror.url + path, **more}


def filesystem(path: Path, platform: str = this_platform(), **more: Any) -> dict[str, Any]:
    return {"type": "filesystem", "path": {platform: str(path)}, **more}


async def only_maya_fails(house: Studio, folder: Path) -> str:
    """Why it fails; the other addon has to be there all the same."""
    async with DevServer(house) as dev:
        report = await synced(dev, folder / "store")
    assert states(report) == {MAYA: "failed", "core 1.0.0": "installed"}, report
    assert (report.exit_code, report.error) == (1, None)
    assert names_in(folder / "store" / "addons") == {".ayon-async", "addons.json", "core_1.0.0"}
    assert leftovers(folder / "store") == []
    return why(report, MAYA)


# --- sources ----------------------------------------------------------------------------------------------------------


async def test_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    odd: tuple[dict[str, Any], ...] = (
        {"type": "torrent", "magnet": "x"},
        {"url": "x"},
        {"type": ["http"]},
        {"type": None},
        {},
    )
    async with DevServer(maya(*odd, {**SERVER, "colour": "blue"}, size=None, aFutureField={"x": 1})) as dev:
        report = await synced(dev, tmp_path)
        assert states(report)[MAYA] == "installed"
        assert item_of(report, MAYA).source == f"{dev.url}/addons/maya/1.0.0/private/client.zip"


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([], "names no source that this version of ayon-async can use"),
        ([{"type": "torrent"}], "names no source that this version of ayon-async can use"),
        ([{"type": "filesystem", "path": {"beos": "/x"}}], "names no source that this version of ayon-async can use"),
        ([{"type": "filesystem", "path": {this_platform(): None}}], "names no source"),
        ([{"type": "filesystem", "path": {this_platform(): "/a\0b"}}], "names no source"),
        ([{"type": "server"}], "names neither a file nor a path"),
        ([{"type": "http", "url": 5}], "/api/addons can't be used: Expected `str`, got `int` - at `$.url`"),
        ([{"type": "x"}, {"type": "http"}], "Source 2 of maya 1.0.0 in http://127.0.0.1"),
        ([{"type": "http"}], "can't be used: Object missing required field `url`"),
        ([{"type": "http", "url": "http://x", "headers": {"a": 1}}], "at `$.headers[...]`"),
        ([{"type": "filesystem", "path": "/x.zip"}], "Expected `object`, got `str` - at `$.path`"),
    ],
)
async def test_sources_that_can_not_be_used(tmp_path: Path, sources: list[Any], words: str) -> None:
    assert words in await only_maya_fails(maya(*sources), tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "client.zip",
        "http://",
        "http://[broken/x.zip",
        "http://127.0.0.1:99999/x.zip",
        "http://127.0.0.1:port/x.zip",
        "ftp://127.0.0.1/x.zip",
        "file:///etc/passwd",
    ],
)
async def test_an_address_that_is_none_fails_its_item_alone(tmp_path: Path, url: str) -> None:
    words = await only_maya_fails(maya({"type": "http", "url": url}), tmp_path)
    assert "no usable address" in words or "can't be asked" in words


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/static/odd näme.zip", "/static/odd%20n%C3%A4me.zip"),
        ("/static/a%2Fb?sig=%2f%3D+~'()", "/static/a%2Fb?sig=%2f%3D+~'()"),  # signed, perhaps: not a letter is changed
        ("/static/a\r\nX-Evil: b", "/static/aX-Evil:%20b"),
    ],
)
async def test_an_address_is_asked_for_as_it_stands_or_quoted(
    tmp_path: Path, mirror: DevServer, path: str, sent: str
) -> None:
    mirror.faults.add("*", Body(RIGHT, "application/zip"), probes=True)
    async with DevServer(maya(http(mirror, path))) as dev:
        assert states(await synced(dev, tmp_path))[MAYA] == "installed"
    assert {record.path_qs for record in mirror.requests} == {sent}
    assert not [record for record in mirror.requests if "X-Evil" in record.headers]


@pytest.mark.parametrize("headers", [{"X-Evil": "a\r\nX-Api-Key: b"}, {"X-Evil": "a\0"}, {"a b": "c"}, {"": "c"}])
async def test_headers_that_are_none_fail_their_item_alone(
    tmp_path: Path, mirror: DevServer, headers: dict[str, str]
) -> None:
    words = await only_maya_fails(maya(http(mirror, headers=headers)), tmp_path)
    assert mirror.url in words
    assert mirror.requests == []


async def test_a_path_on_the_server_itself(tmp_path: Path) -> None:
    house = studio(
        {MAYA: addon(None, sources=({"type": "server", "path": "/storage/odd name#1.zip", "filename": "x.zip"},))},
        files={"/storage/odd name#1.zip": RIGHT},
    )
    async with DevServer(house) as dev:
        assert states(await synced(dev, tmp_path)) == {MAYA: "installed"}
        asked = dev.requests_to("/storage/*")
        assert asked
        assert all(record.headers["X-Api-Key"] for record in asked)


async def test_an_http_source_gets_its_own_headers_and_nothing_of_ours(tmp_path: Path, mirror: DevServer) -> None:
    async with DevServer(maya(http(mirror, headers={"X-Token": "theirs"}))) as dev:
        report = await synced(dev, tmp_path)
        assert item_of(report, MAYA).source == mirror.url + "/static/maya.zip"
        assert not dev.requests_to("/addons/maya/*")
    assert mirror.requests
    for record in mirror.requests:
        assert record.headers["X-Token"] == "theirs"
        assert record.headers["Accept-Encoding"] == "identity"
        names = {name.lower() for name in record.headers}
        assert not names & {"x-api-key", "authorization", "cookie", "referer"}
        assert not [name for name in names if name.startswith("x-ayon")]


async def test_headers_of_a_source_do_not_follow_a_redirect_to_another_origin(
    tmp_path: Path, mirror: DevServer
) -> None:
    async with (
        DevServer(maya(http(mirror, headers={"X-Token": "theirs", "Authorization": "Basic eDp5"}))) as dev,
        DevServer(Studio(files={"/static/maya.zip": RIGHT})) as third,
    ):
        mirror.faults.add("*", Redirect(f"{third.url}/static/maya.zip"), probes=True)
        assert states(await synced(dev, tmp_path))[MAYA] == "installed"
        assert third.requests
        for record in third.requests:
            assert not {"x-token", "authorization", "x-api-key"} & {name.lower() for name in record.headers}


async def test_our_credentials_do_not_follow_a_redirect_of_an_archive(tmp_path: Path, mirror: DevServer) -> None:
    async with DevServer(maya(SERVER)) as dev:
        dev.faults.add("/addons/maya/*", Redirect(f"{mirror.url}/static/maya.zip"), probes=True)
        assert states(await synced(dev, tmp_path))[MAYA] == "installed"
    assert mirror.requests
    for record in mirror.requests:
        assert not {"x-api-key", "authorization"} & {name.lower() for name in record.headers}
        assert not [name for name in record.headers if name.lower().startswith("x-ayon")]


async def test_sources_are_tried_in_their_order(tmp_path: Path, mirror: DevServer, share: Path) -> None:
    first = (filesystem(share / "maya.zip"), http(mirror), SERVER)
    async with DevServer(maya(*first)) as dev:
        report = await synced(dev, tmp_path / "one")
        assert item_of(report, MAYA).source == str(share / "maya.zip")
        assert mirror.requests == []
        assert not dev.requests_to("/addons/maya/*")
        (share / "maya.zip").unlink()
        assert item_of(await synced(dev, tmp_path / "two"), MAYA).source == mirror.url + "/static/maya.zip"
        mirror.faults.add("*", Status(404))
        report = await synced(dev, tmp_path / "three")
        assert item_of(report, MAYA).source == f"{dev.url}/addons/maya/1.0.0/private/client.zip"
        assert report.ok


async def test_each_failure_is_recorded(tmp_path: Path, mirror: DevServer) -> None:
    async with DevServer(
        maya(filesystem(tmp_path / "gone.zip"), http(mirror, "/static/gone.zip"), SERVER, http(mirror))
    ) as dev:
        dev.faults.add("/addons/maya/*", Status(404, "File not found"))
        mirror.faults.add("/static/maya.zip", Drop(-1))
        report = await synced(dev, tmp_path / "store")
        assert states(report) == {MAYA: "failed", "core 1.0.0": "installed"}
        words = why(report, MAYA)
        places = (
            tmp_path / "gone.zip",
            f"{mirror.url}/static/gone.zip",
            f"{dev.url}/addons",
            f"{mirror.url}/static/maya",
        )
        positions = [words.index(str(place)) for place in places]
        assert positions == sorted(positions)
        assert "None of the 4 sources" in words


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_refused_elsewhere_is_not_refused_by_the_ayon_server(
    tmp_path: Path, mirror: DevServer, status: int
) -> None:
    mirror.faults.add("*", Status(status), probes=True)
    words = await only_maya_fails(maya(http(mirror)), tmp_path)
    assert mirror.url in words
    async with DevServer(maya(http(mirror), SERVER)) as dev:
        report = await synced(dev, tmp_path / "other")
        assert report.ok
        assert item_of(report, MAYA).source == f"{dev.url}/addons/maya/1.0.0/private/client.zip"


@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_refused_by_the_ayon_server_in_mid_run_keeps_what_is_done(tmp_path: Path, status: int) -> None:
    async with DevServer(maya(SERVER)) as dev:
        dev.faults.add("/addons/maya/*", Status(status, "No"), probes=True)
        report = await synced(dev, tmp_path)
        assert states(report) == {MAYA: "failed", "core 1.0.0": "installed"}
        assert isinstance(report.error, AccessDenied)
        assert report.exit_code == 4


async def test_a_web_page_is_no_archive(tmp_path: Path) -> None:
    house = maya(SERVER)
    async with DevServer(house) as dev:
        dev.faults.add("/addons/maya/*", Body(), probes=True)
        report = await synced(dev, tmp_path)
        assert "web page" in why(report, MAYA)
        assert states(report)["core 1.0.0"] == "installed"


async def test_secrets_in_addresses_are_kept_nowhere(tmp_path: Path, mirror: DevServer) -> None:
    async with DevServer(maya(http(mirror, "/static/maya.zip?token=s3cret"))) as dev:
        report = await synced(dev, tmp_path)
        assert states(report)[MAYA] == "installed"
        assert "s3cret" not in str(report.to_dict())
        assert [record.path_qs for record in mirror.requests][-1].endswith("token=s3cret")
    left = everything(tmp_path)
    assert len(left) > 5
    assert not [path for path, (_, _, content) in left.items() if b"s3cret" in content]


# --- checksums --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["checksum", "hash"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("place", ["version", "source"])
async def test_a_checksum_is_checked(tmp_path: Path, key: str, algorithm: str, place: str) -> None:
    for data, right in ((RIGHT, True), (WRONG, False)):
        attested = {key: digest(algorithm, data).upper(), "checksumAlgorithm": algorithm}
        source, version = (SERVER, attested) if place == "version" else ({**SERVER, **attested}, {})
        async with DevServer(maya(source, **version)) as dev:
            report = await synced(dev, tmp_path / str(right))
            item = item_of(report, MAYA)
            if right:
                assert item.verified_by == ("checksum", "archive")
                assert (item.checksum, item.checksum_algorithm) == (digest(algorithm), algorithm)
            else:
                assert isinstance(item.error, ChecksumMismatch)
                assert digest(algorithm, RIGHT) in item.error.message
                assert digest(algorithm, WRONG) in item.error.message
                assert states(report)["core 1.0.0"] == "installed"
                assert leftovers(tmp_path / str(right)) == []


@pytest.mark.parametrize(
    ("attested", "checked"),
    [
        ({"checksum": digest("sha256")}, "sha256"),  # the default
        ({"checksum": digest("sha256"), "checksumAlgorithm": None}, "sha256"),
        ({"checksum": digest("sha256"), "checksumAlgorithm": "SHA-256"}, "sha256"),
        ({"checksum": digest("md5"), "checksumAlgorithm": "MD5", "hash": "0" * 64}, "md5"),  # checksum, else hash
        ({"checksum": None, "hash": None, "checksumAlgorithm": "md5"}, None),
        ({"checksum": "", "checksumAlgorithm": "md5"}, None),
    ],
)
async def test_how_a_checksum_may_be_given(tmp_path: Path, attested: dict[str, Any], checked: str | None) -> None:
    async with DevServer(maya(SERVER, **attested)) as dev:
        item = item_of(await synced(dev, tmp_path), MAYA)
        assert item.state == "installed", item
        assert item.checksum == digest(checked or "sha256")
        assert item.checksum_algorithm == (checked or "sha256")
        assert item.verified_by == (("checksum", "archive") if checked else ("archive",))


@pytest.mark.parametrize(
    "attested",
    [
        {"checksum": digest("md5")},  # is no sha256
        {"checksum": "x" * 64},
        {"checksum": digest("sha256"), "checksumAlgorithm": "md5"},
        {"checksum": "0123456789abcdef", "checksumAlgorithm": "crc64"},
        {"checksum": digest("sha256")[:-1]},
    ],
)
async def test_a_checksum_that_can_not_be_checked_is_an_error(tmp_path: Path, attested: dict[str, Any]) -> None:
    async with DevServer(maya(SERVER, **attested)) as dev:
        report = await synced(dev, tmp_path)
        assert isinstance(item_of(report, MAYA).error, InvalidItem)
        assert "can be checked" in why(report, MAYA)
        assert not dev.requests_to("/addons/maya/*")


async def test_a_sources_checksum_overrides_the_versions(tmp_path: Path) -> None:
    source = {**SERVER, "checksum": digest("sha1"), "checksumAlgorithm": "sha1"}
    async with DevServer(maya(source, checksum="0" * 64)) as dev:
        item = item_of(await synced(dev, tmp_path), MAYA)
        assert (item.state, item.checksum, item.checksum_algorithm) == ("installed", digest("sha1"), "sha1")


async def test_a_source_with_wrong_bytes_gives_way_to_the_next(tmp_path: Path, mirror: DevServer) -> None:
    house = maya(http(mirror, "/static/wrong.zip"), SERVER, checksum=digest("sha256"))
    async with DevServer(house) as dev:
        item = item_of(await synced(dev, tmp_path), MAYA)
        assert (item.state, item.verified_by) == ("installed", ("checksum", "archive"))
        assert item.source == f"{dev.url}/addons/maya/1.0.0/private/client.zip"


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, None])
async def test_a_dependency_packages_checksum_is_checked(tmp_path: Path, algorithm: str | None) -> None:
    for data in (RIGHT, WRONG):
        given = {"checksum": digest(algorithm or "sha256", data), "checksumAlgorithm": algorithm}
        async with DevServer(studio({}, [platform_package("all.zip", RIGHT, **given)])) as dev:
            report = await synced(dev, tmp_path / str(data is RIGHT))
            item = item_of(report, "all.zip")
            if data is RIGHT:
                assert item.verified_by == ("checksum", "archive")
                assert (item.checksum, item.checksum_algorithm) == (given["checksum"], algorithm or "sha256")
            else:
                assert isinstance(item.error, ChecksumMismatch)


async def test_a_dependency_package_that_the_server_only_knows_of(tmp_path: Path, mirror: DevServer) -> None:
    given = {"size": len(RIGHT), "checksum": digest("sha256"), "sources": [http(mirror)]}
    async with DevServer(studio({}, [platform_package("all.zip", None, **given)])) as dev:
        item = item_of(await synced(dev, tmp_path), "all.zip")
        assert (item.state, item.source) == ("installed", mirror.url + "/static/maya.zip")


async def test_a_dependency_package_without_sources_is_the_servers_own(tmp_path: Path) -> None:
    for number, sources in enumerate(([], None, [{"type": "server"}], [{"type": "server", "filename": "all.zip"}])):
        async with DevServer(studio({}, [platform_package("all.zip", RIGHT, sources=sources)])) as dev:
            assert states(await synced(dev, tmp_path / str(number))) == {"all.zip": "installed"}


async def test_an_archive_that_is_not_as_long_as_declared(tmp_path: Path) -> None:
    for size in (len(RIGHT) - 1, len(RIGHT) + 1):
        async with DevServer(maya(SERVER, size=size)) as dev:
            report = await synced(dev, tmp_path / str(size))
            assert states(report) == {MAYA: "failed", "core 1.0.0": "installed"}
            assert f"{size:,}" in why(report, MAYA)
