"""Archives to be synced: wheels that other people made, and archives made from them."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from environment import say

PACKAGE = "package-1.zip"
"""The one archive that is the dependency package where a set has it; the others are addons."""
_LIST = Path(__file__).with_name("corpus.txt")
_MACHINE = ("--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:")
_PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in (24, 26, 27, 28, 34)))
_ABIS = ("cp311", "abi3", "none")


class NoCorpus(Exception):
    """The archives can't be had; the text says why."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive that is served.

    Attributes:
        path: Where it is.
        name: What it is served as; unique in its set, and without folders.
    """

    path: Path
    name: str

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        """Hexadecimal digest."""
        return _sha256(self.path)

    @property
    def is_zip(self) -> bool:
        """Whether `unzip` can unpack it."""
        return self.name.endswith(".zip")


Archives = tuple[Archive, ...]


def addon_of(name: str) -> tuple[str, str]:
    """An addon's name and version, from its archive's name."""
    stem = name.removesuffix(".zip").removesuffix(".tar.gz").removesuffix(".tar.xz")
    addon, _, version = stem.rpartition("-")
    return addon, version


def folder_of(name: str) -> str:
    """Where the store has what was in an archive, in its own words."""
    return f"dependency_packages/{name}" if name == PACKAGE else "addons/{}_{}".format(*addon_of(name))


@functools.cache
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def total(archives: Iterable[Archive]) -> int:
    """Bytes of all of them."""
    return sum(archive.size for archive in archives)


def wheels(cache: Path) -> Archives:
    """The wheels, fetched from the package index where they are missing; smallest first.

    Raises:
        NoCorpus: pip can't get them.
    """
    folder = cache / "wheels"
    names = {line.split("==")[0] for line in _LIST.read_text().splitlines() if "==" in line}
    if len(_wheels_in(folder, names)) < len(names):
        say(f"Fetching {len(names)} archives, 500 MB in all, into {folder}; this happens once.")
        platforms = [option for platform in _PLATFORMS for option in ("--platform", platform)]
        abis = [option for abi in _ABIS for option in ("--abi", abi)]
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
        pip += ["--require-hashes", *_MACHINE, *platforms, *abis, "--dest", str(folder), "--requirement", str(_LIST)]
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise NoCorpus(f"pip can't fetch the archives:\n{done.stdout.strip()}")
    found = _wheels_in(folder, names)
    if missing := names - found.keys():
        raise NoCorpus(f"These wheels are not in {folder}: {', '.join(sorted(missing))}")
    paths = sorted(found.values(), key=lambda path: (path.stat().st_size, path.name))
    return tuple(Archive(path, "-".join(path.name.split("-")[:2]) + ".zip") for path in paths)


def _wheels_in(folder: Path, names: set[str]) -> dict[str, Path]:
    versions = dict(line.split()[0].split("==") for line in _LIST.read_text().splitlines() if "==" in line)
    found = {}
    for path in folder.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        name = name.lower().replace("_", "-")
        if name in names and versions[name] == version:
            found[name] = path
    return found


def chosen(archives: Archives, *names: str) -> Archives:
    """Those with these names, versions left out."""
    by_name = {archive.name.rsplit("-", 1)[0].replace("_", "-"): archive for archive in archives}
    return tuple(by_name[name] for name in names)


def up_to(archives: Archives, size: int) -> Archives:
    """The smallest ones, so many bytes at the most."""
    taken: list[Archive] = []
    for archive in sorted(archives, key=lambda archive: archive.size):
        if total((*taken, archive)) > size:
            break
        taken.append(archive)
    return tuple(taken)


def made(path: Path, write: Callable[[Path], None]) -> Path:
    """The file, made where it is missing; it is there complete or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = path.with_name(path.name + ".part")
        write(rough)
        rough.rename(path)
    return path


def of_the_library(folder: Path) -> Archives:
    """Small archives for a quick look, of packages of Python's own library: nothing has to be fetched."""
    library = Path(sysconfig.get_path("stdlib"))
    found = []
    for name in ("asyncio", "collections", "concurrent", "email", "html", "http", "json", "logging", "urllib", "xml"):
        path = made(folder / f"{name}-1.zip", lambda path, name=name: _zip_folder(path, library / name))  # type: ignore[misc]
        found.append(Archive(path, path.name))
    return tuple(found)


def _zip_folder(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for module in sorted(folder.rglob("*.py")):
            target.write(module, module.relative_to(folder.parent))


# --- what is made from wheels -----------------------------------------------------------------------------------------


def real_bundle(cache: Path, corpus: Archives) -> Archives:
    """A real bundle's shape: one large dependency package, an addon of middle size and thirteen small ones."""
    parts = chosen(corpus, "pyside6-addons", "pyside6-essentials", "pyarrow", "setuptools")
    package = made(cache / "made" / PACKAGE, lambda path: merge(path, parts))
    addons = chosen(
        corpus, "scipy", "opencolorio", "sympy", "lxml", "sqlalchemy", "debugpy", "networkx", "pygments",
        "faker", "opentimelineio", "click", "requests", "typing-extensions", "six",
    )  # fmt: skip
    return (Archive(package, PACKAGE), *addons)


def merge(path: Path, archives: Sequence[Archive], method: int = zipfile.ZIP_DEFLATED) -> None:
    """One zip with the members of several, the same name only once."""
    say(f"Making {path.stem} …")
    seen = set()
    with zipfile.ZipFile(path, "w", method) as target:
        for archive in archives:
            with zipfile.ZipFile(archive.path) as source:
                for member in source.infolist():
                    if not member.is_dir() and member.filename not in seen:
                        seen.add(member.filename)
                        target.writestr(member.filename, source.read(member))


def tiny(cache: Path, corpus: Archives, count: int) -> Archives:
    """Archives of about 20 KB, each with other members: modules of the corpus, eight to an archive."""
    folder = cache / "made" / "20-kb"
    missing = [number for number in range(count) if not (folder / f"{number:04}.zip").exists()]
    if missing:
        modules = _modules(corpus, 8 * (missing[-1] + 1))
        for number in missing:
            mine = modules[8 * number : 8 * number + 8]
            made(folder / f"{number:04}.zip", lambda path, mine=mine: _write(path, mine))  # type: ignore[misc]
    return tuple(Archive(folder / f"{number:04}.zip", f"tiny{number:04}-1.zip") for number in range(count))


def _modules(corpus: Archives, count: int) -> list[bytes]:
    """Python modules of 4 to 18 KB; they begin again, with a line more, where the corpus has no more of them."""
    found: list[bytes] = []
    for archive in corpus:
        with zipfile.ZipFile(archive.path) as source:
            found += [
                source.read(member)
                for member in source.infolist()
                if member.filename.endswith(".py") and 4_000 < member.file_size < 18_000
            ]
        if len(found) >= count:
            break
    return [found[number % len(found)] + b"# %d\n" % number for number in range(count)]


def _write(path: Path, contents: Sequence[bytes], level: int | None = None) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as target:
        for number, content in enumerate(contents):
            target.writestr(f"{number // 200:04}/{number:06}.py", content)


def of_members(folder: Path, corpus: Archives, count: int) -> Archive:
    """One archive with so many members of 1 KB: beginnings of modules."""
    modules = _modules(corpus, min(count, 1000))
    contents = [b"%d" % number + modules[number % len(modules)][:1000] for number in range(count)]
    path = made(folder / f"members-{count}.zip", lambda path: _write(path, contents, 1))
    return Archive(path, path.name)


def of_size(folder: Path, corpus: Archives, size: int) -> Archive:
    """One archive of about so many bytes, with members of 1 MiB: pieces of the corpus's libraries."""
    pieces = _pieces(corpus)

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            number = 0
            while path.stat().st_size < size:
                content = pieces[number % len(pieces)]
                target.writestr(f"{number // 200:04}/{number:06}.bin", content[: 4 * size])
                number += 1

    path = made(folder / f"size-{size}.zip", write)
    return Archive(path, path.name)


def _pieces(corpus: Archives) -> list[bytes]:
    [archive] = chosen(corpus, "scipy")
    with zipfile.ZipFile(archive.path) as source:
        libraries = b"".join(source.read(member) for member in source.infolist() if ".so" in member.filename)
    return [libraries[start : start + (1 << 20)] for start in range(0, len(libraries) - (1 << 20), 1 << 20)]


def other(cache: Path, corpus: Archives) -> Archives:
    """Another set, so that nothing is tuned to the first: tars, one huge zip, zips stored without compression."""
    folder, found = cache / "made" / "other", []
    for name, suffix in (("numpy", "tar.gz"), ("django", "tar.gz"), ("plotly", "tar.gz"), ("matplotlib", "tar.xz")):
        [archive] = chosen(corpus, name)
        path = made(folder / f"{name}-1.{suffix}", lambda path, archive=archive: _tar(path, archive))  # type: ignore[misc]
        found.append(Archive(path, path.name))
    for name in ("jupyterlab", "pandas", "lxml", "babel"):
        parts = chosen(corpus, name)
        path = made(folder / f"{name}-1.zip", lambda path, parts=parts: merge(path, parts, zipfile.ZIP_STORED))  # type: ignore[misc]
        found.append(Archive(path, path.name))
    parts = chosen(corpus, "usd-core", "google-api-python-client", "opencv-python-headless", "pyarrow", "botocore")
    path = made(folder / "huge-1.zip", lambda path: merge(path, parts))
    return (Archive(path, path.name), *found)


def _tar(path: Path, archive: Archive) -> None:
    say(f"Making {path.stem} …")
    mode = "w:xz" if ".tar.xz" in path.name else "w:gz"
    with zipfile.ZipFile(archive.path) as source, tarfile.open(path, mode) as target:  # type: ignore[call-overload]
        for member in source.infolist():
            if not member.is_dir():
                info = tarfile.TarInfo(member.filename)
                info.size, info.mode = member.file_size, 0o644
                with source.open(member) as content:
                    target.addfile(info, content)
