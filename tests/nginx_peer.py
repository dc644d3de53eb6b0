"""nginx as a file host: a real peer besides our own server."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format bytes '$status $body_bytes_sent "$http_range" "$http_if_range"';
    access_log {folder}/access.log bytes;
    types {{ application/zip zip; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        root {files};
        {more}
    }}
}}
"""


@dataclass(slots=True)
class Answer:
    """One line of the log: an answer that has ended.

    Attributes:
        status: HTTP status.
        sent: Bytes of the body.
        range: The `Range` header, or ``-``.
        if_range: The `If-Range` header without its quotes, or ``-``.
    """

    status: int
    sent: int
    range: str
    if_range: str


class Nginx:
    """nginx with files to serve.

    Args:
        folder: Where its own files are kept; `folder / "files"` is what it serves.
        certificate: PEM file with certificate and key: it then speaks https.
        more: Further lines of its configuration.
    """

    def __init__(self, folder: Path, *, certificate: Path | None = None, more: str = "") -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        self._port = port
        if certificate:
            more += f" ssl_certificate {certificate}; ssl_certificate_key {certificate};"
        self._configuration = folder / "nginx.conf"
        text = _CONFIGURATION.format(
            folder=folder, files=self.files, port=port, tls=" ssl" if certificate else "", more=more
        )
        self._configuration.write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it runs; it is ended at once, as when its host fails."""
        assert NGINX is not None
        command = (NGINX, "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", str(self._configuration))
        process = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(10):
                while not await self._answers():
                    assert process.returncode is None, (self.folder / "error.log").read_text()
                    await asyncio.sleep(0.02)
            yield
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        return True

    def answers(self) -> list[Answer]:
        """What it answered so far, without the probes for a size."""
        answers = []
        for line in (self.folder / "access.log").read_text().splitlines():
            numbers, asked, _, if_range, _ = line.replace("\\x22", "").split('"')
            status, sent = numbers.split()
            if asked != "bytes=0-0":
                answers.append(Answer(int(status), int(sent), asked, if_range))
        return answers
