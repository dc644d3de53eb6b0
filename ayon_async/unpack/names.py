"""Which names a member may have: those that every platform can hold and none can misread, since a store can move."""

from __future__ import annotations

import re
import unicodedata

from ayon_async.limits import Limits
from ayon_async.unpack import errors

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff\\<>:"|?*]')
_PORTS = [port + digit for port in ("COM", "LPT") for digit in "123456789¹²³"]
_RESERVED = frozenset(["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", *_PORTS])
_RESERVED_BEGINNINGS = frozenset(name[:3] for name in _RESERVED)  # few names have one, and all names are looked at
_LONGEST = 255  # bytes of a component: what ext4, xfs and NFS take; NTFS and APFS take 255 UTF-16 units


def fold(text: str) -> str:
    """The text as file systems compare it that ignore case and Unicode form."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def check_characters(archive: str, name: str) -> None:
    """Refuse a name that has a character or a beginning that no member's name may have.

    Raises:
        UnsafeName: One of its subclasses.
    """
    if not name.startswith("/") and not _FORBIDDEN.search(name):
        return
    if _CONTROL.search(name):
        raise errors.ControlCharacterName(archive, "has a control character in its name", name)
    if _SURROGATE.search(name):
        raise errors.UndecodableName(archive, "has a name that is not valid text", name)
    if name.startswith(("//", "\\\\")):
        raise errors.UncName(archive, "names another computer", name)
    if _DRIVE.match(name):
        raise errors.DriveName(archive, "names a drive", name)
    if name.startswith("/"):
        raise errors.AbsoluteName(archive, "is an absolute path", name)
    if "\\" in name:
        raise errors.BackslashName(archive, "has a backslash in its name", name)
    raise errors.ForbiddenCharacterName(archive, "has a character in its name that Windows does not allow", name)


def check_component(archive: str, component: str, name: str) -> None:
    """Refuse one component of a name, whose characters are already checked.

    Raises:
        UnsafeName: One of its subclasses.
    """
    if component[-1:] in ("", ".", " "):
        raise _bad_end(archive, component, name)
    if component[:3].upper() in _RESERVED_BEGINNINGS and component.partition(".")[0].rstrip(" ").upper() in _RESERVED:
        raise errors.ReservedName(archive, "is a name that Windows reserves for a device", name)
    if len(component) > _LONGEST // 4 and len(component.encode()) > _LONGEST:
        raise errors.NameTooLong(archive, f"has a name longer than {_LONGEST} bytes", name)


def _bad_end(archive: str, component: str, name: str) -> errors.UnsafeName:
    if component in ("", "."):
        return errors.UnclearName(archive, "has an empty component in its name", name)
    if component == "..":
        return errors.ParentName(archive, "leads out of its folder by '..'", name)
    return errors.TrailingDotOrSpaceName(archive, "has a dot or a space at the end of a name", name)


class Names:
    """Every name that one archive has used so far.

    Each name is checked, and compared with all before it, exactly and as file systems do that ignore case.
    """

    def __init__(self, archive: str, limits: Limits) -> None:
        self._archive = archive
        self._limits = limits
        self._folders = {"": ""}  # a folder's path: the same folded
        self._taken: dict[str, str] = {}  # folded path: the path, of files, links and folders

    def add_file(self, name: str) -> str:
        """Take up the name of a file or link; returns its clean relative path.

        Raises:
            UnsafeName: One of its subclasses.
        """
        path = self._clean(name)
        key = self._look_up(path, name)
        other = self._taken.get(key)
        if other is not None:
            raise self._refusal(path, other, name)
        self._taken[key] = path
        return path

    def add_folder(self, name: str) -> str:
        """Take up the name of a folder, which may come more than once; returns its path, empty for the root.

        Raises:
            UnsafeName: One of its subclasses.
        """
        path = self._clean(name).removesuffix("/")
        if path in ("", ".") and name.startswith("."):
            return ""
        self._fold_folder(path, name)
        return path

    def _clean(self, name: str) -> str:
        check_characters(self._archive, name)
        while name.startswith("./"):  # as `tar -C folder .` writes them
            name = name[2:]
        return name

    def _look_up(self, path: str, name: str) -> str:
        """Take up the folders that a path lies in; returns the path folded."""
        if path.count("/") >= self._limits.depth:
            raise errors.TooDeep(self._archive, f"lies deeper than {self._limits.depth} levels", name)
        parent, _, last = path.rpartition("/")
        check_component(self._archive, last, name)
        folded = self._folders.get(parent)
        if folded is None:
            folded = self._fold_folder(parent, name)
        return f"{folded}/{fold(last)}"

    def _fold_folder(self, path: str, name: str) -> str:
        """Take up a folder and those that it lies in; returns its folded path."""
        folded = self._folders.get(path) if path else None
        if folded is not None:
            return folded
        key = self._look_up(path, name)
        other = self._taken.get(key)
        if other == path:
            raise errors.FileAsFolder(self._archive, f"needs a folder where {errors.quote(path)} is a file", name)
        if len(self._folders) > self._limits.members:
            raise errors.TooManyMembers(self._archive, f"has more than {self._limits.members:,} folders")
        if other is not None:
            raise self._collision(other, name)
        self._taken[key] = path
        self._folders[path] = key
        return key

    def _refusal(self, path: str, other: str, name: str) -> errors.UnpackError:
        """What is wrong with a file's path where another one, or a folder's, has the same key."""
        if other != path:
            return self._collision(other, name)
        if path in self._folders:
            return errors.FileAsFolder(self._archive, "is no folder, but other members lie in it", name)
        return errors.DuplicateName(self._archive, "is there twice", name)

    def _collision(self, other: str, name: str) -> errors.CollidingNames:
        problem = f"and {errors.quote(other)} have one name on systems that ignore case or Unicode form"
        return errors.CollidingNames(self._archive, problem, name)
