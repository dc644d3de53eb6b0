"""The one seam to the file system: every change that the store, the transfers and the unpacking make goes through it.

Call these as ``fs.rename(...)``, never import them by name: tests replace single functions here to record the order of
steps, to fail them, or to stop the process at them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_O_BINARY = getattr(os, "O_BINARY", 0)
_O_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_O_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_O_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY | _O_NOFOLLOW | _O_CLOEXEC
_PART_FILE = os.O_RDWR | os.O_CREAT | _O_BINARY | _O_NOFOLLOW | _O_CLOEXEC
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
_NO_COPY_HERE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM})
_COPY_IN_KERNEL = 16 << 20
_COPY = 1 << 20
_SHARING_VIOLATIONS = frozenset({5, 32, 33})
_BLOCKED_SECONDS, _POLL = 2.0, 0.02
_READ = 1 << 16
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")

StrPath = str | os.PathLike[str]  # strings spare the making of a Path where there are thousands of files


def long_path(path: StrPath) -> str:
    r"""The path as the operating system takes it at any length (``\\?\`` on Windows)."""
    text = os.fspath(path)
    if sys.platform != "win32" or text.startswith("\\\\?\\"):
        return text
    text = os.path.abspath(text)
    return "\\\\?\\UNC\\" + text[2:] if text.startswith("\\\\") else "\\\\?\\" + text


def open_new(path: StrPath, mode: int = 0o644) -> int:
    """Create a file that must not exist yet, without following a link; returns its descriptor."""
    return os.open(long_path(path), _NEW_FILE, mode)


def open_to_read(path: StrPath) -> int:
    """Open a file, never through a link and without waiting, whatever it turns out to be; returns its descriptor."""
    return os.open(long_path(path), os.O_RDONLY | _O_BINARY | _O_NOFOLLOW | _O_CLOEXEC | _O_NONBLOCK)


def read_small(path: Path) -> bytes:
    """What is in a small file, which must not be a link."""
    fd = open_to_read(path)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def read(path: StrPath) -> bytes:
    """What is in a file, in few calls to the operating system: every item has several files that are read so."""
    fd = os.open(long_path(path), os.O_RDONLY | _O_BINARY | _O_CLOEXEC)
    try:
        pieces = []
        while piece := os.read(fd, _READ):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def open_part(path: Path) -> int:
    """Open a file for reading and writing, private to this user, created where missing, never through a link.

    One that another user left in a folder that both may write is removed, since it can't be gone on with.
    """
    try:
        return os.open(long_path(path), _PART_FILE, 0o600)
    except PermissionError:
        remove(path)
        return os.open(long_path(path), _PART_FILE, 0o600)


def open_lease(path: Path) -> int:
    """Open a file that is there for reading and writing, never through a link."""
    return os.open(long_path(path), os.O_RDWR | _O_BINARY | _O_NOFOLLOW | _O_CLOEXEC)


def write(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of data at the descriptor's position.

    Raises:
        OSError: The device is full or broken.
    """
    written = 0
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:] if written else data)


def write_at(fd: int, data: bytes | bytearray | memoryview, position: int, lock: threading.Lock) -> None:
    """Write all of data at a position of the file; several threads may, sharing the lock where the platform needs it.

    Raises:
        OSError: The device is full or broken.
    """
    view = memoryview(data)
    if sys.platform == "win32":
        with lock:
            os.lseek(fd, position, os.SEEK_SET)
            write(fd, view)
        return
    while view:
        count = os.pwrite(fd, view, position)
        view, position = view[count:], position + count


def read_at(fd: int, count: int, position: int) -> bytes:
    """Up to count bytes from a position of the file; on Windows under the lock that `write_at` takes."""
    if sys.platform == "win32":
        os.lseek(fd, position, os.SEEK_SET)
        return os.read(fd, count)
    return os.pread(fd, count, position)


def copy(source: int, fd: int, before_each: Callable[[], None] = lambda: None) -> None:
    """Copy one open file's rest to another one: by the file system itself where it can, which may cost no room at all.

    Args:
        source: Descriptor of the file to read.
        fd: Descriptor of the file to write.
        before_each: Called before each step of a few MiB; may raise to end it.
    """
    in_kernel = hasattr(os, "copy_file_range")
    while True:
        before_each()
        if in_kernel:
            try:
                if not os.copy_file_range(source, fd, _COPY_IN_KERNEL):
                    return
                continue
            except OSError as error:
                if error.errno not in _NO_COPY_HERE:
                    raise
                in_kernel = False
        data = os.read(source, _COPY)
        if not data:
            return
        write(fd, data)


def flush(fd: int) -> None:
    """Put what was written to the file on the device."""
    os.fsync(fd)


def write_new(path: Path, data: bytes, mode: int = 0o644, *, flushed: bool = True) -> None:
    """Create a small file that must not exist yet, of just this mode, on the device if it is to be flushed."""
    fd = open_new(path, mode)
    try:
        if sys.platform != "win32" and mode & ~os.fstat(fd).st_mode:
            set_mode(path, mode)  # the umask withheld some of it
        write(fd, data)
        if flushed:
            flush(fd)
            _flush_device(fd)
    finally:
        os.close(fd)


def _flush_device(fd: int) -> None:
    """Put everything that was flushed before on the medium as well: macOS leaves that to the device, in any order."""
    if sys.platform != "darwin":
        return
    import fcntl

    with contextlib.suppress(OSError):  # some file systems, as those of the network, have no such thing
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)


def write_first(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Create a small file whole: whoever is first wins, and nobody ever reads a part of it.

    Raises:
        FileExistsError: Somebody else was first.
    """
    _by_a_temporary(path, data, mode, True, _give_name)


def write_atomic(path: Path, data: bytes, mode: int = 0o644, *, flushed: bool = True) -> None:
    """Replace a small file by one rename; readers see the old or the new content, never a part."""
    _by_a_temporary(path, data, mode, flushed, replace)


def _by_a_temporary(path: Path, data: bytes, mode: int, flushed: bool, finish: Callable[[Path, Path], None]) -> None:
    for last in (False, True):
        temporary = temporary_name(path)
        try:
            write_new(temporary, data, mode, flushed=flushed)
            finish(temporary, path)
            return
        except FileNotFoundError:
            if last:  # else another process took it for one that was left behind
                raise
        except BaseException:
            with contextlib.suppress(OSError):  # what failed first is the story
                remove(temporary)
            raise


def _give_name(temporary: Path, path: Path) -> None:
    """Rename where there is no file of that name yet."""
    if sys.platform == "win32":
        rename(temporary, path)  # does not replace there
        return
    try:
        link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS or os.path.lexists(path):
            raise
        rename(temporary, path)  # the next best: who is second within the same moment wins
    else:
        remove(temporary)


def temporary_name(path: Path) -> Path:
    """Where to write what is to become this file; a name of its own each time."""
    return path.with_name(f".{path.name}.{os.urandom(16).hex()}.tmp")


def find_temporaries(folder: Path) -> list[Path]:
    """Files in a folder that killed processes left, and such that are being written just now."""
    try:
        return [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:  # not there, or another user's
        return []


def flush_folder(path: Path) -> None:
    """Put a folder's entries on the device, where the platform knows such a thing."""
    if sys.platform == "win32":
        return
    fd = open_folder(path)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def flush_tree(root: Path, before_each: Callable[[], None]) -> None:
    """Put a folder with all that is in it on the device.

    Linux does it in one call for the whole file system, many times faster than file by file.

    Args:
        root: The folder.
        before_each: Called before each file, where it goes file by file; may raise to end it.
    """
    if not flush_file_system(root):
        flush_files(root, before_each)


def flush_files(root: Path, before_each: Callable[[], None] = lambda: None) -> None:
    """Put a folder with all that is in it on the device, file by file."""

    def fail(error: OSError) -> None:
        raise error

    for folder, _, files in os.walk(long_path(root), onerror=fail):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                continue
            before_each()
            fd = os.open(path, (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY) | _O_BINARY | _O_CLOEXEC)
            try:
                flush(fd)
            finally:
                os.close(fd)
        flush_folder(Path(folder))


def can_flush_file_systems() -> bool:
    """Whether `flush_file_system` can be more than a wish."""
    return sys.platform == "linux" and _find_syncfs() is not None


def flush_file_system(folder: Path, fd: int | None = None) -> bool:
    """Flush the file system that a folder is on; returns False where the platform can't.

    Args:
        folder: Any folder of it.
        fd: Descriptor of the folder, see `open_folder`; one is opened where None.

    Raises:
        OSError: Something could not be written since the descriptor was opened. Who opens one later may not be told.
    """
    syncfs = _find_syncfs() if sys.platform == "linux" else None
    if syncfs is None:
        return False
    own = open_folder(folder) if fd is None else fd
    try:
        code = syncfs(own)
    finally:
        if fd is None:
            os.close(own)
    if code not in (0, errno.ENOSYS):
        raise OSError(code, os.strerror(code), str(folder))
    return code == 0


def open_folder(path: Path) -> int:
    """Open a folder, for what its file system is asked for; returns its descriptor. Windows can't."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | _O_CLOEXEC)


@functools.cache
def _find_syncfs() -> Callable[[int], int] | None:
    """The C library's syncfs, returning the error's number or 0; None where it has none."""
    import ctypes  # only here: it costs every start some milliseconds

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return None
    return lambda fd: ctypes.get_errno() if call(fd) else 0


def set_mode(path: StrPath, mode: int) -> None:
    """Set the permission bits of a file or folder."""
    os.chmod(long_path(path), mode)


def set_time(path: StrPath, fd: int, seconds: int) -> None:
    """Set when an open file was last written to, in seconds since the epoch; by its name where it has to be."""
    os.utime(fd if os.utime in os.supports_fd else long_path(path), (seconds, seconds))


def make_folder(path: StrPath, mode: int = 0o755) -> None:
    """Make one folder that must not exist yet."""
    os.mkdir(long_path(path), mode)


def private_mode() -> int:
    """The mode of a folder that is this user's alone, and that things are renamed out of.

    On Windows its place decides: there Python gives the mode 0700 rights of its own, which all that is made in the
    folder inherits and keeps, also where others should read it later.
    """
    return 0o755 if sys.platform == "win32" else 0o700


def make_folders(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents where they are missing; the parents are never writable for others than the owner.

    Raises:
        OSError: They can't be made; also where something else has the name.
    """
    if os.path.isdir(long_path(path)):
        return
    try:
        try:
            make_folder(path, mode)
        except FileNotFoundError:
            if path.parent == path:  # a drive that is not there
                raise
            make_folders(path.parent)
            make_folder(path, mode)
    except FileExistsError:
        if not os.path.isdir(long_path(path)):
            raise


def rename(source: Path, destination: Path) -> None:
    """Rename a file or folder to a name that must not exist."""
    os.rename(long_path(source), long_path(destination))


def replace(source: Path, destination: Path) -> None:
    """Rename a file over another one."""
    _patiently(os.replace, long_path(source), long_path(destination))


def link(path: Path, name: Path) -> None:
    """Give a file a second name, which must not exist; for small files of ours only, never for what people may edit."""
    os.link(long_path(path), long_path(name))


def symlink(target: str, path: StrPath, *, to_folder: bool = False) -> None:
    """Make a symbolic link; Windows has to be told whether it leads to a folder."""
    os.symlink(target, long_path(path), target_is_directory=to_folder)


def remove(path: Path) -> None:
    """Remove a file; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        _patiently(os.unlink, long_path(path))


def is_open_elsewhere(error: OSError) -> bool:
    """Whether Windows refuses because another program, or another thread, has the file open."""
    return getattr(error, "winerror", None) in _SHARING_VIOLATIONS


def _patiently(change: Callable[..., None], *paths: str) -> None:
    """Change a small file, trying again for a moment where a scanner or a reader has it open."""
    end = time.monotonic() + _BLOCKED_SECONDS
    while True:
        try:
            change(*paths)
            return
        except OSError as error:
            if not is_open_elsewhere(error) or time.monotonic() >= end:
                raise
        time.sleep(_POLL)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, or a file or link of that name; one that is not there is fine."""
    if not os.path.isdir(long_path(path)) or os.path.islink(long_path(path)):
        remove(path)
        return
    import shutil  # only here: it costs every start of a process some milliseconds

    with contextlib.suppress(FileNotFoundError):
        if sys.version_info >= (3, 12):
            shutil.rmtree(long_path(path), onexc=lambda _, name, error: _remove_closed(name, error))
        else:
            shutil.rmtree(long_path(path), onerror=lambda _, name, info: _remove_closed(name, info[1]))


def _remove_closed(path: str, error: BaseException) -> None:
    """Remove a folder that can't be looked into: another user of the group was killed before opening it for the group.

    It is empty then, and who may write in the folder above may remove it. What somebody else removed is fine.
    """
    if isinstance(error, FileNotFoundError):
        return
    try:
        os.rmdir(path)
    except OSError:
        raise error from None
