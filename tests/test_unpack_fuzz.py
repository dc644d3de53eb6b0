"""Mutated real archives: each is refused, or unpacks to the names and bytes that Python's own modules see in it."""

from __future__ import annotations

import io
import re
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ayon_async.errors import ArchiveError
from ayon_async.unpack import Unpacked, unpack
from unpack_samples import Raw, make_streamed_zip, make_tar, make_zip, read_tree, tar_member, tar_of, zip_of

TREE = {
    "a.txt": b"first\n" * 40,
    "d/b.bin": bytes(range(256)),
    "d/e/ü.txt": b"x",
    "empty": b"",
    "d/z.txt": b"the last one\n" * 9,
}
ZIPS = (
    make_zip(TREE),
    make_zip(TREE, zipfile.ZIP_STORED),
    make_streamed_zip(TREE),
    make_streamed_zip(TREE, zip64=True),
    zip_of(
        Raw("d/", b"", 0, 0o040755),
        Raw("d/x", mode=0o100755),
        Raw("l", b"d/x", 0, 0o120777),
        comment=b"made by hand",
    ),
)
_LINKS = ((tar_member("soft", tarfile.SYMTYPE, "a.txt"), b""), (tar_member("hard", tarfile.LNKTYPE, "a.txt"), b""))
TARS = (
    make_tar(TREE),
    make_tar(TREE, format=tarfile.GNU_FORMAT),
    make_tar({"long/" * 30 + "name": b"1", "b": b"2" * 600}),
    make_tar({"long/" * 30 + "name": b"1", "b": b"2" * 600}, format=tarfile.GNU_FORMAT),
    tar_of((tar_member("a.txt"), b"1"), *_LINKS),
)
COMPRESSED = tuple(make_tar(TREE, mode) for mode in ("w:gz", "w:bz2", "w:xz"))
IN_PLACE = ("bit", "byte", "number", "name", "copy", "all")
MOVING = ("cut", "insert", "double", "end")
NUMBERS = (0, 1, 2, 8, 12, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
NAMES = (
    b"../x",
    b"/abs",
    b"a.txt",
    b"A.TXT",
    b"d",
    b"d/",
    b"nul",
    b"c:x",
    b"a\0b",
    b"l/x",
    b"\xff\xfe",
    b"path=../x\n",
)


def anchors(data: bytes) -> list[int]:
    """Where headers begin: a change there says more than one in the middle of data."""
    found = [
        match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07|\x07\x08)", data)
    ]
    return found or list(range(0, len(data), 512))


@st.composite
def mutated(draw: st.DrawFn, archives: tuple[bytes, ...]) -> bytes:
    """One of the archives with a few changes, most of them in headers."""
    data = archives[draw(st.integers(0, len(archives) - 1))]
    result = bytearray(data)
    heads = anchors(data)
    kinds = draw(st.sampled_from((IN_PLACE, IN_PLACE, IN_PLACE, (*IN_PLACE, *MOVING))))
    for _ in range(draw(st.integers(1, 3))):
        if not result:
            break
        head = draw(st.sampled_from(heads))
        in_header = st.integers(head, head + (530 if len(data) % 512 == 0 else 60))
        at = min(draw(in_header | st.integers(0, len(result) - 1)), len(result) - 1)
        size = draw(st.integers(1, 64) | st.sampled_from((512, 1024)))
        match draw(st.sampled_from(kinds)):
            case "bit":
                result[at] ^= 1 << draw(st.integers(0, 7))
            case "byte":
                result[at] = draw(st.integers(0, 255))
            case "number":
                width = draw(st.sampled_from((1, 2, 4, 8)))
                number = draw(st.sampled_from(NUMBERS) | st.integers(0, len(result)))
                result[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
            case "name":
                name = draw(st.sampled_from(NAMES))
                result[at : at + len(name)] = name
            case "cut":
                del result[at : at + size]
            case "insert":
                result[at:at] = draw(st.binary(min_size=1, max_size=30) | st.just(bytes(512)))
            case "double":
                result[at:at] = result[at : at + size]
            case "copy":
                other = draw(st.integers(0, len(result) - 1))
                piece = result[other : other + size]
                result[at : at + len(piece)] = piece
            case "end":
                del result[at:]
            case "all":  # the same change wherever the bytes are: in both headers of a member
                old = bytes(result[at : at + draw(st.integers(2, 6))])
                new = draw(st.binary(min_size=len(old), max_size=len(old)) | st.just(b"../../"[: len(old)]))
                result = result.replace(old, new)
    return bytes(result)


def mend(data: bytes) -> bytes:
    """Right checksums for all blocks of a tar that look like headers, so that changes get beyond them."""
    result = bytearray(data)
    for at in range(0, len(result) - 511, 512):
        if result[at + 257 : at + 262] == b"ustar":
            result[at + 148 : at + 156] = b" " * 8
            result[at + 148 : at + 156] = b"%06o\0 " % sum(result[at : at + 512])
    return bytes(result)


def plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def read_by_zipfile(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [
            info for info in archive.infolist() if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
        ]
        return {plain(info.filename): archive.read(info) for info in infos}


def read_by_tarfile(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if not member.issym() and (content := archive.extractfile(member)) is not None:
                found[plain(member.name)] = content.read()
    return found


@contextmanager
def small_steps(wanted: bool) -> Iterator[None]:
    """Makes small members take the way of large ones."""
    if not wanted:
        yield
        return
    with (
        patch("ayon_async.unpack.zip.MIB", 16),
        patch("ayon_async.unpack.zip_members.MIB", 16),
        patch("ayon_async.unpack.zip_members.AT_ONCE", 8),
        patch("ayon_async.unpack.stream.MIB", 512),
        patch("ayon_async.unpack.stream._CHUNK", 64),
    ):
        yield


def check(data: bytes, read: Callable[[bytes], dict[str, bytes]], stepwise: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        outside = Path(name)
        (outside / "beside").write_bytes(b"before")
        destination = outside / "in" / "out"
        destination.parent.mkdir()
        unpacked: Unpacked | None = None
        with small_steps(stepwise):
            try:
                unpacked = unpack(io.BytesIO(data), destination, name="mutated", flush=False)
            except ArchiveError:
                assert not destination.exists()
        assert {path.relative_to(outside).as_posix() for path in outside.glob("*")} == {"beside", "in"}
        assert [path.name for path in (outside / "in").iterdir()] == ([] if unpacked is None else ["out"])
        assert (outside / "beside").read_bytes() == b"before"
        if unpacked is not None:
            found = read_tree(destination)
            assert found == read(data)
            assert {member.path: member.size for member in unpacked.members} == {k: len(v) for k, v in found.items()}
            assert all(stat.S_IMODE(path.lstat().st_mode) in (0o644, 0o755, 0o777) for path in destination.rglob("*"))


def fuzz(zips: int, tars: int, compressed: int) -> None:
    common = settings(
        deadline=timedelta(seconds=5),  # what takes longer hangs
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        print_blob=True,
    )

    @settings(common, max_examples=zips)
    @given(mutated(ZIPS), st.booleans())
    def zip_case(data: bytes, stepwise: bool) -> None:
        check(data, read_by_zipfile, stepwise)

    @settings(common, max_examples=tars)
    @given(mutated(TARS), st.booleans(), st.booleans())
    def tar_case(data: bytes, mended: bool, stepwise: bool) -> None:
        check(mend(data) if mended else data, read_by_tarfile, stepwise)

    @settings(common, max_examples=compressed)
    @given(mutated(COMPRESSED), st.booleans())
    def compressed_case(data: bytes, stepwise: bool) -> None:
        check(data, read_by_tarfile, stepwise)

    zip_case()
    tar_case()
    compressed_case()


@pytest.mark.parametrize("data", [*ZIPS, *TARS, *COMPRESSED])
@pytest.mark.parametrize("stepwise", [False, True], ids=["at once", "stepwise"])
def test_unchanged_archives_pass_the_check(data: bytes, stepwise: bool) -> None:
    read = read_by_zipfile if data in ZIPS else read_by_tarfile
    check(data, read, stepwise)
    assert read(data)


def test_a_few_hundred_mutated_archives() -> None:
    fuzz(300, 200, 60)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_thousand_mutated_archives() -> None:
    fuzz(10_000, 7_500, 2_500)
