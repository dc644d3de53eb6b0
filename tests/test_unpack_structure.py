"""Archives whose parts contradict each other or end early: each is refused for its own reason, and nothing stays."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from ayon_async.errors import ArchiveError
from ayon_async.unpack import errors, unpack, zip_directory
from unpack_refusals import lengths_written, refused
from unpack_samples import (
    LABEL,
    Raw,
    fix_checksum,
    make_tar,
    make_zip,
    packed,
    tar_member,
    tar_of,
    zip_of,
)

# --- zips -----------------------------------------------------------------------------------------------------------

A, B = Raw("a"), Raw("b", b"second")
HELLO = len(packed(b"content"))
PACKED_TO_12 = packed(b"0123456789")
ZEROS: dict[str, Any] = {"crc": 0, "packed": 0, "size": 0}
DESCRIPTOR = struct.pack("<4s3L", b"PK\7\x08", zlib.crc32(b"content"), HELLO, 7)


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def zip64_of(offset: int = 0, size: int = 44, disks: int = 1, members: int = 1, gap: bytes = b"") -> bytes:
    """A zip with a zip64 end record, some of it wrong."""
    plain = zip_of(A)
    directory = plain.index(b"PK\1\2")
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", size, 45, 45, 0, 0, members, members, len(plain) - 22 - directory, directory
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(plain) - 22 + offset, disks)
    return plain[:-22] + record + gap + locator + plain[-22:]


STRUCTURES: dict[str, tuple[bytes, type[ArchiveError]]] = {
    "other name": (zip_of(A, Raw("b", local={"name": b"c"})), errors.HeaderMismatch),
    "longer name": (zip_of(A, Raw("b", local={"name": b"../b"})), errors.HeaderMismatch),
    "same name in another encoding": (zip_of(Raw("ü", local={"flags": 0})), errors.HeaderMismatch),
    "other method": (zip_of(Raw("b", local={"method": 0})), errors.HeaderMismatch),
    "other size": (zip_of(Raw("b", local={"size": 6})), errors.HeaderMismatch),
    "other packed size": (zip_of(Raw("b", local={"packed": 6})), errors.HeaderMismatch),
    "other crc": (zip_of(Raw("b", local={"crc": 6})), errors.HeaderMismatch),
    "zero sizes without a descriptor": (zip_of(Raw("b", local=ZEROS)), errors.HeaderMismatch),
    "no descriptor": (zip_of(Raw("b", flags=8, local=ZEROS)), errors.HeaderMismatch),
    "other size with a descriptor": (
        zip_of(Raw("b", flags=8, local={"crc": 0, "packed": 0, "size": 6}, descriptor=DESCRIPTOR)),
        errors.HeaderMismatch,
    ),
    "wrong descriptor": (
        zip_of(Raw("b", flags=8, local=ZEROS, descriptor=DESCRIPTOR[:-1] + b"\1")),
        errors.HeaderMismatch,
    ),
    "odd descriptor": (zip_of(Raw("b", flags=8, local=ZEROS, descriptor=DESCRIPTOR + b"\1")), errors.HiddenData),
    "long descriptor": (zip_of(Raw("b", flags=8, local=ZEROS, descriptor=DESCRIPTOR + bytes(99))), errors.HiddenData),
    "no header": (zip_of(A, Raw("b", local={"magic": b"PK\3\5"})), errors.HeaderMismatch),
    "same bytes twice": (zip_of(A, Raw("b", central={"offset": 0, "name": b"a2"})), errors.OverlappingMembers),
    "inside another": (
        zip_of(Raw("a", zip_of(Raw("in"))[:60], 0), Raw("in", central={"offset": 31})),
        errors.OverlappingMembers,
    ),
    "into the directory": (zip_of(Raw("a", method=0, central={"packed": 90, "size": 90})), errors.OverlappingMembers),
    "before the first": (zip_of(Raw("a", before=b"#!/bin/sh\n"), B), errors.HiddenData),
    "between": (zip_of(A, Raw("b", b"second", before=b"hidden")), errors.HiddenData),
    "a member before the first": (zip_of(Raw("a", before=zip_of(Raw("hidden"))[:40])), errors.HiddenData),
    "between, like a descriptor": (zip_of(Raw("a", descriptor=DESCRIPTOR), B), errors.HiddenData),
    "own extra field longer than the room": (replaced(zip_of(A, B), 28, b"\xff\1"), errors.OverlappingMembers),
    "own name longer than the room": (replaced(zip_of(A, B), 26, b"\xff\1"), errors.HeaderMismatch),
    "a member between": (zip_of(A, Raw("b", before=zip_of(Raw("hidden"))[:40])), errors.HiddenData),
    "before the directory": (zip_of(Raw("a", descriptor=b"hidden")), errors.HiddenData),
    "behind the end": (zip_of(A, behind=b"hidden"), errors.HiddenData),
    "a zip before": (zip_of(A) + zip_of(B), errors.HiddenData),
    "a zip in the comment": (zip_of(A, comment=zip_of(B)), errors.HiddenData),
    "a directory that is too small": (zip_of(A, B, end={"size": 47}), errors.HiddenData),
    "a directory that is too long": (zip_of(A, B, end={"size": 4700}), errors.TruncatedArchive),
    "a directory into the end": (zip_of(A, B, end={"size": 95}), errors.TruncatedArchive),
    "a comment that is cut": (zip_of(A, comment=b"a comment")[:-4], errors.TruncatedArchive),
    "fewer members": (zip_of(A, B, end={"number": 1, "here": 1}), errors.DamagedArchive),
    "more members": (zip_of(A, B, end={"number": 3, "here": 3}), errors.DamagedArchive),
    "in two parts": (zip_of(A, end={"number": 2}), errors.UnsupportedArchive),
    "second part": (zip_of(A, end={"disk": 1}), errors.UnsupportedArchive),
    "member in another part": (zip_of(Raw("a", central={"disk": 1})), errors.UnsupportedMember),
    "future version": (zip_of(Raw("a", central={"needed": 99})), errors.UnsupportedMember),
    "patched": (zip_of(Raw("a", flags=0x20)), errors.UnsupportedMember),
    "no entry": (zip_of(Raw("a", central={"magic": b"PK\1\3"})), errors.DamagedArchive),
    "extra field too long": (zip_of(Raw("a", central={"extra": b"\1\0\xff\0ab"})), errors.DamagedArchive),
    "own extra field too long": (zip_of(Raw("a", local={"extra": b"\1\0\xff\0ab"})), errors.DamagedArchive),
    "zip64 field too short": (
        zip_of(Raw("a", central={"size": 0xFFFFFFFF, "extra": b"\1\0\4\0abcd"})),
        errors.DamagedArchive,
    ),
    "zip64 elsewhere": (zip64_of(offset=-5), errors.HiddenData),
    "zip64 hides data": (zip64_of(gap=b"hidden"), errors.HiddenData),
    "zip64 extensible": (zip64_of(size=99), errors.DamagedArchive),
    "zip64 parts": (zip64_of(disks=2), errors.UnsupportedArchive),
    "zip64 says otherwise": (zip64_of(members=2), errors.HeaderMismatch),
    "stored in fewer bytes": (zip_of(Raw("a", method=0, central={"size": 9}, local={"size": 9})), errors.SizeMismatch),
    "inflates to more": (zip_of(Raw("a", central={"size": 5}, local={"size": 5})), errors.LongerThanDeclared),
    "inflates to less": (zip_of(Raw("a", central={"size": 9}, local={"size": 9})), errors.SizeMismatch),
    "wrong crc": (zip_of(Raw("a", central={"crc": 9}, local={"crc": 9})), errors.CrcMismatch),
    "wrong crc, stored": (zip_of(Raw("a", method=0, central={"crc": 9}, local={"crc": 9})), errors.CrcMismatch),
    "wrong crc of a link": (
        zip_of(Raw("a", b"b", mode=0o120777, central={"crc": 9}, local={"crc": 9})),
        errors.CrcMismatch,
    ),
    "hidden behind the deflate stream": (zip_of(Raw("a", packed=packed(b"content") + b"hidden")), errors.HiddenData),
    "hidden in a step of its own": (
        zip_of(Raw("a", b"0123456789", packed=PACKED_TO_12 + b"hide")),
        errors.HiddenData,
    ),
    "deflate stream ends early": (zip_of(Raw("a", packed=packed(b"content")[:-1])), errors.DamagedArchive),
    "no deflate stream": (zip_of(Raw("a", packed=b"\xff\xff\xff")), errors.DamagedArchive),
    "nothing": (zip_of(Raw("a", packed=b"")), errors.DamagedArchive),
}


@pytest.mark.parametrize("small_steps", [False, True], ids=["at once", "streamed"])
@pytest.mark.parametrize("case", STRUCTURES)
def test_zips_that_can_be_read_in_two_ways(
    case: str, small_steps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small_steps:
        monkeypatch.setattr("ayon_async.unpack.zip.MIB", 4)
        monkeypatch.setattr("ayon_async.unpack.zip_members.MIB", 4)
        monkeypatch.setattr("ayon_async.unpack.zip_members.AT_ONCE", 0)
    data, expected = STRUCTURES[case]
    error = refused(data, tmp_path)
    assert type(error) is expected


@pytest.mark.parametrize("noise", [0, 2 << 20], ids=["at once", "streamed"])
def test_a_bomb_that_declares_little_gets_neither_memory_nor_disk(
    noise: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = lengths_written(monkeypatch)
    big = packed(bytes(64 << 20) + os.urandom(noise))
    assert (len(big) > 1 << 20) is bool(noise)
    data = zip_of(Raw("a", b"x", packed=big))
    tracemalloc.start()
    error = refused(data, tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert type(error) is errors.LongerThanDeclared
    assert peak < len(data) + (8 << 20)
    assert sum(written) <= 1 << 20


def test_members_that_overlap_to_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = lengths_written(monkeypatch)
    """Many members that share one kernel of data declare far more than there is."""
    kernel = Raw("z", bytes(1 << 20))
    data = zip_of(kernel, *(Raw(f"{n}", bytes(1 << 20), packed=b"", central={"offset": 0}) for n in range(50)))
    assert type(refused(data, tmp_path)) is errors.OverlappingMembers
    assert written == []


def test_a_directory_that_would_take_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_directory, "_LARGEST_DIRECTORY", 40)
    assert type(refused(zip_of(A), tmp_path)) is errors.TooLarge


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_every_truncation_is_noticed(kind: str, tmp_path: Path) -> None:
    tree = {"a.txt": b"first\n" * 50, "d/b.txt": b"second"}
    data = make_zip(tree) if kind == "zip" else make_tar(tree, {"tar": "w"}.get(kind, "w:" + kind[4:]))
    if kind == "tar":
        data = data.rstrip(b"\0")
    for length in range(1, len(data), 7 if kind == "tar" else 1):
        with pytest.raises(ArchiveError) as raised:
            unpack(io.BytesIO(data[:length]), tmp_path / "out", name=LABEL, flush=False)
        assert isinstance(raised.value, errors.TruncatedArchive | errors.NotAnArchive), length
        assert not isinstance(raised.value, errors.NotAnArchive) or length < 512
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["w:gz", "w:bz2", "w:xz"])
def test_every_flipped_bit_of_a_compressed_tar_is_noticed(kind: str, tmp_path: Path) -> None:
    data = make_tar({"a.txt": b"first\n" * 50}, kind)
    unnoticed = 0
    for position in range(12, len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        try:
            unpack(io.BytesIO(broken), tmp_path / "out", name=LABEL, flush=False)
        except ArchiveError:
            assert not (tmp_path / "out").exists()
        else:
            assert (tmp_path / "out" / "a.txt").read_bytes() == b"first\n" * 50
            unnoticed += 1
            (tmp_path / "out" / "a.txt").unlink()
            (tmp_path / "out").rmdir()
    assert unnoticed == 0


# --- the structure of a tar -----------------------------------------------------------------------------------------


def extended(records: bytes, type_: bytes = tarfile.XHDTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return tar_member("x", type_), records


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


FILE = (tar_member("a"), b"1")
TARS: dict[str, tuple[bytes, type[ArchiveError]]] = {
    "broken header": (tar_of(FILE)[:1024] + b"x" * 1024, errors.DamagedArchive),
    "behind the end": (tar_of(FILE) + b"hidden", errors.HiddenData),
    "a tar behind": (tar_of(FILE) + tar_of(FILE), errors.HiddenData),
    "behind the first zeros": (tar_of(FILE)[:1536] + tar_of((tar_member("b"), b"2")), errors.HiddenData),
    "no end": (tar_of(FILE)[:1024], errors.TruncatedArchive),
    "ends in pax": (tar_of(extended(record("path", "b"))), errors.DamagedArchive),
    "pax without length": (tar_of(extended(b"path=b\n"), FILE), errors.DamagedArchive),
    "pax too long": (tar_of(extended(b"99 path=b\n"), FILE), errors.DamagedArchive),
    "pax too short": (tar_of(extended(b"3 path=b\n"), FILE), errors.DamagedArchive),
    "pax without end": (tar_of(extended(record("comment", "a") + b"0 path=b\n"), FILE), errors.DamagedArchive),
    "pax size in odd digits": (tar_of(extended(record("size", "²")), FILE), errors.DamagedArchive),
    "pax size of many digits": (tar_of(extended(record("size", "9" * 5000)), FILE), errors.DamagedArchive),
    "pax without newline": (tar_of(extended(b"10 path=bb"), FILE), errors.DamagedArchive),
    "pax size is no number": (tar_of(extended(record("size", "-1")), FILE), errors.DamagedArchive),
    "pax size is huge": (tar_of(extended(record("size", "9" * 19)), FILE), errors.TooLarge),
    "two names": (tar_of(extended(record("path", "b")), extended(record("path", "c")), FILE), errors.DamagedArchive),
    "two kinds of names": (
        tar_of(extended(record("path", "b")), extended(b"c\0", tarfile.GNUTYPE_LONGNAME), FILE),
        errors.DamagedArchive,
    ),
    "one name for all": (tar_of(extended(record("path", "b"), tarfile.XGLTYPE), FILE), errors.UnsupportedMember),
    "pax escape": (tar_of(extended(record("path", "../evil")), FILE), errors.ParentName),
    "pax nul": (tar_of(extended(record("path", "a\0b")), FILE), errors.ControlCharacterName),
    "pax link": (
        tar_of(extended(record("linkpath", "../b")), (tar_member("l", tarfile.SYMTYPE, "a"), b"")),
        errors.EscapingLink,
    ),
    "gnu escape": (tar_of(extended(b"../evil\0", tarfile.GNUTYPE_LONGNAME), FILE), errors.ParentName),
    "gnu link": (
        tar_of(extended(b"/evil\0", tarfile.GNUTYPE_LONGLINK), (tar_member("l", tarfile.SYMTYPE, "a"), b"")),
        errors.EscapingLink,
    ),
    "empty name": (tar_of(extended(record("path", "")), FILE), errors.UnclearName),
    "file named like a folder": (tar_of(extended(record("path", "a/")), FILE), errors.UnclearName),
    "folder with content": (tar_of((tar_member("d", tarfile.DIRTYPE), b"1")), errors.UnsupportedMember),
    "link with content": (tar_of((tar_member("d", tarfile.SYMTYPE, "a"), b"1")), errors.UnsupportedMember),
    "larger than there is": (tar_of(extended(record("size", "99999")), FILE), errors.TruncatedArchive),
}


@pytest.mark.parametrize("case", TARS)
def test_tars_that_do_not_hold(case: str, tmp_path: Path) -> None:
    data, expected = TARS[case]
    error = refused(data, tmp_path)
    assert type(error) is expected


def test_a_size_below_zero(tmp_path: Path) -> None:
    data = bytearray(tar_of(FILE))
    data[124:136] = b"\xff" * 12  # base 256
    fix_checksum(data, 0)
    assert type(refused(bytes(data), tmp_path)) is errors.DamagedArchive
