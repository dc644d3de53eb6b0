"""Archives that must not be unpacked: each is refused for its own reason, by name, and nothing of it stays."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs
from ayon_async.errors import ArchiveError
from ayon_async.unpack import Limits, errors, stream
from ayon_async.unpack.names import Names
from unpack_refusals import lengths_written, refused
from unpack_samples import (
    LABEL,
    Raw,
    fix_checksum,
    make_tar,
    make_zip,
    tar_member,
    tar_of,
    unpack_bytes,
    zip_of,
)

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


def test_a_bomb_is_refused_before_it_fills_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = lengths_written(monkeypatch)
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
    """Each class of error that says why appears in one of the files about what is refused."""
    files = (Path(__file__).with_name(f"test_unpack_{what}.py") for what in ("hostile", "names", "structure"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    reasons = {name for name, value in vars(errors).items() if isinstance(value, type) and value is not ArchiveError}
    bases = {"UnpackError", "UnsafeName", "Stopped"}
    assert {name for name in reasons - bases if f"errors.{name}" not in text} == set()
