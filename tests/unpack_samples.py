"""Archives for the tests of unpacking: good ones, and a writer of zips whose every field can lie."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayon_async.unpack import Limits, Unpacked, unpack

LABEL = "maya 1.2.0"

TREE: dict[str, bytes] = {
    "package.py": b'name = "maya"\n',
    "client/ayon_maya/__init__.py": b"",
    "client/ayon_maya/addon.py": b"import os\n" * 900,
    "client/ayon_maya/bin/tool": b"#!/bin/sh\nexit 0\n",
    "client/ayon_maya/data.bin": bytes(range(256)) * 300,
    "client/ayon_maya/Überblick.txt": "groß\n".encode(),
}
EXECUTABLE = "client/ayon_maya/bin/tool"


def write_tree(folder: Path, tree: Mapping[str, bytes] = TREE) -> Path:
    """Write files; the one called EXECUTABLE gets the executable bit."""
    for path, data in tree.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if path == EXECUTABLE else 0o644)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder; links are left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def unpack_bytes(data: bytes, destination: Path, *, limits: Limits = Limits(), flush: bool = False) -> Unpacked:  # noqa: B008
    """Unpack an archive from a real file beside the destination."""
    file = destination.with_name(destination.name + ".archive")
    file.write_bytes(data)
    try:
        with file.open("rb") as archive:
            return unpack(archive, destination, name=LABEL, limits=limits, flush=flush)
    finally:
        file.unlink()


def make_zip(tree: Mapping[str, bytes] = TREE, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip as Python writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, data in tree.items():
            info = zipfile.ZipInfo(path)
            info.compress_type = method
            info.external_attr = (0o100755 if path == EXECUTABLE else 0o100644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


class Pipe(io.RawIOBase):
    """Something to write to that can't seek, as a zip is written into a pipe."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.data += memoryview(data)  # type: ignore[arg-type]
        return len(memoryview(data))  # type: ignore[arg-type]


def make_streamed_zip(tree: Mapping[str, bytes] = TREE, *, zip64: bool = False) -> bytes:
    """A zip written without seeking: sizes and CRCs stand behind the members."""
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in tree.items():
            with archive.open(path, "w", force_zip64=zip64) as member:
                member.write(data)
    return bytes(pipe.data)


def fix_checksum(data: bytearray, header: int) -> None:
    """Make the checksum of a tar's header right again."""
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])


def make_tar(tree: Mapping[str, bytes] = TREE, mode: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar as Python writes it, with its folders."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        folders = {parent.as_posix() for path in tree for parent in Path(path).parents}
        for folder in sorted(folders):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        for path, data in tree.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755 if path == EXECUTABLE else 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_of(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these members, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for info, data in members:
            info.size = info.size or len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_member(name: str, type: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = type, target, mode
    return info


@dataclass
class Raw:
    """One member of a zip; what is None follows from the data.

    Attributes:
        central, local: Fields that say something else in the directory or in the member's own header: name, flags,
            method, crc, packed, size, extra, mode, offset, disk, needed, magic.
        descriptor: Bytes behind the data.
        before: Bytes in front of the header.
    """

    name: str | bytes
    data: bytes = b"content"
    method: int = 8
    mode: int = 0o100644
    flags: int = 0
    packed: bytes | None = None
    central: dict[str, Any] = field(default_factory=dict)
    local: dict[str, Any] = field(default_factory=dict)
    descriptor: bytes = b""
    before: bytes = b""


def packed(data: bytes) -> bytes:
    """The data as a member has it, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_of(*members: Raw, comment: bytes = b"", end: dict[str, int] | None = None, behind: bytes = b"") -> bytes:
    """A zip of these members; ``end`` changes fields of the end record, ``behind`` comes after it."""
    data = bytearray()
    directory = bytearray()
    for member in members:
        data += member.before
        raw_name = member.name if isinstance(member.name, bytes) else member.name.encode()
        content = member.packed
        if content is None:
            content = packed(member.data) if member.method == 8 else member.data
        common: dict[str, Any] = {
            "name": raw_name, "flags": member.flags | (0 if raw_name.isascii() else 0x800), "method": member.method,
            "crc": zlib.crc32(member.data), "packed": len(content), "size": len(member.data), "extra": b"",
            "mode": member.mode, "offset": len(data), "disk": 0, "needed": 20,
        }  # fmt: skip
        central = common | {"magic": b"PK\1\2"} | member.central
        local = common | {"magic": b"PK\3\4"} | member.local
        data += struct.pack(
            "<4s5H3L2H", local["magic"], local["needed"], local["flags"], local["method"], 0, 0x21, local["crc"],
            local["packed"], local["size"], len(local["name"]), len(local["extra"]),
        )  # fmt: skip
        data += local["name"] + local["extra"] + content + member.descriptor
        directory += struct.pack(
            "<4s6H3L5H2L", central["magic"], 0x31E, central["needed"], central["flags"], central["method"], 0, 0x21,
            central["crc"], central["packed"], central["size"], len(central["name"]),
            len(central["extra"]), 0, central["disk"], 0, central["mode"] << 16, central["offset"],
        )  # fmt: skip
        directory += central["name"] + central["extra"]
    fields = {"disk": 0, "directory_disk": 0, "here": len(members), "number": len(members)}
    fields |= {"size": len(directory), "offset": len(data)} | (end or {})
    record = struct.pack("<4s4H2LH", b"PK\5\6", *fields.values(), len(comment))
    return bytes(data + directory + record + comment + behind)
