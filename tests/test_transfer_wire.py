"""What goes over the wire: through proxies, with nobody's cookies and passwords, and what is said of it."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from authority import Authority
from ayon_async import AyonServer, Store, sync
from ayon_async.devserver import DevServer, Studio
from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.faults import Drop, Fault, Redirect, Status
from ayon_async.devserver.reply import Reply
from ayon_async.http import Timeouts, Tls
from forward_proxy import Proxy, forward_proxy
from studios import KEY
from transfer_bench import MAYA, archive, assert_right, break_with, downloads, offering, run, soon

__all__ = ["soon"]

pytestmark = pytest.mark.usefixtures("soon")

SIZE = 300_000
CONTENT = archive("maya", SIZE)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    """A server of one archive."""
    async with DevServer(offering({"maya": CONTENT})) as server:
        yield server


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A proxy, and no other one in the environment."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    async with forward_proxy() as running:
        yield running


# --- proxies --------------------------------------------------------------------------------------------------------


async def test_the_proxy_of_the_environment(
    dev: DevServer, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:s3cret@127.0.0.1:{proxy.port}")
    break_with(dev, Drop(SIZE // 2))
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
    assert len(proxy.heads) == len(dev.requests)
    password = base64.b64encode(b"me:s3cret").decode().lower()
    assert all(f"proxy-authorization: basic {password}" in head for head in proxy.heads)
    assert all(f"get {dev.url}/" in head for head in proxy.heads)


async def test_a_proxy_for_https(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")  # many leave out the scheme
    async with DevServer(offering({"maya": CONTENT}), ssl=authority.serve()) as dev:
        async with AyonServer(dev.url, api_key=KEY, tls=Tls(authority.file)) as server:
            report = await sync(server, Store.at(tmp_path / "store"))
        assert_right(report, tmp_path / "store", {"maya": CONTENT})
        assert proxy.heads
        assert all(head.startswith(f"connect 127.0.0.1:{dev.port} ") for head in proxy.heads)
        assert not [head for head in proxy.heads if "api-key" in head]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}"])
async def test_hosts_that_need_no_proxy(
    dev: DevServer, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", f"example.com,{host.format(port=dev.port)}")
    assert_right(await run(dev, tmp_path), tmp_path, {"maya": CONTENT})
    assert proxy.heads == []


@pytest.mark.parametrize("password", ["se/s3cret", "se#s3cret", "se?s3cret", "s3cret:99999@127.0.0.1"])
async def test_a_proxy_that_is_no_address_is_not_the_servers_fault(
    dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:{password}@127.0.0.1:99999")
    error = (await run(dev, tmp_path)).error
    assert error is not None
    assert error.exit_code == 3
    assert "The proxy that is named for" in error.message
    assert "s3cret" not in error.message
    assert "HTTP_PROXY" in error.hint


@pytest.mark.parametrize("how", ["gone", "407", "502"])
async def test_a_proxy_that_fails_is_named_without_its_password(
    dev: DevServer,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy.refuses = "407 Proxy Authentication Required" if how == "407" else "502 Bad Gateway"
    port = proxy.port if how != "gone" else unused_port()
    monkeypatch.setenv("http_proxy", f"http://me:s3cret@127.0.0.1:{port}")
    report = await run(dev, tmp_path, retries=1)
    assert report.exit_code == 3
    assert report.error is not None
    said = json.dumps(report.to_dict()) + caplog.text
    assert "s3cret" not in said
    assert {"gone": "proxy", "407": "407", "502": "502"}[how] in report.error.message


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


# --- nobody's cookies and passwords ---------------------------------------------------------------------------------


class SetsCookie(Fault):
    """Every answer sets a cookie."""

    def after(self, reply: Reply, ask: Ask) -> Reply:
        return replace(reply, headers={**reply.headers, "Set-Cookie": "session=1; Path=/"})


async def test_no_cookie_no_referer_no_netrc(dev: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    dev.faults.add("*", SetsCookie(), probes=True)
    dev.faults.add(MAYA, Redirect("{path}?again"), attempts=1)
    break_with(dev, Drop(SIZE // 2), first=2)
    assert_right(await run(dev, tmp_path / "store"), tmp_path / "store", {"maya": CONTENT})
    assert len(dev.requests) >= 5
    for record in dev.requests:
        assert not {"Cookie", "Referer", "Authorization"} & set(record.headers)
        assert record.headers["X-Api-Key"] == KEY


# --- connecting -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mute() -> Iterator[str]:
    """Where connections are taken and nothing is ever said."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{unused}/x.zip", "No connection to"),
        ("http://no-such-host.invalid/x.zip", "was not found"),
        ("https://{mute}/x.zip", "No answer from"),
        ("http://{mute}/x.zip", "No answer from"),
    ],
)
async def test_who_can_not_be_reached_gives_way_to_the_next_source(
    tmp_path: Path, mute: str, url: str, words: str
) -> None:
    place = url.format(unused=unused_port(), mute=mute)
    sources = [{"type": "http", "url": place}, {"type": "server", "filename": "client.zip"}]
    async with DevServer(offering({"maya": CONTENT}, sources={"maya": sources})) as dev:
        dev.faults.add(MAYA, Status(404))
        started = time.monotonic()
        report = await run(dev, tmp_path, retries=1, timeouts=Timeouts(connect=0.3, silence=0.3))
        assert time.monotonic() - started < 5
    [item] = report.items
    assert item.error is not None
    assert words in item.error.message
    assert place in item.error.message


async def test_a_tls_handshake_that_never_ends_is_given_up(tmp_path: Path, mute: str) -> None:
    async with AyonServer(f"https://{mute}", timeouts=Timeouts(connect=0.3, silence=5), retries=0) as server:
        started = time.monotonic()
        report = await sync(server, Store.at(tmp_path))
        assert report.exit_code == 3
        assert time.monotonic() - started < 4


# --- secrets --------------------------------------------------------------------------------------------------------


async def test_nothing_that_is_said_holds_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    async with DevServer(Studio(files={"/static/maya.zip": CONTENT})) as mirror:
        place = mirror.url.replace("//", "//me:s3cret@") + "/static/maya.zip?token=s3cret#s3cret"
        source = {"type": "http", "url": place, "headers": {"X-Token": "s3cret"}}
        mirror.faults.add("*", Drop(10_000), attempts=range(1, 4))
        mirror.faults.add("*", Status(500), attempts=range(4, 6))
        mirror.faults.add("*", Redirect("/static/maya.zip?other=s3cret"), attempts=range(6, 100))
        async with DevServer(offering({"maya": CONTENT}, sources={"maya": [source]})) as dev:
            report = await run(dev, tmp_path, retries=3, progress=lambda snapshot: said.append(repr(snapshot)))
        assert downloads(mirror, "*")[0].path_qs == "/static/maya.zip?token=s3cret"
    assert [item.state for item in report.items] == ["failed"]
    for text in (json.dumps(report.to_dict()), caplog.text, "".join(said)):
        assert text
        assert "s3cret" not in text
        assert KEY not in text


async def test_what_is_left_on_disk_of_a_broken_transfer_is_private(dev: DevServer, tmp_path: Path) -> None:
    break_with(dev, Drop(SIZE // 2))
    await run(dev, tmp_path, retries=0)
    folder = tmp_path / "addons/.ayon-async/parts"
    files = list(folder.iterdir())
    assert len(files) == 2
    assert not [path for path in (folder, *files) if path.stat().st_mode & 0o077]
