"""Answering with an archive: ETag, single ranges and `If-Range`, and the odd corners of a real AYON server."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from email.utils import formatdate

from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.reply import Reply, Slice, error_reply
from ayon_async.devserver.studio import Content, size_and_time

_TYPES = {
    ".zip": "application/zip",
    ".tar.gz": "application/x-tar",
    ".tgz": "application/x-tar",
    ".json": "application/json",
}


def etag_of(size: int, mtime: float, salt: str = "") -> str:
    """The strong validator of a file: made from time and size, never from what is in it."""
    return f'"{hashlib.md5(f"{mtime}-{size}{salt}".encode(), usedforsecurity=False).hexdigest()}"'


def archive_reply(content: Content, filename: str, ask: Ask) -> Reply:
    """The archive, or the part of it that is asked for."""
    try:
        size, mtime = size_and_time(content)
    except FileNotFoundError:
        return error_reply(404, "File not found")
    media_type = next((value for ending, value in _TYPES.items() if filename.endswith(ending)), None)
    headers = {
        "Content-Type": media_type or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(mtime, usegmt=True),
        "ETag": etag_of(size, mtime, ask.salt),
    }
    whole = Reply(200, headers, Slice(content, 0, size))
    if ask.range is None or (
        ask.if_range is not None and ask.if_range not in (headers["ETag"], headers["Last-Modified"])
    ):
        return whole
    try:
        ranges = _parse(ask.range, size)
    except _BadRange as error:
        return error.reply
    if len(ranges) > 1:
        return _multipart(whole, ranges)
    [(start, end)] = ranges
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return replace(whole, status=206, headers=headers, body=Slice(content, start, end - start))


class _BadRange(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


def _malformed(why: str) -> _BadRange:
    return _BadRange(Reply(400, {"Content-Type": "text/plain; charset=utf-8"}, why.encode()))


def _parse(header: str, size: int) -> list[tuple[int, int]]:
    """Half-open ranges in the file, sorted, overlapping and adjacent ones joined.

    Raises:
        _BadRange: Nothing that could be answered; holds the answer.
    """
    unit, equals, text = header.partition("=")
    if not equals:
        raise _malformed("Malformed range header.")
    if unit.strip().lower() != "bytes":
        raise _malformed("Only support bytes range")
    ranges = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not dash or not (first or last) or not all(piece.isdecimal() for piece in (first, last) if piece):
            continue
        if first:
            ranges.append((int(first), min(int(last) + 1, size) if last else size))
        else:
            ranges.append((size - int(last), size))
    if not ranges:
        raise _malformed("Range header: range must be requested")
    if any(not 0 <= start < size for start, _ in ranges):
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Range": f"*/{size}"}
        raise _BadRange(Reply(416, headers))
    if any(start >= end for start, end in ranges):
        raise _malformed("Range header: start must be less than end")
    return _joined(sorted(ranges))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined = ranges[:1]
    for start, end in ranges[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _multipart(whole: Reply, ranges: list[tuple[int, int]]) -> Reply:
    """Several ranges: the multipart type stands in the wrong header, so that no client can read the answer."""
    assert isinstance(whole.body, Slice)
    boundary, size = secrets.token_hex(13), whole.body.length
    body = b""
    for start, end in ranges:
        head = f"Content-Type: {whole.headers['Content-Type']}\nContent-Range: bytes {start}-{end - 1}/{size}\n\n"
        part = replace(whole, body=Slice(whole.body.content, start, end - start))
        body += f"--{boundary}\n{head}".encode() + part.read() + b"\n"
    body += f"--{boundary}--\n".encode()
    return replace(
        whole,
        status=206,
        headers={**whole.headers, "Content-Range": f"multipart/byteranges; boundary={boundary}"},
        body=body,
    )
