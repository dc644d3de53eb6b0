"""Archives out of real package trees: which files, what the next release of them looks like, and zips of them."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import sysconfig
import threading
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

BINARIES = "lib-dynload"
"""Stands for the interpreter's own extension modules among the names of packages."""

Members = dict[str, bytes]
"""Content by member name."""

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_EXECUTABLE = (".sh", ".so", ".dylib", ".exe")
_SKIPPED = ("__pycache__", "__editable__")


@dataclass(frozen=True, slots=True)
class Trees:
    """The files of packages, read once, by the package's name and the path in it."""

    files: Mapping[str, Mapping[str, bytes]]

    @classmethod
    def of_this_environment(cls, standard: Iterable[str], installed: Iterable[str]) -> Trees:
        """The packages of the standard library and of the environment; those that are not there are left out."""
        folders = {name: Path(sysconfig.get_path("stdlib")) / name for name in standard}
        for name in installed:
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.submodule_search_locations:
                folders[name] = Path(next(iter(spec.submodule_search_locations)))
        folders[BINARIES] = Path(sysconfig.get_config_var("DESTSHARED") or Path(sys.base_prefix) / "DLLs")
        return cls({name: _files(folder) for name, folder in folders.items()})

    def members(self, prefix: str, names: Iterable[str]) -> Members:
        """The files of these packages under a folder of an archive."""
        return {
            f"{prefix}/{name}/{path}": content for name in names for path, content in self.files.get(name, {}).items()
        }


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not any(part in _SKIPPED for part in path.parts)
    }


def next_release(members: Members, every: int = 20) -> Members:
    """The files as another release has them: some of the Python files changed, a few of them gone.

    Args:
        members: The files now.
        every: One in so many changes; one in six times as many goes.
    """
    released = {}
    for name, content in members.items():
        lot = zlib.crc32(name.encode())
        if not name.endswith(".py"):
            released[name] = content
        elif lot % (6 * every) != 1:
            released[name] = content + b"\n# changed in the next release\n" if lot % every == 0 else content
    return released


def digest(recipe: str, archives: Mapping[str, Members]) -> str:
    """A short name for exactly these archives."""
    state = hashlib.blake2b(f"{recipe} {zlib.ZLIB_RUNTIME_VERSION}".encode(), digest_size=8)
    for archive, members in sorted(archives.items()):
        for name, content in sorted(members.items()):
            state.update(f"\n{archive}/{name} {len(content)} {zlib.crc32(content)}".encode())
    return state.hexdigest()


def write_zip(path: Path, members: Members, stop: threading.Event | None = None) -> None:
    """A zip archive with these members, the same bytes every time.

    Raises:
        InterruptedError: `stop` was set.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(members.items()):
            if stop is not None and stop.is_set():
                raise InterruptedError(f"{path.name} was not finished")
            member = zipfile.ZipInfo(name, _FIRST_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # Unix on every platform, for its permissions
            member.external_attr = (0o100755 if name.endswith(_EXECUTABLE) else 0o100644) << 16
            archive.writestr(member, content, compresslevel=1)  # three times as fast as the usual 6
