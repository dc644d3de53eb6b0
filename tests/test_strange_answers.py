"""Servers, proxies and sources that say what nobody should: it is the matter of one item, or an error in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ayon_async import AyonServer, BundleChoice, Store, status
from ayon_async.devserver import DevServer
from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.faults import Body, Busy, Chunked, Drop, Fault, Status
from ayon_async.devserver.reply import Reply
from ayon_async.errors import InvalidAnswer, ServerError
from ayon_async.fault import fault_of
from ayon_async.http import Timeouts
from ayon_async.install import Installer
from studios import KEY, item_of, leftovers, signed_in
from transfer_bench import MAYA, archive, assert_right, offering, run, soon

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

CONTENTS = {name: archive(name, 200_000) for name in ("maya", "nuke", "houdini")}
OTHERS = {name: content for name, content in CONTENTS.items() if name != "maya"}
JSON = "application/json"
PARTS = "addons/.ayon-async/parts"


@dataclass(frozen=True)
class Says(Fault):
    """An answer with these headers, and this status if any."""

    headers: Mapping[str, str]
    status: int | None = None

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, headers={**reply.headers, **self.headers}, status=self.status or reply.status)


@pytest.mark.parametrize("attested", [False, True])
@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"m\xfcller"'},
        {"Last-Modified": "\xff\xfe"},
        {"Content-Range": f"bytes 0-0/{'9' * 5000}"},
        {"Content-Range": f"bytes {'9' * 5000}-0/200000"},
    ],
)
async def test_strange_headers_do_not_matter(tmp_path: Path, headers: dict[str, str], attested: bool) -> None:
    async with DevServer(offering(CONTENTS, attested=attested)) as dev:
        dev.faults.add(MAYA, Says(headers), probes=True)
        dev.faults.add(MAYA, Drop(100_000), attempts=1)
        assert_right(await run(dev, tmp_path, jobs=4), tmp_path, CONTENTS)


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (302, {"Location": "http://127.0.0.1:99999/"}, "a redirect to something that is no URL"),
        (503, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999"}, "answered 503"),
        (503, {"Retry-After": "9" * 5000}, "wants to be left alone for 31,536,000 s"),
    ],
)
async def test_one_item_s_source_is_not_the_others_matter(
    tmp_path: Path, status: int, headers: dict[str, str], said: str
) -> None:
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add(MAYA, Says(headers, status))
        report = await run(dev, tmp_path, retries=0)
    error = item_of(report, "maya 1.0.0").error
    assert error is not None
    assert said in error.message
    assert MAYA in error.message
    assert [item_of(report, f"{name} 1.0.0").state for name in OTHERS] == ["installed"] * 2


async def test_a_fault_of_ours_in_one_item_is_not_the_others_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = Installer._prepare

    async def break_for_maya(self: Installer, item: object) -> None:
        if getattr(item, "name", "") == "maya":
            raise ExceptionGroup("several", [ZeroDivisionError("at https://me:hidden@example.com")])
        await install(self, item)  # type: ignore[arg-type]

    monkeypatch.setattr(Installer, "_prepare", break_for_maya)
    async with DevServer(offering(CONTENTS)) as dev:
        report = await run(dev, tmp_path)
    error = item_of(report, "maya 1.0.0").error
    assert error is not None
    assert (error.type, error.message) == (
        "InternalError",
        "maya 1.0.0: ZeroDivisionError: at https://***@example.com",
    )
    assert "report it" in error.hint
    assert [item_of(report, f"{name} 1.0.0").state for name in OTHERS] == ["installed"] * 2


def test_a_fault_tells_what_it_is() -> None:
    assert fault_of(ValueError("no")).message == "ValueError: no"
    assert fault_of(ExceptionGroup("two", [ValueError(), KeyError()])).message.startswith("ExceptionGroup: two")


# --- the server itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/bundles", "/api/addons"])
@pytest.mark.parametrize(
    "body", [b'{"name": "\xff"}', b"[" * 100_000, b'{"unknown": ' + b'{"a":' * 50_000], ids=["bytes", "deep", "deeper"]
)
async def test_what_is_no_json_is_named(tmp_path: Path, path: str, body: bytes) -> None:
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add(path, Body(body, JSON))
        report = await run(dev, tmp_path, retries=0)
    assert isinstance(report.error, InvalidAnswer)
    assert report.exit_code == 3
    assert f"{dev.url}{path} is not valid JSON" in report.error.message


@pytest.mark.parametrize("code", [401, 500])
async def test_nor_is_an_error_s_reason(tmp_path: Path, code: int) -> None:
    @dataclass(frozen=True)
    class Deep(Fault):
        def after(self, reply: Reply, ask: Ask) -> Reply:
            return replace(reply, status=code, body=b"[" * 100_000, headers={"Content-Type": JSON})

    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add("/api/bundles", Deep())
        report = await run(dev, tmp_path, retries=0)
    assert report.error is not None
    assert (report.exit_code, f"status {code}" in report.error.message) == (4 if code == 401 else 3, True)


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayon_async.server._LONGEST_BODY", 100_000)
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add("/api/bundles", Body(b" " * 200_000, JSON))
        async with signed_in(dev) as server:
            with pytest.raises(InvalidAnswer, match=r"/api/bundles.* is longer than 100,000 bytes"):
                await server.bundles()


@pytest.mark.parametrize("seconds", [12, 3600])
async def test_a_first_answer_that_asks_for_a_long_wait_is_told(seconds: int) -> None:
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add("/api/bundles", Busy(503, retry_after=seconds))
        async with signed_in(dev) as server:
            with pytest.raises(
                ServerError, match=f"answered 503 and wants to be left alone for {seconds:,} s"
            ) as error:
                await server.bundles()
    assert error.value.exit_code == 3
    assert len(dev.requests) == 1


async def test_later_ones_too_and_shorter_waits_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayon_async.server._LONG_WAIT", 0.9)
    said: list[str] = []
    async with (
        DevServer(offering(CONTENTS)) as dev,
        AyonServer(dev.url, api_key=KEY, timeouts=Timeouts(5, 5), on_wait=said.append) as server,
    ):
        await server.bundles()
        dev.faults.add("/api/addons", Busy(503, retry_after=1), attempts=1)
        dev.faults.add("/api/addons", Busy(503, retry_after=3600), attempts=2)
        with pytest.raises(ServerError, match="left alone for 3,600 s"):
            await server.addons()
    assert said == [f"{dev.url}/api/addons answered 503; trying again in 1 s."]


# --- what stays behind ------------------------------------------------------------------------------------------------


async def test_of_what_came_without_a_length_nothing_stays(tmp_path: Path) -> None:
    """Nobody could go on with it, and it may be what has filled the disk."""
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add(MAYA, Chunked())
        dev.faults.add(MAYA, Drop(150_000))
        report = await run(dev, tmp_path, retries=1)
    assert item_of(report, "maya 1.0.0").state == "failed"
    assert leftovers(tmp_path) == []


async def test_a_part_under_its_former_name_goes_with_the_item_s_end(tmp_path: Path) -> None:
    async with DevServer(offering(CONTENTS)) as dev:
        dev.faults.add(MAYA, Drop(150_000), attempts=1)
        dev.faults.add(MAYA, Status(404), attempts=range(2, 100))
        await run(dev, tmp_path, retries=0)
    assert len(list((tmp_path / PARTS).glob("*.part"))) == 1
    async with DevServer(offering(CONTENTS, attested=True)) as dev:
        assert item_of(await run(dev, tmp_path), "maya 1.0.0").state == "installed"
    assert list((tmp_path / PARTS).iterdir()) == []


# --- folders that lost what was in them -------------------------------------------------------------------------------


@pytest.mark.parametrize("all_of_it", [False, True])
async def test_a_gutted_folder_is_installed_anew(tmp_path: Path, all_of_it: bool) -> None:
    """As `rm -rf addons/maya_1.0.0/*` leaves it, with what is hidden or without."""
    async with DevServer(offering(CONTENTS)) as dev:
        await run(dev, tmp_path)
        folder = tmp_path / "addons/maya_1.0.0"
        for path in folder.iterdir():
            if all_of_it or not path.name.startswith("."):
                path.unlink()
        async with AyonServer(dev.url, api_key=KEY) as server:
            found = await status(server, Store.at(tmp_path), BundleChoice())
        assert item_of(found, "maya 1.0.0").state == "planned"
        report = await run(dev, tmp_path)
        assert [item.state for item in report.items] == ["up_to_date", "installed", "up_to_date"]
    assert (folder / "data.bin").stat().st_size > 190_000
