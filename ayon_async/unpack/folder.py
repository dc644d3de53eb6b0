"""The folder that an archive is unpacked into: files, folders and links are made here, and only made, never changed."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ayon_async import fs
from ayon_async.deflate import crc32
from ayon_async.unpack import errors
from ayon_async.unpack.result import Member
from ayon_async.unpack.source import MIB

_NO_LINKS_HERE = frozenset(  # EINVAL is what Windows' "a required privilege is not held" comes as
    {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)


class Folder:
    """The destination of one archive; several threads may write into it.

    Paths given to it are relative, with ``/`` between the components, and already checked.

    Args:
        archive: What the caller calls the archive.
        root: The folder; made where it is missing, else empty.
        group_writable: Whether files and folders are writable for their group.
        withheld: As another process told that unpacks the archive too, and made the root; None where this one begins.

    Attributes:
        root: As given.
        withheld: The mode bits that this process's umask, or the file system, withholds from what is made here.

    Raises:
        OSError: It can't be made or read.
    """

    def __init__(self, archive: str, root: Path, *, group_writable: bool, withheld: int | None = None) -> None:
        self.root = root
        self._archive = archive
        self._folder_mode = 0o775 if group_writable else 0o755
        self._file_mode = 0o664 if group_writable else 0o644
        self._prefix = f"{root}{os.sep}"
        self._made = {""}
        self._making = threading.RLock()
        self.withheld = withheld or 0
        if withheld is None:
            self._begin()

    def _begin(self) -> None:
        first = self.root
        try:
            fs.make_folder(first, self._folder_mode)
        except FileNotFoundError:
            fs.make_folders(first, self._folder_mode)
        except FileExistsError:
            first = self.root / "probe"
            fs.make_folders(first, self._folder_mode)
        self.withheld = self._folder_mode & ~first.stat().st_mode
        if first is self.root:
            self._give_mode(first)
        else:
            fs.remove_tree(first)

    def know(self, paths: Iterable[str]) -> None:
        """Take these folders for made: another process that unpacks the archive too has made them."""
        self._made.update(paths)

    def make(self, path: str) -> None:
        """Make a folder and those that it lies in; one that was made before is fine.

        Raises:
            CollidingNames: This file system takes the name for that of another member.
            OSError: It can't be made.
        """
        with self._making:
            if path in self._made:
                return
            self.make(path.rpartition("/")[0])
            folder = self._locate(path)
            try:
                fs.make_folder(folder, self._folder_mode)
            except FileExistsError:
                raise self._collision(path) from None
            self._give_mode(folder)
            self._made.add(path)

    def _give_mode(self, folder: fs.StrPath) -> None:
        """Give a new folder the bits that were withheld."""
        if self.withheld & self._folder_mode:  # a set-group bit that it inherits has to stay
            fs.set_mode(folder, stat.S_IMODE(Path(folder).stat().st_mode) | self._folder_mode)

    def create(self, path: str, *, executable: bool) -> int:
        """Create a file and the folders that it lies in; returns its descriptor.

        Raises:
            CollidingNames: This file system takes the name for that of another member.
            OSError: It can't be made.
        """
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            self.make(parent)
        file = self._locate(path)
        mode = self._file_mode | 0o111 if executable else self._file_mode
        try:
            fd = fs.open_new(file, mode)
        except FileExistsError:
            raise self._collision(path) from None
        try:
            if self.withheld & mode:
                fs.set_mode(file, mode)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def write(self, path: str, pieces: Iterable[bytes | memoryview], *, executable: bool) -> Member:
        """Create a file with this content.

        Raises:
            CollidingNames: This file system takes the name for that of another member.
            OSError: It can't be made.
        """
        size = crc = 0
        fd = self.create(path, executable=executable)
        try:
            for piece in pieces:
                fs.write(fd, piece)
                crc = crc32(piece, crc)
                size += len(piece)
        finally:
            os.close(fd)
        return Member(path, size, crc)

    def copy(self, source: Path, path: str, check: Callable[[], None]) -> Member:
        """Create a file with the content and the executable bit of one written before; check is called once a MiB.

        Raises:
            CollidingNames: This file system takes the name for that of another member.
            OSError: One can't be read or the other not be made.
        """
        with source.open("rb", buffering=0) as original:
            executable = bool(os.fstat(original.fileno()).st_mode & 0o111)

            def pieces() -> Iterator[bytes]:
                while piece := original.read(MIB):
                    check()
                    yield piece

            return self.write(path, pieces(), executable=executable)

    def link(self, path: str, target: str, *, to_folder: bool) -> bool:
        """Make a symbolic link and the folders that it lies in; returns False where this system can't have links.

        Raises:
            CollidingNames: This file system takes the name for that of another member.
            OSError: It can't be made.
        """
        self.make(path.rpartition("/")[0])
        try:
            fs.symlink(target.replace("/", os.sep), self._locate(path), to_folder=to_folder)
        except FileExistsError:
            raise self._collision(path) from None
        except NotImplementedError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS_HERE:
                return False
            raise
        return True

    def _locate(self, path: str) -> str:
        return self._prefix + (path if os.sep == "/" else path.replace("/", os.sep))

    def _collision(self, path: str) -> errors.CollidingNames:
        return errors.CollidingNames(self._archive, "is another member's name too on this file system", path)
