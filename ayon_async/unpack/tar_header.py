"""The headers of a tar: each member's own, and the extended ones (pax, GNU) that say more of the next member."""

from __future__ import annotations

import re
import tarfile
from typing import NamedTuple

from ayon_async.unpack import errors
from ayon_async.unpack.stream import Stream

BLOCK = 512
_LONGEST = 1 << 20  # bytes of an extended header
_RECORD = re.compile(rb"([0-9]{1,8}) ([^=\n]+)=")
_SPARSE = "GNU.sparse."
_EXTENDED = {
    tarfile.XHDTYPE: "pax",
    tarfile.SOLARIS_XHDTYPE: "pax",
    tarfile.XGLTYPE: "global pax",
    tarfile.GNUTYPE_LONGNAME: "long name",
    tarfile.GNUTYPE_LONGLINK: "long link",
}


class Header(NamedTuple):
    """One member as its headers have it, nothing checked.

    Attributes:
        name: Its name; of a folder without a slash at the end. What is not UTF-8 in it stands as lone surrogates.
        type: The type flag, as `tarfile` has it.
        size: Bytes of content that follow.
        target: Of a link, what it leads to.
        executable: Whether its mode has an executable bit.
    """

    name: str
    type: bytes
    size: int
    target: str
    executable: bool


def is_tar(block: bytes) -> bool:
    """Whether this is the first block of a tar, by its checksum (the oldest tars have no other mark)."""
    try:
        _parse(block)
    except tarfile.HeaderError:
        return False
    return True


def read_header(stream: Stream, archive: str) -> Header | None:
    """The next member's header, or None at the end of the archive.

    Raises:
        UnpackError: One of its subclasses.
    """
    extended: dict[str, str] = {}
    while True:
        block = stream.take(BLOCK)
        if not block.strip(b"\0"):
            if extended:
                raise errors.DamagedArchive(archive, "ends behind a header that belongs to a member")
            return None
        try:
            info = _parse(block)
        except tarfile.HeaderError as error:
            raise errors.DamagedArchive(archive, f"has a broken header: {error}") from None
        if info.size < 0:
            raise errors.DamagedArchive(archive, "has a size below 0", info.name)
        kind = _EXTENDED.get(info.type)
        if kind is None:
            return _combine(archive, info, extended)
        for key, value in _read_extended(stream, archive, info, kind).items():
            if key in extended:
                raise errors.DamagedArchive(archive, f"has two values for its {key}", value)
            extended[key] = value


def _parse(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def _combine(archive: str, info: tarfile.TarInfo, extended: dict[str, str]) -> Header:
    name = extended.get("path", info.name)
    size = info.size
    if (value := extended.get("size")) is not None:
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise errors.DamagedArchive(archive, "has a size that is no number", name)
        size = int(value)
    if info.isdir():
        name = name.rstrip("/")
    return Header(name, info.type, size, extended.get("linkpath", info.linkname), bool(info.mode & 0o111))


def _read_extended(stream: Stream, archive: str, info: tarfile.TarInfo, kind: str) -> dict[str, str]:
    """What an extended header says of the next member's path, linkpath and size."""
    if info.size > _LONGEST:
        raise errors.DamagedArchive(archive, f"has a {kind} header of {info.size:,} bytes")
    data = stream.take(info.size + -info.size % BLOCK)[: info.size]
    if kind == "long name":
        return {"path": _decode(data.partition(b"\0")[0])}
    if kind == "long link":
        return {"linkpath": _decode(data.partition(b"\0")[0])}
    found = _parse_pax(archive, data)
    if kind == "global pax" and found:
        raise errors.UnsupportedMember(archive, f"has one {', '.join(found)} for all members")
    return found


def _parse_pax(archive: str, data: bytes) -> dict[str, str]:
    """Path, linkpath and size from records of ``length key=value``, each ending with a newline."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        match = _RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise errors.DamagedArchive(archive, "has a broken pax header")
        key, value = _decode(match[2]), _decode(data[match.end() : end - 1])
        if key.startswith(_SPARSE):
            raise errors.UnsupportedMember(archive, "has sparse files, which are not supported")
        if key in ("path", "linkpath", "size"):
            found[key] = value
        at = end
    return found


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
