"""Unpacks an archive into a folder: nothing in it is trusted, and either all of it arrives or nothing stays.

`unpack` finds out by the content what kind of archive it is. Zips are inflated by ISA-L where that is installed.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ayon_async import fs
from ayon_async.errors import AyonAsyncError, StoreError, StoreFull
from ayon_async.limits import Limits
from ayon_async.unpack import errors
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.errors import Stopped, UnpackError
from ayon_async.unpack.folder import Folder
from ayon_async.unpack.result import Link, Member, Unpacked
from ayon_async.unpack.source import Arrival, Meter, Source, Stop
from ayon_async.unpack.stream import COMPRESSIONS
from ayon_async.unpack.zip import Helpers, Team, help_unpack_zip, unpack_zip
from ayon_async.unpack.zip_directory import has_end_record

__all__ = ["Limits", "Link", "Member", "Stop", "Stopped", "UnpackError", "Unpacked", "help_unpack", "unpack"]

_ZIP = (b"PK\3\4", b"PK\5\6")  # with members, and without any
_UNSUPPORTED = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"\x1f\x9d", "a compress file"),
    (b"PK\7\x08", "one part of a zip in several parts"),
)
_HEAD = 512  # bytes: a tar's first block
_WEB_PAGE = (b"<!doctype html", b"<html")
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def unpack(
    archive: BinaryIO,
    destination: Path,
    *,
    name: str,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    on_progress: Callable[[float], None] | None = None,
    stop: Stop | None = None,
    group_writable: bool = False,
    flush: bool = True,
    helpers: Helpers | None = None,
    team: Team | None = None,
    arrival: Arrival | None = None,
) -> Unpacked:
    """Unpack a zip or tar (plain, gzip, bzip2, xz) into a folder; blocks, so call it in a thread.

    Folders get mode 0755; files 0644, or 0755 where the archive has an executable bit. Symbolic links are made only
    where they stay inside of the folder, and copied where the system can't have links; hard links are copied.
    When anything is raised, the destination is gone.

    Args:
        archive: The open archive, seekable; the same descriptor whose bytes were verified.
        destination: The folder; made where it is missing, else empty. Nobody else writes there meanwhile.
        name: What to call the archive in messages.
        limits: What is refused as too much.
        on_progress: Called in this thread, about once a MiB, with the share that is done, from 0 to 1.
        stop: Once it is set the work ends, within about a MiB.
        group_writable: Whether files and folders are writable for their group.
        flush: Whether everything is put on the device before this returns.
        helpers: Threads of which one may help with a large zip. This may run in one of them.
        team: Lets another process help with it instead, by `help_unpack`.
        arrival: Tells what is here of an archive that is still arriving; None where all of it is. Who gives one finds
            out that the archive is right before using what was unpacked.

    Raises:
        UnpackError: The archive is refused; its subclasses in `ayon_async.unpack.errors` say why.
        Stopped: `stop` was set.
        StoreFull: There is no room left.
        StoreError: The archive can't be read or the folder not be written.
        FileExistsError, NotADirectoryError: The destination is no empty folder; it stays as it is.
    """
    root = Path(fs.long_path(destination))  # what lies in it can have long paths too
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(errno.EEXIST, "the folder to unpack into is not empty", str(destination))
    with _all_or_nothing(name, root):
        source = Source(name, archive, arrival)
        meter = Meter(source.size, on_progress, stop)
        folder = Folder(name, root, group_writable=group_writable)
        unpacked = _unpack(source, folder, Budget(name, source.size, limits), meter, helpers, team)
        if flush:
            fs.flush_tree(root, meter.check)
        meter.finish()
    return unpacked


def help_unpack(
    archive: BinaryIO,
    destination: Path,
    *,
    name: str,
    limits: Limits,
    on_progress: Callable[[float], None],
    stop: Stop,
    group_writable: bool,
    withheld: int,
    team: Team,
) -> tuple[list[Member], dict[str, str]]:
    """Do a part of a zip that another process unpacks; see `unpack`. That one removes everything where this fails.

    Args:
        withheld: The mode bits that are withheld from what is made there, as that process found out.
        team: Says what our part is.

    Returns:
        What was written, and where links are to lead, by their paths.

    Raises:
        UnpackError: The archive is refused.
        Stopped: `stop` was set.
        OSError: The archive can't be read or the folder not be written.
    """
    source = Source(name, archive)
    folder = Folder(name, Path(fs.long_path(destination)), group_writable=group_writable, withheld=withheld)
    meter = Meter(source.size, on_progress, stop)
    return help_unpack_zip(source, folder, Budget(name, source.size, limits), meter, team)


def _unpack(
    source: Source, folder: Folder, budget: Budget, meter: Meter, helpers: Helpers | None, team: Team | None
) -> Unpacked:
    head = source.read_some(0, _HEAD)
    if head.startswith(_ZIP):
        return unpack_zip(source, folder, budget, meter, helpers, team)
    from ayon_async.unpack.tar import unpack_tar  # most archives are zips, and each process begins with its imports
    from ayon_async.unpack.tar_header import is_tar

    for compression in COMPRESSIONS:
        if head.startswith(compression.magic):
            return unpack_tar(source, compression, folder, budget, meter)
    if is_tar(head):
        return unpack_tar(source, None, folder, budget, meter)
    raise _not_supported(source, head)


def _not_supported(source: Source, head: bytes) -> UnpackError:
    """What to say of a file that is none of the archives that can be unpacked."""
    for magic, what in _UNSUPPORTED:
        if head.startswith(magic):
            return errors.UnsupportedArchive(source.name, f"is {what}, which is not supported")
    if not head.strip(b"\0"):
        what = "is empty" if not source.size else "begins with nothing but zeros"
        return errors.NotAnArchive(source.name, f"{what}; it should be a zip or tar")
    if head.lstrip().lower().startswith(_WEB_PAGE):
        return errors.NotAnArchive(source.name, "is a web page, not an archive")
    if has_end_record(source):
        return errors.HiddenData(source.name, "has other data before its zip, as self-extracting programs do")
    return errors.NotAnArchive(source.name, f"is no zip or tar; it begins with {head[:24]!r}")


@contextlib.contextmanager
def _all_or_nothing(name: str, destination: Path) -> Iterator[None]:
    """Removes what was unpacked when anything goes wrong, and explains what the operating system says."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # what failed first is the story; leftovers in staging are swept later
            fs.remove_tree(destination)
        if isinstance(error, UnicodeEncodeError):
            problem = "has a name that this system's encoding of file names does not have"
            raise errors.UndecodableName(name, problem, str(error.object)) from error
        if isinstance(error, OSError):
            raise _explain(error, name, destination) from error
        raise


def _explain(error: OSError, name: str, destination: Path) -> AyonAsyncError:
    if error.errno in _FULL:
        return StoreFull(f"{name}: no room left to unpack it to {destination}", "Free some space, then sync again.")
    if error.errno == errno.ENAMETOOLONG:
        return errors.NameTooLong(name, "is a longer path than this system takes", str(error.filename))
    hint = "Check the folder's device and permissions."
    return StoreError(f"{name}: can't be unpacked to {destination}: {error.strerror or error}", hint)
