"""Names in archives that no store may hold: each is refused for its own reason, and nothing of the archive stays."""

from __future__ import annotations

import struct
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from ayon_async import fs
from ayon_async.unpack import Limits, errors
from ayon_async.unpack.names import Names, fold
from unpack_refusals import refused
from unpack_samples import (
    LABEL,
    Raw,
    fix_checksum,
    make_zip,
    tar_member,
    tar_of,
    unpack_bytes,
    zip_of,
)

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
