"""The servers' side: nginx with the archives, and the AYON server whose bundle names them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarking.archives import Archive, Archives
from benchmarking.links import Network

SCRIPTS = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("AYON_")},
    "PYTHONPATH": os.pathsep.join((str(SCRIPTS), str(SCRIPTS.parent))),
    "AYON_API_KEY": "benchmark-key",
}
"""What both sides' Python programs are started with."""
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
_PORT = 18080

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ application/zip zip; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:{port};
        root {folder}/files;
        limit_rate {rate};
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Site:
    """What is served, and where.

    Attributes:
        archives: What the bundle has; largest first, as every contestant may ask for them.
        files: URL of the folder with the archives.
        ayon: URL of the AYON server.
        folder: Folder with the archives.
        network: Where the two sides are.
    """

    archives: Archives
    files: str
    ayon: str
    folder: Path
    network: Network
    _studio: subprocess.Popen[str]

    def url(self, archive: Archive) -> str:
        """Where the archive is."""
        return f"{self.files}/{archive.name}"

    def path(self, archive: Archive) -> Path:
        """The archive on disk."""
        return self.folder / archive.name

    def requests(self) -> int:
        """How many requests the AYON server had since this was last asked."""
        assert self._studio.stdin is not None
        assert self._studio.stdout is not None
        print(file=self._studio.stdin, flush=True)
        return int(self._studio.stdout.readline())


@contextlib.contextmanager
def serving(archives: Archives, folder: Path, network: Network) -> Iterator[Site]:
    """Both servers, with these archives.

    Args:
        folder: For their own files; removed at the end.
    """
    archives = tuple(sorted(archives, key=lambda archive: -archive.size))
    (folder / "files").mkdir(parents=True)
    for archive in archives:
        _place(archive, folder / "files" / archive.name)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        nginx, port = _start_nginx(folder, network)
        stack.callback(_end, nginx)
        files = f"http://{network.server}:{port}"
        entries = [
            {"name": archive.name, "url": f"{files}/{archive.name}", "size": archive.size, "sha256": archive.sha256}
            for archive in archives
        ]
        (folder / "archives.json").write_text(json.dumps(entries))
        command = [sys.executable, "-m", "benchmarking.studio", str(folder / "archives.json"), network.server]
        studio = subprocess.Popen(
            [*network.at_server, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        stack.callback(_end, studio)
        assert studio.stdout is not None
        yield Site(archives, files, studio.stdout.readline().strip(), folder / "files", network, studio)


def _place(archive: Archive, path: Path) -> None:
    """In memory where the folder is, so that no disk is in what is measured."""
    shutil.copyfile(archive.path, path)


def _start_nginx(folder: Path, network: Network) -> tuple[subprocess.Popen[bytes], int]:
    assert NGINX is not None
    port = _PORT if network.link else _free_port()
    rate = network.link.per_connection if network.link else 0
    text = _CONFIGURATION.format(folder=folder, address=network.server, port=port, rate=rate)
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"]
    process = subprocess.Popen([*network.at_server, *command])
    deadline = time.monotonic() + 10
    while not (folder / "pid").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"nginx did not start: {(folder / 'error.log').read_text()}")
        time.sleep(0.01)
    return process, port


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
