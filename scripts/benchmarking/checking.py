"""Whether a run's result is right: against other programs' work on the same archives."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarking.hosting import Site

_RECORD = ".ayon-async.json"
_OURS = (_RECORD, "dist_progress.json")


class WrongResult(Exception):
    """What was installed is not what was in the archives; the text says where."""


def check(site: Site, folder: Path, where: Callable[[str], str], spare: Path, *, recorded: bool = False) -> int:
    """Compare what is in the folder with what `unzip` or `bsdtar` make of the archives, and digests with `sha256sum`.

    Args:
        where: The folder below `folder` that holds what was in an archive, by its name.
        spare: An empty place for one archive's files.
        recorded: Whether there is a record of ours with the digest, as beside what is installed.

    Returns:
        How many archives were compared.

    Raises:
        WrongResult: Something differs.
    """
    names = [archive.name for archive in site.archives]
    digests = _said(["sha256sum", *names], site.folder).splitlines()
    for archive, line in zip(site.archives, digests, strict=True):
        place = folder / where(archive.name)
        if recorded:
            _check_digest(place / _RECORD, line.split()[0])
        shutil.rmtree(spare, ignore_errors=True)
        spare.mkdir(parents=True)
        if archive.is_zip:
            _said(["unzip", "-q", str(site.path(archive)), "-d", str(spare)])
        else:
            _said(["bsdtar", "-x", "-f", str(site.path(archive)), "-C", str(spare)])
        _said(["diff", "-r", *(f"--exclude={name}" for name in _OURS), str(spare), str(place)])
    shutil.rmtree(spare, ignore_errors=True)
    return len(names)


def check_digests(site: Site, folder: Path) -> int:
    """Compare the parts in the folder, in whatever order, with the archives by `sha256sum`.

    Returns:
        How many archives were compared.

    Raises:
        WrongResult: Something differs.
    """
    files = sorted(str(path) for path in folder.glob("*.part"))
    if not files:
        raise WrongResult(f"there is nothing in {folder}")
    found = sorted(line.split()[0] for line in _said(["sha256sum", *files]).splitlines())
    if found != sorted(archive.sha256 for archive in site.archives):
        raise WrongResult(f"what is in {folder} is not what was served")
    return len(found)


def _check_digest(record: Path, digest: str) -> None:
    if (found := json.loads(record.read_bytes())["sha256"]) != digest:
        raise WrongResult(f"{record} has the digest {found}, sha256sum says {digest}")


def _said(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongResult(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
