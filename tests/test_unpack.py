"""Unpacking archives that are what they should be, in every form; modes and links; stopping, failing, flushing."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from ayon_async import deflate, fs
from ayon_async.devserver import noise, zip_bytes
from ayon_async.errors import StoreError, StoreFull
from ayon_async.unpack import Link, Member, Stopped, unpack
from unpack_samples import (
    EXECUTABLE,
    LABEL,
    TREE,
    Raw,
    make_streamed_zip,
    make_tar,
    make_zip,
    packed,
    read_tree,
    tar_member,
    tar_of,
    unpack_bytes,
    write_tree,
    zip_of,
)

TARS = ("w", "w:gz", "w:bz2", "w:xz")
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and links of POSIX")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# --- every form -----------------------------------------------------------------------------------------------------


def is_deflated(data: bytes) -> bool:
    """Whether there is anything to inflate in an archive."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(info.compress_type == zipfile.ZIP_DEFLATED for info in archive.infolist())
    return data.startswith(b"\x1f\x8b")


@pytest.mark.parametrize("library", deflate.LIBRARIES)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(make_zip(), id="zip"),
        pytest.param(make_zip(method=zipfile.ZIP_STORED), id="zip-stored"),
        pytest.param(make_streamed_zip(), id="zip-streamed"),
        pytest.param(make_streamed_zip(zip64=True), id="zip-streamed-zip64"),
        *[pytest.param(make_tar(mode=mode), id=f"tar-{mode}") for mode in TARS],
        *[pytest.param(make_tar(format=format), id=f"tar-format-{format}") for format in (0, 1, 2)],
    ],
)
def test_every_form_unpacks_to_the_same_tree(
    data: bytes, library: str, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library)
    inflater, crc32 = mock.Mock(wraps=module.decompressobj), mock.Mock(wraps=module.crc32)
    monkeypatch.setattr(deflate, "inflater", inflater)
    monkeypatch.setattr("ayon_async.unpack.folder.crc32", crc32)
    monkeypatch.setattr(deflate, "Error", module.error)

    unpacked = unpack_bytes(data, destination)

    assert crc32.called
    assert inflater.called or not is_deflated(data)
    assert read_tree(destination) == TREE
    assert set(unpacked.members) == {Member(path, len(data), zlib.crc32(data)) for path, data in TREE.items()}
    assert unpacked.links == ()


@pytest.mark.parametrize(
    ("format", "checked"), [("zip", True), ("tar", False), ("gztar", True), ("bztar", True), ("xztar", True)]
)
def test_what_shutil_makes_of_a_real_package(format: str, checked: bool, tmp_path: Path) -> None:
    package = Path(typer.__file__).parent
    file = shutil.make_archive(str(tmp_path / "archive"), format, package)

    with Path(file).open("rb") as archive:
        unpacked = unpack(archive, tmp_path / "out", name=LABEL)

    assert read_tree(tmp_path / "out") == read_tree(package)
    assert {member.path for member in unpacked.members} == set(read_tree(package))
    assert unpacked.content_checked is checked


def test_xz_without_a_check_is_not_called_checked(destination: Path) -> None:
    data = lzma.compress(make_tar(), check=lzma.CHECK_NONE)
    assert not unpack_bytes(data, destination).content_checked


def test_gzip_in_several_pieces_with_padding(destination: Path) -> None:
    tar = make_tar()
    data = gzip.compress(tar[:1000]) + gzip.compress(tar[1000:]) + bytes(512)
    assert unpack_bytes(data, destination).content_checked
    assert read_tree(destination) == TREE


def test_a_member_larger_than_the_window_is_streamed_in_little_memory(destination: Path) -> None:
    block = os.urandom(1 << 20)
    big = b"".join(bytes([n]) * (3 << 20) + block for n in range(6))  # 24 MiB, 6 of them dense
    tree = {"small": b"1", "big": big, "after": b"2"}
    for data in (make_zip(tree), make_zip(tree, zipfile.ZIP_STORED), make_tar(tree), make_tar(tree, "w:gz")):
        destination.with_suffix(".zip").write_bytes(data)
        tracemalloc.start()
        with destination.with_suffix(".zip").open("rb") as archive:
            unpack(archive, destination, name=LABEL, flush=False)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (destination / "big").read_bytes() == big
        assert (destination / "after").read_bytes() == b"2"
        assert peak < 10 << 20
        shutil.rmtree(destination)


def test_a_file_that_is_no_file_of_the_system(destination: Path) -> None:
    unpack(io.BytesIO(make_zip()), destination, name=LABEL)
    assert read_tree(destination) == TREE


def test_a_file_that_gives_less_than_it_is_asked_for(destination: Path) -> None:
    class Short(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 100))

    for data in (make_zip(), make_tar(mode="w:gz")):
        unpack(Short(data), destination, name=LABEL)
        assert read_tree(destination) == TREE
        shutil.rmtree(destination)


def test_zip64_end_record(destination: Path) -> None:
    plain = zip_of(Raw("a"))
    directory = plain.index(b"PK\1\2")
    size = len(plain) - 22 - directory
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, directory)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, directory + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    unpack_bytes(plain[:-22] + record + locator + end, destination)
    assert read_tree(destination) == {"a": b"content"}


def test_zip64_sizes_and_offset_in_the_directory(destination: Path) -> None:
    extra = struct.pack("<2H3Q", 1, 24, 7, len(packed(b"content")), 0)
    lie = 0xFFFFFFFF
    unpack_bytes(zip_of(Raw("a", central={"size": lie, "packed": lie, "offset": lie, "extra": extra})), destination)
    assert read_tree(destination) == {"a": b"content"}


@pytest.mark.parametrize("form", ["<3L", "<L2Q"])
@pytest.mark.parametrize("magic", [b"", b"PK\7\x08"])
def test_every_form_of_data_descriptor(magic: bytes, form: str, destination: Path) -> None:
    numbers = (zlib.crc32(b"content"), len(packed(b"content")), 7)
    zeros: dict[str, Any] = {"crc": 0, "packed": 0, "size": 0}
    unpack_bytes(zip_of(Raw("a", flags=8, local=zeros, descriptor=magic + struct.pack(form, *numbers))), destination)
    assert read_tree(destination) == {"a": b"content"}


def test_names_in_every_encoding_of_a_zip(destination: Path) -> None:
    raw = "é.txt".encode("cp437")
    better = b"\1" + struct.pack("<L", zlib.crc32(b"_.txt")) + "ж.txt".encode()
    stale = b"\1" + struct.pack("<L", 7) + b"../evil"
    data = zip_of(
        Raw(raw, central={"flags": 0}, local={"flags": 0}),
        Raw("ü.txt"),
        Raw("_.txt", central={"extra": struct.pack("<2H", 0x7075, len(better)) + better}),
        Raw("plain.txt", central={"extra": struct.pack("<2H", 0x7075, len(stale)) + stale}),
    )
    unpack_bytes(data, destination)
    assert set(read_tree(destination)) == {"é.txt", "ü.txt", "ж.txt", "plain.txt"}


def test_folders_may_be_empty_and_listed_twice(destination: Path) -> None:
    data = zip_of(
        Raw("a/", b"", 0),
        Raw("a/", b"", 0),
        Raw("a/b", b"x"),
        Raw("empty/", b"", 0, 0o040755),
        Raw("e", b"", packed=b""),
    )
    unpack_bytes(data, destination)
    assert read_tree(destination) == {"a/b": b"x", "e": b""}
    assert (destination / "empty").is_dir()


def test_archives_without_members(destination: Path) -> None:
    assert unpack_bytes(zip_of(comment=b"nothing"), destination).members == ()
    assert unpack_bytes(make_tar({}, "w:gz"), destination).members == ()
    assert list(destination.iterdir()) == []


def test_members_that_begin_with_a_dot_and_a_slash(destination: Path) -> None:
    unpack_bytes(tar_of((tar_member(".", tarfile.DIRTYPE), b""), (tar_member("./a"), b"1")), destination)
    assert read_tree(destination) == {"a": b"1"}


def test_paths_of_300_characters_and_100_levels(destination: Path) -> None:
    tree = {"folder-with-a-long-name/" * 12 + "file.py": b"1", "d/" * 99 + "f": b"2"}
    for data in (make_zip(tree), make_tar(tree), make_tar(tree, format=tarfile.GNU_FORMAT)):
        unpack_bytes(data, destination)
        assert read_tree(destination) == tree
        shutil.rmtree(destination)


# --- other programs' archives ---------------------------------------------------------------------------------------


@needs("zip")
@pytest.mark.parametrize("arguments", [("-r",), ("-r0",), ("-ry",), ("-rfd",), ("-rfz",)], ids=" ".join)
def test_info_zip(arguments: tuple[str, ...], tmp_path: Path, destination: Path) -> None:
    ascii_tree = {path: data for path, data in TREE.items() if path.isascii()}
    source = write_tree(tmp_path / "source", ascii_tree)
    (source / "link").symlink_to("package.py")
    subprocess.run(["zip", "-q", *arguments, "../a.zip", "."], cwd=source, check=True)

    unpack_bytes((tmp_path / "a.zip").read_bytes(), destination)

    assert (destination / "link").is_symlink() is ("y" in arguments[0])
    assert (destination / "link").read_bytes() == TREE["package.py"]
    (destination / "link").unlink()
    assert read_tree(destination) == ascii_tree
    assert mode(destination / EXECUTABLE) == 0o755


@needs("zip")
def test_info_zip_into_a_pipe(tmp_path: Path, destination: Path) -> None:
    ascii_tree = {path: data for path, data in TREE.items() if path.isascii()}
    source = write_tree(tmp_path / "source", ascii_tree)
    data = subprocess.run(["zip", "-q", "-r", "-", "."], cwd=source, check=True, stdout=subprocess.PIPE).stdout
    unpack_bytes(data, destination)
    assert read_tree(destination) == ascii_tree


@needs("tar")
@pytest.mark.parametrize("format", ["gnu", "oldgnu", "pax", "ustar", "v7"])
@pytest.mark.parametrize("packing", ["", "z", "j", "J"])
def test_system_tar(format: str, packing: str, tmp_path: Path, destination: Path) -> None:
    program = {"z": "gzip", "j": "bzip2", "J": "xz"}.get(packing, "tar")
    version = subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout
    if "GNU tar" not in version or shutil.which(program) is None:
        pytest.skip(f"GNU tar and {program} are not both installed")
    tree = {**TREE, "long/" * (24 if format in ("gnu", "oldgnu", "pax") else 8) + "name.txt": b"deep\n"}
    source = write_tree(tmp_path / "source", tree)
    (source / "soft").symlink_to("client/ayon_maya/addon.py")
    (source / "zhard").hardlink_to(source / "package.py")
    subprocess.run(
        ["tar", f"-c{packing}f", "../a.tar", f"--format={format}", "--sort=name", "."], cwd=source, check=True
    )

    unpacked = unpack_bytes((tmp_path / "a.tar").read_bytes(), destination)

    assert read_tree(destination) == {**tree, "zhard": TREE["package.py"]}
    assert unpacked.links == (Link("soft", "client/ayon_maya/addon.py"),)
    assert (destination / "soft").readlink() == Path("client/ayon_maya/addon.py")
    assert (destination / "zhard").stat().st_nlink == 1
    assert mode(destination / EXECUTABLE) == 0o755


# --- modes ----------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_modes_are_ours_whatever_the_archive_and_the_umask_say(
    kind: str, mask: int, tmp_path: Path, umask: Callable[[int], int]
) -> None:
    modes = {"plain": 0o600, "script": 0o4711, "open": 0o666, "all": 0o777}
    if kind == "zip":
        data = zip_of(*(Raw(f"d/{name}", mode=0o100000 | bits) for name, bits in modes.items()))
    else:
        data = tar_of(*((tar_member(f"d/{name}", mode=bits), b"x") for name, bits in modes.items()))
    umask(mask)

    unpack_bytes(data, tmp_path / "out")
    with (tmp_path / "shared.archive").open("w+b") as archive:
        archive.write(data)
        archive.flush()
        unpack(archive, tmp_path / "shared", name=LABEL, group_writable=True, flush=False)

    for folder, group in ((tmp_path / "out", 0), (tmp_path / "shared", 0o020)):
        assert mode(folder / "d") == 0o755 | group
        assert {name: mode(folder / "d" / name) for name in modes} == {
            "plain": 0o644 | group, "script": 0o755 | group, "open": 0o644 | group, "all": 0o755 | group,
        }  # fmt: skip


@posix
def test_a_set_group_bit_that_folders_inherit_stays(tmp_path: Path, umask: Callable[[int], int]) -> None:
    destination = tmp_path / "out"
    destination.mkdir()
    destination.chmod(0o2770)
    if not (destination.stat().st_mode & stat.S_ISGID):
        pytest.skip("this file system has no set-group bit for us")
    umask(0o077)
    unpack_bytes(make_zip({"a/b/c": b""}), destination)
    assert mode(destination / "a" / "b") == 0o2755
    assert mode(destination) == 0o2770


# --- links ----------------------------------------------------------------------------------------------------------


def linked(kind: str) -> bytes:
    """A framework as macOS has it: links to links, to folders, and to nothing."""
    links = {
        "Versions/Current": "A",
        "Tool": "Versions/Current/Tool",
        "Headers": "Versions/Current/Headers",
        "lib/up": "../Versions",
    }
    if kind == "zip":
        members = [Raw(path, target.encode(), 0, 0o120777) for path, target in links.items()]
        return zip_of(*members, Raw("Versions/A/Tool", b"tool", mode=0o100755), Raw("lib/x"))
    files = [(tar_member("Versions/A/Tool", mode=0o755), b"tool"), (tar_member("lib/x"), b"content")]
    return tar_of(*((tar_member(path, tarfile.SYMTYPE, target), b"") for path, target in links.items()), *files)


@posix
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_links_inside_the_folder(kind: str, destination: Path) -> None:
    unpacked = unpack_bytes(linked(kind), destination)
    assert (destination / "Tool").read_bytes() == b"tool"
    assert (destination / "lib" / "up" / "Current" / "Tool").read_bytes() == b"tool"
    assert {link.path: link.target for link in unpacked.links}["Tool"] == "Versions/Current/Tool"
    assert not (destination / "Headers").exists()  # it leads to nothing, inside
    assert {member.path for member in unpacked.members} == {"Versions/A/Tool", "lib/x"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "failure",
    [
        NotImplementedError(),
        OSError(errno.EINVAL, "A required privilege is not held by the client"),
        PermissionError(errno.EPERM, "no"),
    ],
    ids=["no-call", "windows", "fat"],
)
def test_links_are_copied_where_there_can_be_none(
    failure: Exception, kind: str, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(target: str, path: str, *, to_folder: bool) -> None:
        raise failure

    monkeypatch.setattr(fs, "symlink", refuse)
    unpacked = unpack_bytes(linked(kind), destination)

    files = {"Versions/A/Tool", "Versions/Current/Tool", "Tool", "lib/x", "lib/up/A/Tool", "lib/up/Current/Tool"}
    assert set(read_tree(destination)) == files
    assert unpacked.links == ()
    assert {member.path: member.crc32 for member in unpacked.members}["Tool"] == zlib.crc32(b"tool")
    assert {member.path for member in unpacked.members} == files
    if sys.platform != "win32":
        assert mode(destination / "Tool") == 0o755


# --- progress, stopping, failing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["one", "many", "tar"])
def test_progress_rises_to_one_about_once_a_mib(kind: str, destination: Path) -> None:
    block = os.urandom(1 << 18)
    if kind == "one":
        data = make_zip({"a": block * 20}, zipfile.ZIP_STORED)
    else:
        tree = {f"{n}.bin": block for n in range(20)}
        data = make_zip(tree) if kind == "many" else make_tar(tree, "w:gz")
    shares: list[float] = []
    unpack(io.BytesIO(data), destination, name=LABEL, on_progress=shares.append, flush=False)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5
    assert shares[-1] == 1.0
    assert len(data) >> 21 <= len(shares) <= (len(data) >> 20) + 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(make_zip({"a": bytes(64 << 20)}), id="zip-one"),
        pytest.param(make_zip({"a": bytes(64 << 20)}, zipfile.ZIP_STORED), id="zip-stored"),
        pytest.param(make_zip({f"{n}": bytes(1 << 16) for n in range(999)}), id="zip-many"),
        pytest.param(make_tar({"a": bytes(64 << 20)}, "w:gz"), id="tar-one"),
        pytest.param(make_tar({f"{n}": bytes(1 << 16) for n in range(999)}), id="tar-many"),
    ],
)
def test_stopping_in_the_middle_takes_a_mib_at_most_and_leaves_nothing(
    data: bytes, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    written = 0
    write = fs.write

    def count(fd: int, piece: bytes | bytearray | memoryview) -> None:
        nonlocal written
        if stop.is_set():
            written += len(piece)
        stop.set()
        write(fd, piece)

    monkeypatch.setattr(fs, "write", count)
    with pytest.raises(Stopped):
        unpack(io.BytesIO(data), destination, name=LABEL, stop=stop, flush=False)
    assert written <= 1 << 20
    assert not destination.exists()


def test_stopping_while_flushing_file_by_file(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    flushed: list[int] = []

    def flush(fd: int) -> None:
        flushed.append(fd)
        stop.set()

    monkeypatch.setattr(fs, "_find_syncfs", lambda: None)
    monkeypatch.setattr(fs, "flush", flush)
    with pytest.raises(Stopped):
        unpack(io.BytesIO(make_zip()), destination, name=LABEL, stop=stop)
    assert len(flushed) == 1
    assert not destination.exists()


def test_everything_is_flushed_after_the_last_write(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def recording(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            steps.append(name)
            return call(*args, **kwargs)

        return step

    for name in ("write", "make_folder", "open_new", "symlink", "flush_tree"):
        monkeypatch.setattr(fs, name, recording(name, getattr(fs, name)))
    unpack(io.BytesIO(linked("zip")), destination, name=LABEL)
    assert steps.count("flush_tree") == 1
    assert steps[-1] == "flush_tree"
    unpack(io.BytesIO(make_zip()), destination.with_name("other"), name=LABEL, flush=False)
    assert steps.count("flush_tree") == 1


def test_without_syncfs_every_file_and_folder_is_flushed(destination: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inodes: set[int] = set()
    monkeypatch.setattr(fs, "_find_syncfs", lambda: None)
    monkeypatch.setattr(fs, "flush", lambda fd: inodes.add(os.fstat(fd).st_ino))
    folders: set[Path] = set()
    monkeypatch.setattr(fs, "flush_folder", folders.add)
    unpack(io.BytesIO(linked("tar")), destination, name=LABEL)
    everything = [destination, *destination.rglob("*")]
    assert inodes == {path.stat().st_ino for path in everything if path.is_file() and not path.is_symlink()}
    assert folders == {path for path in everything if path.is_dir() and not path.is_symlink()}


@pytest.mark.parametrize(
    ("step", "number", "expected"),
    [
        ("write", errno.ENOSPC, StoreFull),
        ("open_new", errno.ENOSPC, StoreFull),
        ("write", errno.EIO, StoreError),
        ("make_folder", errno.EROFS, StoreError),
        ("flush_tree", errno.EIO, StoreError),
        ("symlink", errno.ENOSPC, StoreFull),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_failing_disk_is_told_and_nothing_stays(
    kind: str, step: str, number: int, expected: type[StoreError], destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fs, step, fail)
    with pytest.raises(expected, match=LABEL) as raised:
        unpack_bytes(linked(kind), destination, flush=True)
    assert raised.type is expected
    assert str(destination) in raised.value.message
    assert not destination.exists()


def test_a_failing_read_of_the_archive_is_told(destination: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 0:
                return super().read(size)
            raise OSError(errno.EIO, "broken")

    with pytest.raises(StoreError, match="broken"):
        unpack(Broken(make_zip()), destination, name=LABEL)


def test_a_folder_with_something_in_it_is_left_alone(destination: Path) -> None:
    destination.mkdir()
    (destination / "mine").write_text("1")
    with pytest.raises(FileExistsError):
        unpack(io.BytesIO(make_zip()), destination, name=LABEL)
    assert [path.name for path in destination.iterdir()] == ["mine"]


def test_an_empty_private_folder_is_used_as_it_is(destination: Path) -> None:
    destination.mkdir(mode=0o700)
    unpack_bytes(make_zip(), destination)
    assert read_tree(destination) == TREE
    assert sys.platform == "win32" or mode(destination) == 0o700


def test_two_archives_at_once(tmp_path: Path) -> None:
    trees = [{f"{n}/{k}.bin": os.urandom(5000) for k in range(300)} for n in range(2)]
    threads = [
        threading.Thread(target=unpack_bytes, args=(make_zip(tree), tmp_path / str(n))) for n, tree in enumerate(trees)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read_tree(tmp_path / str(n)) for n in range(2)] == trees


@pytest.mark.parametrize(("size", "helps"), [(4_000, 0), (40_000, 1)])
def test_another_thread_helps_only_where_members_are_worth_it(destination: Path, size: int, helps: int) -> None:
    asked = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
            asked.append(arguments)
            return super().submit(*arguments, **named)

    content = zip_bytes({f"folder/{number}.bin": noise(size, str(number)) for number in range(12_000_000 // size)})
    with Counting(1) as helpers:
        unpacked = unpack(io.BytesIO(content), destination, name=LABEL, helpers=helpers)
    assert len(asked) == helps
    assert len(unpacked.members) == len(list(destination.rglob("*.bin"))) == 12_000_000 // size
