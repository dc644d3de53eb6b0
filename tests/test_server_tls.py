"""https: whom we trust, to whom we show our certificate, and that nothing leads down to http."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from authority import Authority
from ayon_async import AyonServer, Store, SyncReport, sync
from ayon_async.devserver import DevServer, addon, tiny_studio
from ayon_async.devserver.faults import Redirect
from ayon_async.errors import ServerUnreachable, SettingsError, UsageError
from ayon_async.http import Tls
from studios import RIGHT, item_of, signed_in, states, studio, synced, why


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@dataclass
class Peer:
    """An https server that gives one archive to everybody and remembers who they said they were.

    Attributes:
        url: Where the archive is.
        certificates: Names in the certificates that clients showed, None where they showed none.
        heads: The requests' heads.
    """

    url: str
    certificates: list[str | None] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


@asynccontextmanager
async def peer_of(authority: Authority) -> AsyncIterator[Peer]:
    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown: dict[str, Any] = writer.get_extra_info("peercert") or {}
        names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
        peer.certificates.append(names[0] if names else None)
        peer.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(RIGHT)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + RIGHT)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(give, "127.0.0.1", 0, ssl=authority.serve(clients=ssl.CERT_OPTIONAL))
    async with server:
        peer = Peer(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/client.zip")
        yield peer


def one_error(report: SyncReport) -> ServerUnreachable:
    assert isinstance(report.error, ServerUnreachable), report
    assert report.exit_code == 3
    assert not report.items
    return report.error


async def test_an_authority_that_nobody_named_is_one_clear_error(authority: Authority, tmp_path: Path) -> None:
    async with DevServer(tiny_studio(), ssl=authority.serve()) as dev:
        error = one_error(await synced(dev, tmp_path))
        assert error.message.startswith(f"The certificate of {dev.url}/api/bundles is not trusted: ")
        assert "AYON_CA_FILE" in error.hint
        assert dev.requests == []


async def test_the_studios_authority_is_trusted_through_redirects(authority: Authority, tmp_path: Path) -> None:
    async with (
        DevServer(tiny_studio(), ssl=authority.serve()) as dev,
        DevServer(studio({}, files={"/static/maya.zip": RIGHT}), ssl=authority.serve()) as other,
    ):
        dev.faults.add("/addons/maya/*", Redirect(f"{other.url}/static/maya.zip"), probes=True)
        report = await synced(dev, tmp_path, tls=Tls(ca_file=authority.file))
        assert report.ok, report
        assert set(states(report).values()) == {"installed"}
        assert {record.path for record in other.requests} == {"/static/maya.zip"}
        for record in other.requests:
            assert not {"X-Api-Key", "Authorization"} & set(record.headers)


async def test_ssl_cert_file_is_trusted_as_well(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Authority(tmp_path, "Another CA")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for tls in (None, Tls(ca_file=stranger.file)):
        async with DevServer(tiny_studio(), ssl=authority.serve()) as dev, signed_in(dev, tls=tls) as server:
            assert (await server.bundles()).production_bundle == "prod"


async def test_our_certificate_is_shown_to_the_ayon_server_alone(authority: Authority, tmp_path: Path) -> None:
    tls = Tls(authority.file, authority.issue("workstation"))
    async with peer_of(authority) as peer:
        source = ({"type": "http", "url": peer.url},)
        house = studio({"maya 1.0.0": addon(RIGHT, sources=source), "nuke 1.0.0": addon(RIGHT)})
        async with DevServer(house, ssl=authority.serve(clients=ssl.CERT_REQUIRED)) as dev:
            dev.faults.add("/addons/nuke/*", Redirect(peer.url), probes=True)
            report = await synced(dev, tmp_path, tls=tls)
            assert states(report) == {"maya 1.0.0": "installed", "nuke 1.0.0": "installed"}
            assert item_of(report, "maya 1.0.0").source == peer.url
        assert len(peer.certificates) >= 2
        assert set(peer.certificates) == {None}
        assert not [head for head in peer.heads if "x-api-key" in head or "authorization" in head or "x-ayon" in head]


async def test_the_peer_of_these_tests_sees_a_certificate_that_is_shown(authority: Authority) -> None:
    async with peer_of(authority) as peer:
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(authority.issue("workstation"))
        host, _, port = peer.url.split("/")[2].partition(":")
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        assert peer.certificates == ["workstation"]


async def test_a_server_that_wants_a_certificate_gets_one_error(authority: Authority, tmp_path: Path) -> None:
    async with DevServer(tiny_studio(), ssl=authority.serve(clients=ssl.CERT_REQUIRED)) as dev:
        error = one_error(await synced(dev, tmp_path, tls=Tls(authority.file)))
        assert dev.url in error.message
        assert "AYON_CERT_FILE" in error.hint


@pytest.mark.parametrize("which", ["ca_file", "cert_file"])
async def test_a_file_without_certificates_is_named(authority: Authority, tmp_path: Path, which: str) -> None:
    wrong = tmp_path / "wrong.pem"
    for content in (None, b"no certificate at all"):
        if content is not None:
            wrong.write_bytes(content)
        tls = Tls(**{"ca_file": authority.file, which: wrong})
        async with DevServer(tiny_studio(), ssl=authority.serve()) as dev:
            report = await synced(dev, tmp_path / "store", tls=tls)
        assert isinstance(report.error, SettingsError)
        assert isinstance(report.error, UsageError)
        assert str(wrong) in report.error.message


async def test_plain_http_on_an_https_address_is_explained(tmp_path: Path) -> None:
    async with (
        DevServer(tiny_studio()) as dev,
        AyonServer(dev.url.replace("http:", "https:"), api_key="artist-key") as server,
    ):
        error = one_error(await sync(server, Store.at(tmp_path)))
        assert "http://" in error.hint


async def test_https_is_never_led_down_to_http(authority: Authority, tmp_path: Path) -> None:
    tls = Tls(authority.file)
    async with (
        DevServer(studio({"maya 1.0.0": RIGHT}), ssl=authority.serve()) as dev,
        DevServer(studio({"maya 1.0.0": RIGHT}, files={"/static/maya.zip": RIGHT})) as plain,
    ):
        dev.faults.add("/addons/maya/*", Redirect(f"{plain.url}/static/maya.zip"), probes=True)
        report = await synced(dev, tmp_path, tls=tls)
        assert f"a redirect from https down to {plain.url}" in why(report, "maya 1.0.0")
        dev.faults.add("/api/bundles", Redirect(f"{plain.url}/api/bundles"))
        error = one_error(await synced(dev, tmp_path, tls=tls))
        assert f"a redirect from https down to {plain.url}" in error.message
        assert plain.requests == []
