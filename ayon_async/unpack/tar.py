"""Unpacks a tar, plain or compressed, in one pass from its beginning to its end."""

from __future__ import annotations

import tarfile

from ayon_async.unpack import errors, names
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.folder import Folder
from ayon_async.unpack.links import Links
from ayon_async.unpack.result import Member, Unpacked
from ayon_async.unpack.source import Meter, Source
from ayon_async.unpack.stream import Compression, Stream
from ayon_async.unpack.tar_header import BLOCK, Header, is_tar, read_header

_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_DEVICES = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_UNSUPPORTED = {
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    b"D": "a folder dump of an incremental backup",
    b"M": "the continuation of a file from another volume",
    b"V": "a volume label",
}


def unpack_tar(
    source: Source, compression: Compression | None, folder: Folder, budget: Budget, meter: Meter
) -> Unpacked:
    """Unpack a tar.

    Raises:
        UnpackError: One of its subclasses.
        Stopped: The caller asked to stop.
        OSError: The archive can't be read or the folder not be written.
    """
    stream = Stream(source, compression, budget, meter)
    used = names.Names(source.name, budget.limits)
    links = Links(source.name, budget, meter)
    members: dict[str, Member] = {}
    first = stream.peek(BLOCK)
    if compression is not None and first.strip(b"\0") and not is_tar(first[:BLOCK]):
        raise errors.NotAnArchive(source.name, f"is {compression.title} data, but no tar")
    while header := read_header(stream, source.name):
        budget.count_members()
        meter.check()
        _check_type(source.name, header)
        if header.type == tarfile.DIRTYPE:
            folder.make(used.add_folder(header.name))
            continue
        path = used.add_file(header.name)
        if header.type == tarfile.SYMTYPE:
            links.add(path, header.target)
        elif header.type == tarfile.LNKTYPE:
            original = _find_original(source.name, path, header.target, members)
            budget.count_bytes(original.size)
            members[path] = folder.copy(folder.root / original.path, path, meter.check)
        else:
            budget.count_bytes(header.size)
            members[path] = folder.write(path, stream.pieces(header.size), executable=header.executable)
            stream.take(-header.size % BLOCK)
    for piece in stream.rest():
        if bytes(piece).strip(b"\0"):
            raise errors.HiddenData(source.name, "has bytes behind its end")
    made, copies = links.make(folder)
    return Unpacked((*members.values(), *copies), tuple(made), content_checked=stream.checked)


def _check_type(archive: str, header: Header) -> None:
    if header.type in _FILES:
        return
    if header.type in _DEVICES:
        raise errors.SpecialMember(archive, "is a device or a fifo", header.name)
    if header.type not in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
        what = _UNSUPPORTED.get(header.type, f"of the unknown type {header.type!r}")
        raise errors.UnsupportedMember(archive, f"is {what}, which is not supported", header.name)
    if header.size:
        raise errors.UnsupportedMember(archive, "is a folder or link with content, which is not supported", header.name)


def _find_original(archive: str, path: str, target: str, members: dict[str, Member]) -> Member:
    """The file that a hard link stands for."""
    try:
        names.check_characters(archive, target)
    except errors.UnsafeName as error:
        problem = f"is a hard link to {errors.quote(target)}, which {error.problem}"
        raise errors.EscapingLink(archive, problem, path) from None
    if ".." in target.split("/"):
        raise errors.EscapingLink(archive, f"is a hard link to {errors.quote(target)}, outside of the folder", path)
    while target.startswith("./"):
        target = target[2:]
    if target not in members:
        raise errors.BrokenLink(archive, f"is a hard link to {errors.quote(target)}, which is no file before it", path)
    return members[target]
