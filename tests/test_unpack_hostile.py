"""Archives that must not be unpacked: each is refused for its own reason, by name, and nothing of it stays."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs
from ayon_async.errors import ArchiveError
from ayon_async.unpack import Limits, errors, stream, unpack, zip_directory
from ayon_async.unpack.names import Names, fold
from unpack_samples import LABEL, Raw, make_tar, make_zip, packed, tar_member, tar_of, unpack_bytes, zip_of


def refused(data: bytes, folder: Path, limits: Limits = Limits()) -> ArchiveError:  # noqa: B008
    """Unpack into an empty folder beside a file; returns the error, and sees to it that nothing was touched."""
    beside = folder / "beside"
    beside.write_bytes(b"before")
    (folder / "inside").mkdir()
    with pytest.raises(ArchiveError) as raised:
        unpack_bytes(data, folder / "inside" / "out", limits=limits)
    assert list(folder.rglob("*")) == [folder / "inside", beside] or set(folder.rglob("*")) == {
        folder / "inside",
        beside,
    }
    assert beside.read_bytes() == b"before"
    error = raised.value
    assert error.message.startswith(f"{LABEL}: ")
    assert error.message.isprintable()
    assert error.hint
    return error


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all writes to files."""
    lengths: list[int] = []
    write = fs.write

    def count(fd: int, data: bytes | memoryview) -> None:
        lengths.append(len(data))
        write(fd, data)

    monkeypatch.setattr(fs, "write", count)
    return lengths


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = {
    "/etc/passwd": errors.AbsoluteName,
    "../evil": errors.ParentName,
    "a/../../evil": errors.ParentName,
    "a/..": errors.ParentName,
    "c:/evil": errors.DriveName,
    "C:evil": errors.DriveName,
    "//server/share/evil": errors.UncName,
    "\\\\server\\share\\evil": errors.UncName,
    "a\\..\\evil": errors.BackslashName,
    "a/b\nc": errors.ControlCharacterName,
    "a/\x1b[31m": errors.ControlCharacterName,
    "a\x7f": errors.ControlCharacterName,
    "a\x85": errors.ControlCharacterName,
    "file.txt:stream": errors.ForbiddenCharacterName,
    "what?": errors.ForbiddenCharacterName,
    "con": errors.ReservedName,
    "a/Aux.py": errors.ReservedName,
    "nul .txt": errors.ReservedName,
    "COM1/a": errors.ReservedName,
    "lpt³": errors.ReservedName,
    "conin$": errors.ReservedName,
    "a./b": errors.TrailingDotOrSpaceName,
    "a ": errors.TrailingDotOrSpaceName,
    "...": errors.TrailingDotOrSpaceName,
    "a//b": errors.UnclearName,
    "a/./b": errors.UnclearName,
    "x" * 256: errors.NameTooLong,
    "ü" * 128: errors.NameTooLong,
    "d/" * 100 + "f": errors.TooDeep,
}


@pytest.mark.parametrize("kind", ["zip", "tar", "gnu-tar", "zip-folder", "zip-link", "tar-link"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:24]))
def test_names_that_no_store_may_hold(name: str, kind: str, tmp_path: Path) -> None:
    good = Raw("good.txt")
    match kind:
        case "zip":
            data = zip_of(good, Raw(name))
        case "zip-folder":
            data = zip_of(good, Raw(name + "/", b"", 0))
        case "zip-link":
            data = zip_of(good, Raw(name, b"good.txt", mode=0o120777))
        case "tar-link":
            data = tar_of((tar_member("good.txt"), b""), (tar_member(name, tarfile.SYMTYPE, "good.txt"), b""))
        case _:
            format = tarfile.GNU_FORMAT if kind == "gnu-tar" else tarfile.PAX_FORMAT
            data = tar_of((tar_member("good.txt"), b"1"), (tar_member(name), b"2"), format=format)

    error = refused(data, tmp_path)

    assert type(error) is NAMES[name] or (kind == "zip-folder" and isinstance(error, errors.UnsafeName))
    assert repr(name[:24])[1:-1] in error.message


@pytest.mark.parametrize(
    "name",
    [
        "con1.txt",
        "aux_.py",
        "console",
        "a.b.c",
        ".hidden",
        "a b",
        "com0",
        "..a",
        "a..b",
        "naïve",
        "日本語",
        "x" * 255,
        "[a](b)'&",
    ],
)
def test_names_that_only_look_unsafe(name: str, tmp_path: Path) -> None:
    unpack_bytes(make_zip({name: b"1"}), tmp_path / "out")
    assert (tmp_path / "out" / name).read_bytes() == b"1"


def test_nul_in_a_name(tmp_path: Path) -> None:
    assert type(refused(zip_of(Raw("good.py\0.txt")), tmp_path)) is errors.ControlCharacterName


def test_empty_names(tmp_path: Path) -> None:
    assert type(refused(zip_of(Raw("")), tmp_path)) is errors.UnclearName
    with pytest.raises(errors.UnclearName):
        Names(LABEL, Limits()).add_folder("")


@pytest.mark.parametrize("name", ["a\udcff", "\ud800"])
def test_a_name_that_is_no_text(name: str, tmp_path: Path) -> None:
    data = tar_of((tar_member("placeholder"), b""), format=tarfile.GNU_FORMAT)
    raw = bytearray(data)
    raw[:12] = name.encode("utf-8", "surrogatepass")[:12].ljust(12, b"\0")
    fix_checksum(raw, 0)
    assert type(refused(bytes(raw), tmp_path)) is errors.UndecodableName


def test_a_name_that_is_not_the_utf8_it_says(tmp_path: Path) -> None:
    assert type(refused(zip_of(Raw(b"a\xff", flags=0x800)), tmp_path)) is errors.UndecodableName


def test_a_better_name_is_checked_too(tmp_path: Path) -> None:
    better = b"\1" + struct.pack("<L", zlib.crc32(b"good")) + b"../evil"
    data = zip_of(Raw("good", central={"extra": struct.pack("<2H", 0x7075, len(better)) + better}))
    assert type(refused(data, tmp_path)) is errors.ParentName


TWICE = {
    ("a", "a"): errors.DuplicateName,
    ("d/a", "d/a"): errors.DuplicateName,
    ("a", "A"): errors.CollidingNames,
    ("d/x", "D/y"): errors.CollidingNames,
    ("Straße", "STRASSE"): errors.CollidingNames,
    ("caf\u00e9", "cafe\u0301"): errors.CollidingNames,
    ("\u212a", "k"): errors.CollidingNames,
    ("a", "a/b"): errors.FileAsFolder,
    ("a/b", "a"): errors.FileAsFolder,
    ("a/b/c", "a/b"): errors.FileAsFolder,
    ("a", "A/b"): errors.CollidingNames,
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("pair", TWICE, ids=ascii)
def test_names_that_are_one_on_some_system(pair: tuple[str, str], kind: str, tmp_path: Path) -> None:
    members = [(tar_member(name), b"1") for name in pair]
    error = refused(zip_of(*map(Raw, pair)) if kind == "zip" else tar_of(*members), tmp_path)
    assert type(error) is TWICE[pair]
    assert repr(pair[1]) in error.message or repr(pair[0]) in error.message


@pytest.mark.parametrize("step", ["open_new", "make_folder", "symlink"])
def test_a_file_system_that_knows_more_names_to_be_one(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = getattr(fs, step)

    def collide(*arguments: str, **keywords: bool) -> object:
        if str(arguments[-1 if step == "symlink" else 0]).endswith("2"):
            raise FileExistsError
        return call(*arguments, **keywords)

    monkeypatch.setattr(fs, step, collide)
    files = (Raw("file1"), Raw("file2")) if step == "open_new" else (Raw("folder1/a"), Raw("folder2/a"))
    if step == "symlink":
        files = (Raw("file"), Raw("link2", b"file", mode=0o120777))
    error = refused(zip_of(*files), tmp_path)
    assert type(error) is errors.CollidingNames
    assert str(files[1].name).partition("/")[0] in error.message


def test_a_name_that_the_system_has_no_encoding_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, mode: int) -> int:
        path.encode("ascii")
        raise AssertionError

    monkeypatch.setattr(fs, "open_new", fail)
    assert type(refused(zip_of(Raw("日本語")), tmp_path)) is errors.UndecodableName


def test_a_path_longer_than_the_system_takes(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows tells it in another way")
    assert type(refused(zip_of(Raw("/".join(["x" * 250] * 17))), tmp_path)) is errors.NameTooLong


def test_folding_is_stable() -> None:
    for text in ("ABC", "Straße", "İ", "ǅ", "\u1e9e", "\u0345\u0301"):
        assert fold(fold(text)) == fold(text)


# --- kinds of members -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0o020000, 0o060000, 0o010000, 0o140000], ids=["character", "block", "fifo", "socket"])
def test_devices_in_a_zip(kind: int, tmp_path: Path) -> None:
    assert type(refused(zip_of(Raw("dev", mode=kind | 0o666)), tmp_path)) is errors.SpecialMember


@pytest.mark.parametrize("type_", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_a_tar(type_: bytes, tmp_path: Path) -> None:
    assert type(refused(tar_of((tar_member("dev", type_), b"")), tmp_path)) is errors.SpecialMember


@pytest.mark.parametrize("type_", [b"D", b"M", b"V", b"z", b"S"])
def test_kinds_of_tar_members_that_are_not_unpacked(type_: bytes, tmp_path: Path) -> None:
    data = bytearray(tar_of((tar_member("good"), b"1"), (tar_member("odd"), b""), format=tarfile.GNU_FORMAT))
    data[1024 + 156 : 1024 + 157] = type_
    fix_checksum(data, 1024)
    assert type(refused(bytes(data), tmp_path)) is errors.UnsupportedMember


def test_sparse_files_of_pax(tmp_path: Path) -> None:
    member = tar_member("sparse")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999"}
    error = refused(tar_of((member, b"1\n0\n1\n")), tmp_path)
    assert type(error) is errors.UnsupportedMember
    assert "sparse" in error.message


def test_folders_with_content(tmp_path: Path) -> None:
    for name, data, expected in (
        ("zip", zip_of(Raw("folder/", b"content")), errors.HeaderMismatch),
        ("zip-mode", zip_of(Raw("folder", b"", mode=0o040755)), errors.HeaderMismatch),
        ("zip-crc", zip_of(Raw("folder/", b"", 0, central={"crc": 7}, local={"crc": 7})), errors.CrcMismatch),
    ):
        (tmp_path / name).mkdir()
        assert type(refused(data, tmp_path / name)) is expected


def test_encrypted_members(tmp_path: Path) -> None:
    for name, raw in {
        "both": Raw("a", flags=1),
        "directory": Raw("a", central={"flags": 1}),
        "member": Raw("a", local={"flags": 1}),
        "strong": Raw("a", flags=0x41),
        "masked": Raw("a", flags=0x2001),
        "aes": Raw("a", method=99),
    }.items():
        (tmp_path / name).mkdir()
        assert type(refused(zip_of(Raw("good"), raw), tmp_path / name)) is errors.EncryptedMember


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_named(method: int, tmp_path: Path) -> None:
    error = refused(make_zip({"a": b"1"}, method), tmp_path)
    assert type(error) is errors.UnsupportedMethod
    assert {12: "bzip2", 14: "LZMA"}[method] in error.message


# --- links ----------------------------------------------------------------------------------------------------------

ESCAPES = {
    "absolute": [("l", "/etc/passwd")],
    "parent": [("l", "../beside")],
    "deep": [("d/l", "../../beside")],
    "through": [("d/l", "x/../../../beside")],
    "drive": [("l", "c:/windows")],
    "unc": [("l", "//server/share")],
    "backslash": [("l", "..\\beside")],
    "by another link": [("a/b/up", "../../c"), ("a/b/l", "up/../../beside")],
    "by another case": [("a/b/Up", "../../c"), ("a/b/l", "uP/../../beside")],
    "by another form": [("a/b/caf\u00e9", "../../c"), ("a/b/l", "cafe\u0301/../../beside")],
    "by a chain": [("d/e/one", "../../x"), ("d/e/two", "one"), ("d/e/three", "two/../../beside")],
    "reserved": [("l", "nul")],
    "newline": [("l", "a\nb")],
}


def with_links(kind: str, links: list[tuple[str, str]]) -> bytes:
    if kind == "zip":
        return zip_of(Raw("c/x"), *(Raw(path, target.encode(), mode=0o120777) for path, target in links))
    members = [(tar_member(path, tarfile.SYMTYPE, target), b"") for path, target in links]
    return tar_of((tar_member("c/x"), b"1"), *members)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("case", ESCAPES)
def test_links_that_leave_the_folder(case: str, kind: str, tmp_path: Path) -> None:
    error = refused(with_links(kind, ESCAPES[case]), tmp_path)
    assert type(error) is errors.EscapingLink
    assert repr(ESCAPES[case][-1][0]) in error.message


CIRCLES = {
    "itself": [("l", "l")],
    "each other": [("a", "b"), ("b", "a")],
    "root": [("c/up", "..")],
    "folder": [("c/d/up", "..")],
    "here": [("l", ".")],
    "chain": [(f"l{n}", f"l{n + 1}") for n in range(99)],
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("case", CIRCLES)
def test_links_that_lead_in_a_circle(case: str, kind: str, tmp_path: Path) -> None:
    assert type(refused(with_links(kind, CIRCLES[case]), tmp_path)) is errors.LinkLoop


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_through_a_link(kind: str, tmp_path: Path) -> None:
    link, below = ("l", ".."), "l/beside"
    if kind == "zip":
        data = zip_of(Raw(link[0], link[1].encode(), mode=0o120777), Raw(below))
    else:
        data = tar_of((tar_member(link[0], tarfile.SYMTYPE, link[1]), b""), (tar_member(below), b"evil"))
    assert type(refused(data, tmp_path)) is errors.FileAsFolder


def test_links_without_a_usable_target(tmp_path: Path) -> None:
    for name, data in {
        "empty": zip_of(Raw("l", b"", 0, 0o120777)),
        "binary": zip_of(Raw("l", b"\xff\xfe", mode=0o120777)),
        "long": zip_of(Raw("l", b"a/" * 3000, mode=0o120777)),
        "tar": tar_of((tar_member("l", tarfile.SYMTYPE, ""), b"")),
    }.items():
        (tmp_path / name).mkdir()
        assert type(refused(data, tmp_path / name)) is errors.BrokenLink


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/etc/passwd", errors.EscapingLink),
        ("../beside", errors.EscapingLink),
        ("c:/x", errors.EscapingLink),
        ("missing", errors.BrokenLink),
        ("later", errors.BrokenLink),
        ("folder", errors.BrokenLink),
        ("soft", errors.BrokenLink),
        ("hard", errors.BrokenLink),
    ],
)
def test_hard_links(target: str, expected: type[ArchiveError], tmp_path: Path) -> None:
    data = tar_of(
        (tar_member("folder", tarfile.DIRTYPE), b""),
        (tar_member("soft", tarfile.SYMTYPE, "folder"), b""),
        (tar_member("hard", tarfile.LNKTYPE, target), b""),
        (tar_member("later"), b"1"),
    )
    assert type(refused(data, tmp_path)) is expected


def test_links_through_links_are_worked_out_once(tmp_path: Path) -> None:
    links = [("l0", "c"), *((f"l{n + 1}", f"l{n}/../l{n}") for n in range(35))]  # 2 to the power of 35 steps otherwise
    unpack_bytes(with_links("tar", links), tmp_path / "out")


def test_a_link_to_a_path_that_is_too_deep(tmp_path: Path) -> None:
    assert type(refused(with_links("zip", [("l", "a/" * 300)]), tmp_path)) is errors.TooDeep


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that can't have symbolic links."""

    def refuse(target: str, path: str, *, to_folder: bool) -> None:
        raise NotImplementedError

    monkeypatch.setattr(fs, "symlink", refuse)


@pytest.mark.usefixtures("no_links")
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(members=500), errors.TooManyMembers),
        (Limits(total_size=50), errors.TooLarge),
        (Limits(depth=9), errors.TooDeep),
    ],
)
def test_copies_in_place_of_links_count(limits: Limits, expected: type[ArchiveError], tmp_path: Path) -> None:
    doubling = [(f"d{n + 1}/{side}", f"../d{n}") for n in range(30) for side in "ab"]
    data = with_links("tar", [("d0/x", "../c/x"), *doubling])
    assert type(refused(data, tmp_path, limits)) is expected


def test_copies_in_place_of_hard_links_count(tmp_path: Path) -> None:
    hard = [(tar_member(f"h{n}", tarfile.LNKTYPE, "a"), b"") for n in range(20)]
    data = tar_of((tar_member("a"), bytes(1000)), *hard)
    assert type(refused(data, tmp_path, Limits(total_size=10_000))) is errors.TooLarge


# --- limits ---------------------------------------------------------------------------------------------------------


def test_the_limits_are_those_that_were_promised() -> None:
    assert Limits() == Limits(members=500_000, depth=100, total_size=64 << 30, ratio=200, ratio_from=100 << 20)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_each_limit_holds_and_is_one(kind: str, tmp_path: Path) -> None:
    tree = {f"d/{n}": bytes(1000) for n in range(10)}
    data = make_zip(tree) if kind == "zip" else make_tar(tree, "w:gz")
    members = 10 if kind == "zip" else 12
    ratio = 10_000 // len(data) if kind == "zip" else len(gzip.decompress(data)) // len(data)
    cases: list[tuple[Limits, type[ArchiveError] | None]] = [
        (Limits(members=members), None),
        (Limits(members=members - 1), errors.TooManyMembers),
        (Limits(depth=2), None),
        (Limits(depth=1), errors.TooDeep),
        (Limits(total_size=30_000), None),
        (Limits(total_size=9_999), errors.TooLarge),
        (Limits(ratio=ratio + 1, ratio_from=0), None),
        (Limits(ratio=ratio - 1, ratio_from=9_000), errors.TooCompressed),
        (Limits(ratio=ratio - 1, ratio_from=30_000), None),
    ]
    for number, (limits, expected) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        if expected is None:
            unpack_bytes(data, folder / "out", limits=limits)
        else:
            assert type(refused(data, folder, limits)) is expected


def test_folders_count_too() -> None:
    names = Names(LABEL, Limits(members=3))
    names.add_file("a/b/c/f")
    with pytest.raises(errors.TooManyMembers):
        names.add_file("d/f")


def test_a_bomb_is_refused_before_it_fills_anything(tmp_path: Path, written: list[int]) -> None:
    lie: dict[str, Any] = {"size": 150 << 20}
    assert type(refused(zip_of(Raw("a", central=lie, local=lie)), tmp_path)) is errors.TooCompressed
    assert written == []
    packers: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress]
    for number, pack in enumerate(packers):
        (tmp_path / str(number)).mkdir()
        tar = tar_of((tar_member("a"), b"1")) + bytes(12 << 20)  # behind the last member
        assert type(refused(pack(tar), tmp_path / str(number), Limits(ratio_from=10 << 20))) is errors.TooCompressed
    assert written == [1, 1, 1]


def test_headers_of_a_tar_have_a_limit_too(tmp_path: Path) -> None:
    member = tar_member("a")
    member.pax_headers = {"comment": "x" * (2 << 20)}
    assert type(refused(tar_of((member, b"")), tmp_path)) is errors.DamagedArchive


def test_a_decompressor_that_wants_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_XZ_MEMORY", 1 << 20)
    error = refused(make_tar(mode="w:xz"), tmp_path)
    assert type(error) is errors.DamagedArchive
    assert "emory" in error.message


# --- the structure of a zip -----------------------------------------------------------------------------------------

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
    noise: int, tmp_path: Path, written: list[int]
) -> None:
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


def test_members_that_overlap_to_multiply(tmp_path: Path, written: list[int]) -> None:
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


def fix_checksum(data: bytearray, header: int) -> None:
    data[header + 148 : header + 156] = b" " * 8
    data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])


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


# --- something else -------------------------------------------------------------------------------------------------

OTHERS: dict[str, tuple[bytes, type[ArchiveError], str]] = {
    "nothing": (b"", errors.NotAnArchive, "empty"),
    "web page": (b"\n <!DOCTYPE html><html><body>Log in</body></html>", errors.NotAnArchive, "web page"),
    "old web page": (b"<HTML>", errors.NotAnArchive, "web page"),
    "json": (b'{"detail": "Not found"}', errors.NotAnArchive, '{"detail": "Not found"}'),
    "zeros": (bytes(20480), errors.NotAnArchive, "zeros"),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c" + bytes(600), errors.UnsupportedArchive, "7-Zip"),
    "rar": (b"Rar!\x1a\x07\1\0", errors.UnsupportedArchive, "RAR"),
    "zstd": (b"\x28\xb5\x2f\xfd....", errors.UnsupportedArchive, "Zstandard"),
    "parts": (b"PK\7\x08PK\3\4", errors.UnsupportedArchive, "several parts"),
    "program with a zip": (b"MZ\x90" + bytes(600) + make_zip(), errors.HiddenData, "self-extracting"),
    "gzip of a text": (gzip.compress(b"hello" * 500), errors.NotAnArchive, "gzip"),
    "gzip of little": (gzip.compress(b"hello"), errors.NotAnArchive, "gzip"),
    "bzip2 of a text": (bz2.compress(b"hello"), errors.NotAnArchive, "bzip2"),
    "xz of a text": (lzma.compress(b"hello"), errors.NotAnArchive, "xz"),
    "gzip of a zip": (gzip.compress(make_zip()), errors.NotAnArchive, "gzip"),
    "gzip and something else": (make_tar(mode="w:gz") + b"hidden", errors.HiddenData, "behind its end"),
    "gzip and a beginning": (make_tar(mode="w:gz") + b"\x1f", errors.TruncatedArchive, "gzip"),
    "half a zip": (make_zip()[:500], errors.TruncatedArchive, "500 bytes"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_files_that_are_something_else(case: str, tmp_path: Path) -> None:
    data, expected, words = OTHERS[case]
    error = refused(data, tmp_path)
    assert type(error) is expected
    assert words in error.message


def test_every_reason_has_a_test() -> None:
    """Each class of error that says why appears in this file."""
    text = Path(__file__).read_text(encoding="utf-8")
    reasons = {name for name, value in vars(errors).items() if isinstance(value, type) and value is not ArchiveError}
    bases = {"UnpackError", "UnsafeName", "Stopped"}
    assert {name for name in reasons - bases if f"errors.{name}" not in text} == set()
