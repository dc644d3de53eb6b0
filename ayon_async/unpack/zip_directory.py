"""The table of contents of a zip: found, read and checked as a whole before anything is written.

It has to be the only possible reading of the file: one directory, right behind the members and right before the end
record, which ends the file. Whatever would let another program see other members is refused.
"""

from __future__ import annotations

import stat
import struct
import zlib

import msgspec

from ayon_async.unpack import errors
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.source import Source

STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, PATCHED, STRONG, UTF8, MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000  # flags

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END_MAGIC, _END64_MAGIC, _LOCATOR64_MAGIC, _ENTRY_MAGIC = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2"
_LONGEST_COMMENT = 0xFFFF
_LARGEST_DIRECTORY = 256 << 20  # bytes; half a million members need some 50 MB
_NEWEST_VERSION = 63  # of the format, that a member needs
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields
_FULL = 0xFFFFFFFF  # stands for a number in the zip64 extra field
_METHODS = {
    1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "LZMA", 20: "Zstandard", 93: "Zstandard",
    95: "xz", 98: "PPMd", 99: "AES encryption",
}  # fmt: skip


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One member as the directory has it.

    Attributes:
        name: Its name, decoded, not checked.
        raw_name: The bytes that its local header has to repeat.
        flags, method, crc32, packed_size, size, offset: As in the file format.
        mode: The Unix mode, 0 where there is none.
        is_folder: Whether it is a folder: its name says so.
        is_link: Whether it is a symbolic link, its content the target.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc32: int
    packed_size: int
    size: int
    offset: int
    mode: int
    is_folder: bool
    is_link: bool


def read_directory(source: Source, budget: Budget) -> tuple[list[Entry], int]:
    """All members in the order in which they lie in the file, and where the directory begins, which ends the last.

    Raises:
        UnpackError: One of its subclasses.
    """
    number, size, offset, end = _find_directory(source)
    budget.count_members(number)
    if offset + size > end:
        raise errors.TruncatedArchive(source.name, f"lacks {offset + size - end:,} bytes in the middle")
    if offset + size < end:
        raise errors.HiddenData(source.name, f"has {end - offset - size:,} bytes that belong to no member")
    if size > _LARGEST_DIRECTORY:
        raise errors.TooLarge(source.name, f"has a directory of {size:,} bytes")
    entries = _parse_directory(source, source.read(offset, size))
    if len(entries) != number:
        raise errors.DamagedArchive(source.name, f"has {len(entries):,} members in its directory, not {number:,}")
    return sorted(entries, key=lambda entry: entry.offset), offset


def has_end_record(source: Source) -> bool:
    """Whether the file ends like a zip, whatever it begins with."""
    return _read_tail(source).find(_END_MAGIC) >= 0


def _read_tail(source: Source) -> bytes:
    size = min(source.size, _END.size + _LONGEST_COMMENT)
    return source.read(source.size - size, size)


def _find_directory(source: Source) -> tuple[int, int, int, int]:
    """The number of members, and the directory's size, its offset, and where the record behind it begins."""
    tail = _read_tail(source)
    at = tail.rfind(_END_MAGIC)
    if at < 0:
        raise errors.TruncatedArchive(source.name, f"ends after {source.size:,} bytes, before its table of contents")
    if len(tail) - at < _END.size:
        raise errors.TruncatedArchive(source.name, "ends within its end record")
    _, disk, directory_disk, here, number, size, offset, comment = _END.unpack_from(tail, at)
    surplus = len(tail) - at - _END.size - comment
    if surplus < 0:
        raise errors.TruncatedArchive(source.name, f"lacks the last {-surplus:,} bytes of its comment")
    if surplus > 0:
        raise errors.HiddenData(source.name, f"has {surplus:,} bytes behind its end")
    end = source.size - len(tail) + at
    if end >= _LOCATOR64.size and (found := _read_zip64(source, end)):
        full = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, _FULL, _FULL)
        plain = (disk, directory_disk, here, number, size, offset)
        if any(a not in (b, none) for a, b, none in zip(plain, found, full, strict=True)):
            raise errors.HeaderMismatch(source.name, "has two end records that say different things")
        disk, directory_disk, here, number, size, offset = found
        end -= _LOCATOR64.size + _END64.size
    if disk or directory_disk or here != number:
        raise errors.UnsupportedArchive(source.name, "is one part of a zip in several parts")
    return number, size, offset, end


def _read_zip64(source: Source, end: int) -> tuple[int, ...] | None:
    """Disk, directory's disk, members on it, members, size and offset from the zip64 end record, where there is one."""
    magic, disk, offset, disks = _LOCATOR64.unpack(source.read(end - _LOCATOR64.size, _LOCATOR64.size))
    if magic != _LOCATOR64_MAGIC:
        return None
    if disk or disks > 1:
        raise errors.UnsupportedArchive(source.name, "is one part of a zip in several parts")
    start = end - _LOCATOR64.size - _END64.size
    if offset != start:
        raise errors.HiddenData(source.name, f"has its zip64 end record at byte {offset:,}, not right before its end")
    magic, size, _, _, *numbers = _END64.unpack(source.read(start, _END64.size))
    if magic != _END64_MAGIC or size != _END64.size - 12:
        raise errors.DamagedArchive(source.name, "has a zip64 end record that can't be read")
    return tuple(numbers)


def _parse_directory(source: Source, data: bytes) -> list[Entry]:
    entries = []
    at = 0
    while at < len(data):
        if len(data) - at < _ENTRY.size:
            raise errors.DamagedArchive(source.name, "has a broken table of contents")
        fields = _ENTRY.unpack_from(data, at)
        magic, _, needed, flags, method, _, _, crc, packed, size = fields[:10]
        name_size, extra_size, comment_size, disk, _, attributes, offset = fields[10:]
        name_at = at + _ENTRY.size
        extra_at = name_at + name_size
        at = extra_at + extra_size + comment_size
        if magic != _ENTRY_MAGIC or at > len(data):
            raise errors.DamagedArchive(source.name, "has a broken table of contents")
        raw_name = data[name_at:extra_at]
        name = _decode(source, raw_name, flags)
        if extra_size:
            extra = parse_extra(source.name, name, data[extra_at : extra_at + extra_size])
            name = _unicode_path(source, name, raw_name, extra)
            size, packed, offset = read_zip64_numbers(source.name, name, extra, (size, packed, offset))
        # The Unix mode counts where there is one, whichever system the archive says it is from: Python on Windows too.
        mode = attributes >> 16
        is_folder, is_link = name.endswith("/"), stat.S_ISLNK(mode)
        entry = Entry(name, raw_name, flags, method, crc, packed, size, offset, mode, is_folder, is_link)
        _check_entry(source, entry, needed, disk)
        entries.append(entry)
    return entries


def _decode(source: Source, raw_name: bytes, flags: int) -> str:
    if raw_name.isascii():
        return raw_name.decode("ascii")
    if not flags & UTF8:
        return raw_name.decode("cp437")
    try:
        return raw_name.decode()
    except UnicodeDecodeError:
        raise errors.UndecodableName(source.name, "is not the UTF-8 that it should be", repr(raw_name)) from None


def parse_extra(archive: str, name: str, data: bytes) -> dict[int, bytes]:
    """The extra fields of a header by their number, the first of each.

    Raises:
        DamagedArchive: They don't fill their room exactly.
    """
    fields: dict[int, bytes] = {}
    at = 0
    while len(data) - at >= 4:
        kind, size = struct.unpack_from("<2H", data, at)
        at += 4 + size
        fields.setdefault(kind, data[at - size : at])
    if at > len(data):
        raise errors.DamagedArchive(archive, "has a broken extra field", name)
    return fields


def read_zip64_numbers(archive: str, name: str, extra: dict[int, bytes], numbers: tuple[int, ...]) -> list[int]:
    """The numbers, those that are full replaced in their order by the ones in the zip64 extra field.

    Raises:
        DamagedArchive: The field is too short.
    """
    data = extra.get(_ZIP64)
    if data is None:
        return list(numbers)
    result = []
    for number in numbers:
        if number == _FULL:
            if len(data) < 8:
                raise errors.DamagedArchive(archive, "has a zip64 field that is too short", name)
            number, data = int.from_bytes(data[:8], "little"), data[8:]
        result.append(number)
    return result


def _unicode_path(source: Source, name: str, raw_name: bytes, extra: dict[int, bytes]) -> str:
    """The name in UTF-8 that some programs put beside one in an old encoding; stale when its checksum is another's."""
    field = extra.get(_UNICODE_PATH)
    if field is None or len(field) < 5 or field[0] != 1:
        return name
    if int.from_bytes(field[1:5], "little") != zlib.crc32(raw_name):
        return name
    return _decode(source, field[5:], UTF8)


def _check_entry(source: Source, entry: Entry, needed: int, disk: int) -> None:
    archive, name = source.name, entry.name
    if entry.flags & (ENCRYPTED | STRONG | MASKED) or entry.method == 99:
        raise errors.EncryptedMember(archive, "is encrypted", name)
    if entry.method not in (STORED, DEFLATED):
        method = _METHODS.get(entry.method, f"method {entry.method}")
        raise errors.UnsupportedMethod(archive, f"is compressed with {method}, which is not supported", name)
    if needed & 0xFF > _NEWEST_VERSION or entry.flags & PATCHED or disk:
        raise errors.UnsupportedMember(archive, "needs a feature of the zip format that is not supported", name)
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise errors.SpecialMember(archive, "is a device, a fifo or a socket", name)
    if entry.is_folder and (entry.size or kind == stat.S_IFLNK):
        raise errors.HeaderMismatch(archive, "is named like a folder and has content", name)
    if not entry.is_folder and kind == stat.S_IFDIR:
        raise errors.HeaderMismatch(archive, "is a folder that is not named like one", name)
    if entry.method == STORED and entry.packed_size != entry.size:
        problem = f"is stored in {entry.packed_size:,} bytes and should have {entry.size:,}"
        raise errors.SizeMismatch(archive, problem, name)
