"""An archive that changes under the same version: noticed, never silently accepted, and taken when asked to."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async import Store, SyncReport, fs, status
from ayon_async.devserver import DevServer, addon, zip_bytes
from ayon_async.devserver.faults import NewETag, Status
from ayon_async.report import Remote
from studios import everything, item_of, leftovers, reached, signed_in, small, states, studio, synced, why

LABEL = "maya 1.0.0"
ARCHIVE = "/addons/maya/1.0.0/*"
BEFORE = zip_bytes({"ayon_maya/version.py": "before", "ayon_maya/old.py": ""})
AFTER = zip_bytes({"ayon_maya/version.py": "after!", "ayon_maya/new.py": ""})


@pytest.fixture
async def server() -> AsyncIterator[DevServer]:
    async with DevServer(studio({LABEL: BEFORE, **small("nuke 1.0.0")})) as server:
        yield server


def exchange(server: DevServer, content: bytes = AFTER, **attributes: str) -> None:
    """Let the server have another archive under the same version."""
    addons = {**server.studio.addons, ("maya", "1.0.0"): addon(content, **attributes)}
    server.studio = replace(server.studio, addons=addons)


def content(folder: Path) -> dict[str, str]:
    """The files that the archive gave."""
    maya = folder / "addons/maya_1.0.0"
    return {path.name: path.read_text() for path in (maya / "ayon_maya").iterdir()}


async def remotes(server: DevServer, folder: Path) -> dict[str, Remote | None]:
    async with signed_in(server) as client:
        report = await status(client, Store.at(folder), remote=True)
    assert report.ok
    return {item.name: item.remote for item in report.items}


def remove_maya(folder: Path) -> None:
    shutil.rmtree(folder / "addons/maya_1.0.0")


# --- what was seen first --------------------------------------------------------------------------------------------


async def test_the_first_digest_attests_the_next_download(server: DevServer, tmp_path: Path) -> None:
    first = item_of(await synced(server, tmp_path), LABEL)
    assert first.verified_by == ("archive",)
    remove_maya(tmp_path)
    again = item_of(await synced(server, tmp_path), LABEL)
    assert (again.state, again.verified_by) == ("installed", ("recorded", "archive"))
    assert (again.checksum, again.checksum_algorithm) == (hashlib.sha256(BEFORE).hexdigest(), "sha256")


async def test_other_bytes_under_the_same_version_are_refused(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    remove_maya(tmp_path)
    exchange(server)
    report = await synced(server, tmp_path)
    assert states(report) == {LABEL: "failed", "nuke 1.0.0": "up_to_date"}
    assert "is not the archive that was seen first under this version" in why(report, LABEL)
    error = item_of(report, LABEL).error
    assert error is not None
    assert "sync --refresh" in error.hint
    assert not (tmp_path / "addons/maya_1.0.0").exists()


async def test_other_bytes_are_refused_although_the_server_attests_them(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    remove_maya(tmp_path)
    exchange(server, checksum=hashlib.md5(AFTER).hexdigest(), checksum_algorithm="md5")
    assert "seen first under this version" in why(await synced(server, tmp_path), LABEL)
    exchange(server, checksum=hashlib.sha256(AFTER).hexdigest(), checksum_algorithm="sha256")
    server.forget_requests()
    assert "seen first under this version" in why(await synced(server, tmp_path), LABEL)
    assert server.requests_to(ARCHIVE) == [], "this tells it without a download"


async def test_first_digest_and_checksum_both_attest(server: DevServer, tmp_path: Path) -> None:
    exchange(server, BEFORE, checksum=hashlib.md5(BEFORE).hexdigest(), checksum_algorithm="md5")
    await synced(server, tmp_path)
    remove_maya(tmp_path)
    again = item_of(await synced(server, tmp_path), LABEL)
    assert again.verified_by == ("checksum", "recorded", "archive")
    assert again.checksum_algorithm == "md5"


async def test_another_server_may_have_other_bytes(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    remove_maya(tmp_path)
    async with DevServer(studio({LABEL: AFTER})) as other:
        assert states(await synced(other, tmp_path)) == {LABEL: "installed"}


async def test_refresh_accepts_what_is_missing_and_changed(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    remove_maya(tmp_path)
    exchange(server)
    accepted = item_of(await synced(server, tmp_path, refresh=True), LABEL)
    assert (accepted.state, accepted.verified_by) == ("installed", ("archive",))
    remove_maya(tmp_path)
    again = item_of(await synced(server, tmp_path), LABEL)
    assert again.verified_by == ("recorded", "archive"), "from now on this is what was seen first"


# --- what may have changed ------------------------------------------------------------------------------------------


async def test_status_asks_what_may_have_changed_for_a_byte_each(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    assert await remotes(server, tmp_path) == {"maya": "same", "nuke": "same"}
    exchange(server)
    server.forget_requests()
    assert await remotes(server, tmp_path) == {"maya": "may_have_changed", "nuke": "same"}
    assert server.bytes_sent() == 2
    assert content(tmp_path)["version.py"] == "before"


async def test_without_asking_nobody_says_anything(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    exchange(server)
    server.forget_requests()
    report = await synced(server, tmp_path)
    assert states(report) == {LABEL: "up_to_date", "nuke 1.0.0": "up_to_date"}
    assert {item.remote for item in report.items} == {None}
    assert server.bytes_sent() == 0


async def test_a_checksum_tells_it_without_asking(server: DevServer, tmp_path: Path) -> None:
    exchange(server, BEFORE, checksum=hashlib.md5(BEFORE).hexdigest(), checksum_algorithm="md5")
    await synced(server, tmp_path)
    server.faults.add(ARCHIVE, NewETag())
    server.forget_requests()
    assert (await remotes(server, tmp_path))["maya"] == "same"
    for checksum in (hashlib.md5(AFTER), hashlib.sha256(AFTER)):
        exchange(server, checksum=checksum.hexdigest(), checksum_algorithm=checksum.name)
        assert (await remotes(server, tmp_path))["maya"] == "may_have_changed"
    assert server.requests_to(ARCHIVE) == []


async def test_what_cannot_be_asked_is_unknown(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    server.faults.add(ARCHIVE, Status(404), probes=True)
    assert (await remotes(server, tmp_path))["maya"] == "unknown"


async def test_an_archive_on_a_share_is_known_by_its_time(server: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "maya.zip"
    file.write_bytes(BEFORE)
    path = dict.fromkeys(("windows", "linux", "darwin"), str(file))
    exchange(server, sources=({"type": "filesystem", "path": path},))  # type: ignore[arg-type]
    await synced(server, tmp_path / "store")
    assert (await remotes(server, tmp_path / "store"))["maya"] == "same"
    file.write_bytes(BEFORE)
    assert (await remotes(server, tmp_path / "store"))["maya"] == "may_have_changed"


# --- taking it ------------------------------------------------------------------------------------------------------


async def test_refresh_takes_what_changed_and_nothing_else(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    exchange(server)
    server.forget_requests()
    report = await synced(server, tmp_path, refresh=True)
    assert states(report) == {LABEL: "installed", "nuke 1.0.0": "up_to_date"}
    assert content(tmp_path) == {"version.py": "after!", "new.py": ""}
    assert [path for path in reached(server) if path.startswith("/addons/")] == [
        "/addons/maya/1.0.0/private/client.zip"
    ]
    assert leftovers(tmp_path) == []
    assert await remotes(server, tmp_path) == {"maya": "same", "nuke": "same"}


async def test_refresh_finds_the_same_bytes_and_leaves_them(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    server.faults.add("*", NewETag("uploaded again"), probes=True)
    assert (await remotes(server, tmp_path))["maya"] == "may_have_changed"
    before = (tmp_path / "addons/maya_1.0.0").stat().st_ino
    report = await synced(server, tmp_path, refresh=True)
    assert states(report) == {LABEL: "up_to_date", "nuke 1.0.0": "up_to_date"}
    assert item_of(report, LABEL).bytes_downloaded == len(BEFORE)
    assert (tmp_path / "addons/maya_1.0.0").stat().st_ino == before
    assert await remotes(server, tmp_path) == {"maya": "same", "nuke": "same"}


async def test_refresh_that_fails_leaves_what_was_there(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    exchange(server, b"PK\3\4 no archive at all")
    before = everything(tmp_path / "addons/maya_1.0.0")
    report = await synced(server, tmp_path, refresh=True)
    assert (report.exit_code, states(report)[LABEL]) == (1, "failed")
    assert everything(tmp_path / "addons/maya_1.0.0") == before
    assert states(await synced(server, tmp_path)) == {LABEL: "up_to_date", "nuke 1.0.0": "up_to_date"}
    assert leftovers(tmp_path) == []


async def test_a_dry_run_says_what_a_refresh_would_take(server: DevServer, tmp_path: Path) -> None:
    await synced(server, tmp_path)
    exchange(server)
    report = await synced(server, tmp_path, refresh=True, dry_run=True)
    assert states(report) == {LABEL: "planned", "nuke 1.0.0": "up_to_date"}
    assert content(tmp_path)["version.py"] == "before"


# --- one folder for another -----------------------------------------------------------------------------------------


async def test_what_was_there_is_put_back_when_the_rename_fails(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(server, tmp_path)
    exchange(server)
    before, rename = everything(tmp_path / "addons/maya_1.0.0"), fs.rename

    def broken(source: Path, destination: Path) -> None:
        if destination.name == "maya_1.0.0" and ".old-" not in source.name:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, destination)

    monkeypatch.setattr(fs, "rename", broken)
    report = await synced(server, tmp_path, refresh=True)
    monkeypatch.undo()
    assert "Input/output error" in why(report, LABEL)
    assert everything(tmp_path / "addons/maya_1.0.0") == before


class Killed(BaseException):
    """The process ends here."""


async def test_killed_between_the_two_renames(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(server, tmp_path)
    exchange(server)
    rename = fs.rename

    def killed(source: Path, destination: Path) -> None:
        if destination.name == "maya_1.0.0":
            raise Killed
        rename(source, destination)

    monkeypatch.setattr(fs, "rename", killed)
    with pytest.raises(BaseExceptionGroup):
        await synced(server, tmp_path, refresh=True)
    monkeypatch.undo()
    assert not (tmp_path / "addons/maya_1.0.0").exists()
    server.forget_requests()
    assert states(await synced(server, tmp_path))[LABEL] == "installed"
    assert content(tmp_path) == {"version.py": "after!", "new.py": ""}, "what was set aside is not taken for new"
    assert server.bytes_sent(ARCHIVE) <= 1, "what was complete is not fetched again"
    assert leftovers(tmp_path) == []


async def test_open_files_on_windows_put_it_off_to_the_next_start(
    server: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(server, tmp_path)
    exchange(server)
    rename = fs.rename

    def refused(source: Path, destination: Path) -> None:
        if source.name == "maya_1.0.0" and source.parent.name == "addons":
            raise OSError(errno.EBUSY, "in use")  # what Windows calls a sharing violation
        rename(source, destination)

    monkeypatch.setattr(fs, "rename", refused)
    monkeypatch.setattr("ayon_async.store.staging.BLOCKED_SECONDS", 0.0)
    report = await synced(server, tmp_path, refresh=True)
    assert why(report, LABEL).startswith("maya 1.0.0 can't be replaced: a program has files in ")
    assert content(tmp_path)["version.py"] == "before"
    later: SyncReport = await synced(server, tmp_path)
    assert states(later)[LABEL] == "up_to_date"
    assert "is still in use" in later.warnings[0]
    monkeypatch.undo()
    server.forget_requests()
    assert states(await synced(server, tmp_path))[LABEL] == "up_to_date"
    assert content(tmp_path) == {"version.py": "after!", "new.py": ""}
    assert server.bytes_sent(ARCHIVE) == 0
    assert leftovers(tmp_path) == []
    assert await remotes(server, tmp_path) == {"maya": "same", "nuke": "same"}
