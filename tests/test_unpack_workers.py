"""Processes that unpack: the same result as in a thread, whatever happens to them."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ayon_async import fs, install
from ayon_async.devserver import DevServer, noise, zip_bytes
from ayon_async.errors import StoreError
from ayon_async.limits import Limits
from ayon_async.unpack import Stopped, Unpacked, UnpackError, unpack, workers
from ayon_async.unpack.workers import Workers
from studios import leftovers, studio
from transfer_bench import run
from unpack_samples import TREE, make_tar, make_zip, read_tree

MIB = 1 << 20
LARGE = {f"deep/er{number % 5}/{number}.bin": noise(MIB // 2, f"member {number}") for number in range(40)}
LABEL = "addon maya 1.2.0"


class Threads(ThreadPoolExecutor):
    """Counts what was done besides."""

    def __init__(self) -> None:
        super().__init__(2)
        self.helps: list[Future[Any]] = []

    def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
        self.helps.append(super().submit(*arguments, **named))
        return self.helps[-1]


@pytest.fixture
def threads() -> Iterator[Threads]:
    with Threads() as threads:
        yield threads


@pytest.fixture
def pool() -> Iterator[Workers]:
    with Workers(2, background=False) as pool:
        yield pool


def linked_zip() -> bytes:
    """A large zip with an empty folder, a program, and links before and behind the middle."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("empty/", b"")
        for number, (name, content) in enumerate(LARGE.items()):
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if number == 3 else 0o644) << 16
            archive.writestr(info, content)
            if number in (1, 38):
                link = zipfile.ZipInfo(f"link{number}")
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(link, name)
    return made.getvalue()


def by_workers(
    pool: Workers,
    path: Path,
    destination: Path,
    threads: Threads | None = None,
    told: Callable[[float], None] = lambda share: None,
    stop: threading.Event | None = None,
    *,
    group_writable: bool = False,
) -> Unpacked:
    with path.open("rb", buffering=0) as archive:
        return pool.unpack(
            archive, path, destination, name=LABEL, limits=Limits(), on_progress=told, stop=stop or threading.Event(),
            group_writable=group_writable, helpers=threads,
        )  # fmt: skip


def by_thread(path: Path, destination: Path, *, group_writable: bool = False) -> Unpacked:
    with path.open("rb") as archive:
        return unpack(archive, destination, name=LABEL, group_writable=group_writable)


def tree(folder: Path) -> dict[str, object]:
    """Everything below, with modes and targets."""
    return {
        path.relative_to(folder).as_posix(): (
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
            path.lstat().st_mode,
        )
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("content", [make_zip(), linked_zip(), make_tar(mode="w:gz")], ids=["zip", "large zip", "tar"])
@pytest.mark.parametrize("group_writable", [False, True])
def test_the_same_as_in_a_thread(
    content: bytes, group_writable: bool, pool: Workers, threads: Threads, tmp_path: Path
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    before = os.umask(0o077)
    try:
        expected = by_thread(path, tmp_path / "thread", group_writable=group_writable)
        with Workers(2, background=False) as strict:  # with this umask
            found = by_workers(strict, path, tmp_path / "worker", threads, group_writable=group_writable)
    finally:
        os.umask(before)
    assert found == expected
    assert tree(tmp_path / "worker") == tree(tmp_path / "thread")


def test_two_processes_share_a_large_zip(pool: Workers, threads: Threads, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(linked_zip())
    shares, both = list[float](), threading.Barrier(2)

    def meet(share: float) -> None:
        if share < 1:
            both.wait(20)

    with ThreadPoolExecutor(2) as two:  # both have been started when they shall share
        (tmp_path / "other").write_bytes(zip_bytes({"one.bin": noise(MIB * 3 // 2, "one")}))
        list(two.map(lambda name: by_workers(pool, tmp_path / "other", tmp_path / name, None, meet), "ab"))
    found = by_workers(pool, path, tmp_path / "out", threads, shares.append)
    (helped,) = threads.helps
    assert 0 < len(helped.result().members) < len(LARGE)
    assert len(found.members) == len(LARGE)
    assert shares[-1] == 1.0
    assert len(shares) > 10


def test_one_process_takes_one_archive_after_the_other(pool: Workers, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(make_zip())
    for number in range(20):
        by_workers(pool, path, tmp_path / str(number))
        assert read_tree(tmp_path / str(number)) == TREE
    assert len(children()) == 1


@pytest.mark.parametrize("large", [False, True])
def test_a_bad_archive_is_refused_in_the_same_words(
    large: bool, pool: Workers, threads: Threads, tmp_path: Path
) -> None:
    path = tmp_path / "archive"
    good = zip_bytes(LARGE) if large else make_zip()
    middle = good.index(b"deep/er3/33.bin" if large else b"PK\3\4", 100) + 20_000 if large else 45
    path.write_bytes(good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :])
    with pytest.raises(UnpackError) as expected:
        by_thread(path, tmp_path / "thread")
    with pytest.raises(UnpackError) as found:
        by_workers(pool, path, tmp_path / "worker", threads)
    assert str(found.value) == str(expected.value)
    assert not (tmp_path / "worker").exists()
    path.write_bytes(good)  # and the processes go on
    by_workers(pool, path, tmp_path / "worker", threads)
    assert 1 <= len(children()) <= (2 if large else 1)  # a second one where it is quick enough to help


@pytest.mark.parametrize("alone", [False, True])
def test_stopping_takes_a_moment_and_leaves_nothing(
    alone: bool, pool: Workers, threads: Threads, tmp_path: Path
) -> None:
    path, stop, since = tmp_path / "archive", threading.Event(), list[float]()
    path.write_bytes(zip_bytes({**LARGE, "one.bin": bytes(400 * MIB)}))

    def told(share: float) -> None:
        since.append(time.monotonic())
        stop.set()

    with pytest.raises(Stopped):
        by_workers(pool, path, tmp_path / "out", None if alone else threads, told, stop)
    assert time.monotonic() - since[0] < 2
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_process_is_made_up_for(which: int, pool: Workers, threads: Threads, tmp_path: Path) -> None:
    path, killed, turn = tmp_path / "archive", list[int](), threading.Lock()
    path.write_bytes(linked_zip())

    def told(share: float) -> None:
        with turn:  # two threads tell
            if share > 0.3 and not killed and len(there := children()) == 2:
                killed.append(there[which])
                os.kill(killed[0], signal.SIGKILL)

    found = by_workers(pool, path, tmp_path / "out", threads, told)
    assert killed
    assert found == by_thread(path, tmp_path / "thread")
    assert tree(tmp_path / "out") == tree(tmp_path / "thread")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_what_is_left_of_the_processes_goes_on(
    pool: Workers, threads: Threads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed helps no more, and that is no reason to throw away what another one unpacks."""
    path = tmp_path / "archive"
    path.write_bytes(linked_zip())
    pool.start(2)
    os.kill(pool._idle[-1]._process.pid, signal.SIGKILL)
    by_workers(pool, path, tmp_path / "first", threads)
    in_threads: list[Path] = []
    monkeypatch.setattr(workers, "unpack", lambda archive, destination, **named: in_threads.append(destination))
    found = by_workers(pool, path, tmp_path / "second", threads)
    assert in_threads == []
    assert found == by_thread(path, tmp_path / "thread")
    assert tree(tmp_path / "second") == tree(tmp_path / "thread")


def test_what_can_not_be_removed_fails_the_item_alone(
    pool: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive"
    path.write_bytes(zip_bytes({"../out.bin": b"x"}))

    def blocked(path: Path) -> None:
        raise PermissionError(errno.EACCES, "The process cannot access the file")

    monkeypatch.setattr(fs, "remove_tree", blocked)
    with pytest.raises(StoreError):
        by_workers(pool, path, tmp_path / "out")


def test_what_was_verified_is_unpacked_whatever_has_its_name(pool: Workers, tmp_path: Path) -> None:
    path, other = tmp_path / "archive", tmp_path / "other"
    path.write_bytes(make_zip({"right.txt": b"right"}))
    other.write_bytes(make_zip({"wrong.txt": b"wrong"}))
    with path.open("rb", buffering=0) as archive:
        other.replace(path)
        pool.unpack(
            archive, path, tmp_path / "out", name=LABEL, limits=Limits(), on_progress=lambda share: None,
            stop=threading.Event(), group_writable=False, helpers=None,
        )  # fmt: skip
    assert read_tree(tmp_path / "out") == {"right.txt": b"right"}


@pytest.mark.parametrize("executable", ["", "/usr/bin/maya", "/nowhere/python3"])
def test_without_a_python_to_start(executable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    path = tmp_path / "archive"
    path.write_bytes(make_zip())
    with Workers(2, background=False) as pool:
        pool.start(1)
        by_workers(pool, path, tmp_path / "out")
    assert read_tree(tmp_path / "out") == TREE


def test_processes_end_with_the_pool(tmp_path: Path) -> None:
    with Workers(2, background=True) as pool:
        pool.start(2)
        assert len(children()) == 2
    assert not children()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_processes_end_with_the_program(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(linked_zip())
    script = f"""
        import os, signal, threading
        from pathlib import Path
        from ayon_async.limits import Limits
        from ayon_async.unpack.workers import Workers

        def told(share):
            if share > 0.3:
                listed = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text()
                print(listed, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)

        path = Path({str(path)!r})
        with Workers(2, background=False) as pool, path.open("rb", buffering=0) as archive:
            pool.start(1)  # by the main thread, whose children are listed
            pool.unpack(archive, path, Path({str(tmp_path / "out")!r}), name="x", limits=Limits(), on_progress=told,
                        stop=threading.Event(), group_writable=False, helpers=None)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    (worker,) = map(int, done.stdout.split())
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(worker)


@pytest.mark.parametrize("processes", [False, True])
async def test_a_sync_whose_archives_are_unpacked_by_processes(
    processes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = list[Path]()
    plain = workers.Workers.unpack

    def seen(self: Workers, archive: Any, path: Path, *arguments: Any, **named: Any) -> Unpacked:
        started.append(path)
        return plain(self, archive, path, *arguments, **named)

    monkeypatch.setattr(workers.Workers, "unpack", seen)
    if processes:
        monkeypatch.setattr(install, "_WORTH_PROCESSES", 1)
    contents = {"maya 1.2.0": zip_bytes(LARGE), "tiny 1.0.0": zip_bytes({"small.txt": b"small"})}
    async with DevServer(studio(contents)) as server:
        report = await run(server, tmp_path)
        assert report.ok, report
    assert len(started) == (1 if processes else 0)
    installed = read_tree(tmp_path / "addons" / "maya_1.2.0")
    assert {name: content for name, content in installed.items() if name in LARGE} == LARGE
    assert leftovers(tmp_path) == []
    assert not children()


def children() -> list[int]:
    """Processes of ours that run."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "unpack.worker" in line]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nobody_helps_while_other_archives_want_the_threads(tmp_path: Path) -> None:
    class Wanted(Threads):
        asked = 0

        def submit(self, *arguments: Any, **named: Any) -> Any:
            self.asked += 1

    path = tmp_path / "archive.zip"
    path.write_bytes(zip_bytes({f"{number}.bin": noise(1 << 20, str(number)) for number in range(12)}))
    with Workers(2, background=False) as pool, Wanted() as threads:
        unpacked = by_workers(pool, path, tmp_path / "out", threads)
    assert unpacked == by_thread(path, tmp_path / "again")
    assert threads.asked > 1, "it is asked again: they may have become free"
    assert tree(tmp_path / "out") == tree(tmp_path / "again")
