"""One session of the benchmark, from the options to the files with the results."""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from benchmarking import charts, growth, machine, report, rows, standing
from benchmarking.archives import Archives, NoCorpus
from benchmarking.comparing import measure
from benchmarking.contestants import our_command
from benchmarking.hosting import ENVIRONMENT, SCRIPTS, serving
from benchmarking.links import LOOPBACK, NoNetwork
from benchmarking.measuring import RunFailed
from benchmarking.proving import WrongLink
from benchmarking.rows import Row
from benchmarking.sets import Sets
from environment import say

_MEMORY = Path("/dev/shm")
_ROOM = 8 << 30  # bytes: archives served, downloaded and unpacked, and archives of 2 GB
_FORMAT = 2  # of results.json
_PICTURES = Path(".github/pictures")
_SHOWN = {
    "peers.svg": "Time of other ways, as multiples of ayon-async's",
    "growth.svg": "How the time of a sync grows with archives, bytes and members",
}


def run(options: argparse.Namespace, checkout: Path) -> int:
    """Do what the options say; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        return _run(options, checkout)
    except NoCorpus as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130


def _stop(number: int, _: object) -> None:
    """End as after Ctrl-C: what is in memory would stay there."""
    sys.exit(128 + number)


def _run(options: argparse.Namespace, checkout: Path) -> int:
    if options.report:
        try:
            results = _together([_read(path) for path in options.report])
        except (OSError, ValueError) as error:
            say(f"These results can't be told: {error}")
            return 2
        _tell(results, options, checkout)
        return 0
    cache = user_cache_path("ayon-async") / "benchmark"
    if options.folder and not _is_usable(options.folder):
        return 2
    with _folder(options) as folder:
        sets = Sets(cache, folder)
        listed = rows.small(sets) if options.small else rows.full(sets)
        known = {row.key: row.title for row in listed} | {"standing": "nothing to do, start, memory, the longest step"}
        if not options.small:
            known["growth"] = "time and memory by archives, bytes and members"
        if options.list:
            print("\n".join(f"{key:10} {title}" for key, title in known.items()))
            return 0
        if unknown := [name for name in options.only or () if name not in known]:
            say(f"There is no row {', '.join(unknown)}; there are: {', '.join(known)}.")
            return 2
        for part in ("ayon_async", "scripts"):  # as pip does with what it installs, also where Python is told not to
            compileall.compile_dir(checkout / part, quiet=1)
        if options.profile:
            _profile(_corpus(options, sets), folder, options.profile)
            return 0
        if not _is_usable(options.output):
            return 2
        results = _measure_all(options, listed, sets, cache, folder)
    _tell(results, options, checkout)
    return 0


def _is_usable(folder: Path) -> bool:
    """Whether it is there, or could be made; else that is said."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        say(f"This folder can't be used: {error}")
        return False
    return True


@contextlib.contextmanager
def _folder(options: argparse.Namespace) -> Iterator[Path]:
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM
    parent = options.folder or (_MEMORY if in_memory else None)
    with tempfile.TemporaryDirectory(prefix="ayon-async-benchmark-", dir=parent) as folder:
        yield Path(folder)


def _corpus(options: argparse.Namespace, sets: Sets) -> Archives:
    return sets.library() if options.small else sets.wheels()


def _measure_all(
    options: argparse.Namespace, listed: list[Row], sets: Sets, cache: Path, folder: Path
) -> dict[str, Any]:
    pairs = options.pairs or (1 if options.small else 5)
    results: dict[str, Any] = {
        "format": _FORMAT,
        "machine": machine.describe(folder),
        "pairs": pairs,
        "small": options.small,
    }
    results |= {"rows": [], "standing": [], "growth": [], "shares": {}, "left_out": []}
    for row in listed:
        if options.only and row.key not in options.only:
            continue
        place = cache / "work" if row.on_disk else folder / "row"
        if row.on_disk and machine.file_system(cache) == machine.file_system(folder):
            results["left_out"].append(f"{row.title}: everything is on a disk here")
            continue
        try:
            with _kept_apart(results, row.title):
                results["rows"].append(measure(row, place, pairs).as_json())
        finally:
            shutil.rmtree(place, ignore_errors=True)
        _save(results, options)
    if not options.only or "standing" in options.only:
        with _kept_apart(results, "what is no race"):
            found = _standing(_corpus(options, sets), None if options.small else sets.tiny, folder, pairs)
            results["standing"] = [one.as_json() for one in found]
        _save(results, options)
    if not options.small and (not options.only or "growth" in options.only):
        with _kept_apart(results, "growth"):
            series = growth.all_of(sets, folder / "growth")
            results["growth"] = [one.as_json() for one in series]
            results["shares"] = growth.shares(series, sets.wheels(), _members(sets.wheels()))
    return results


@contextlib.contextmanager
def _kept_apart(results: dict[str, Any], title: str) -> Iterator[None]:
    """What can't be measured is told with the results: an hour's others are worth keeping."""
    try:
        yield
    except (NoNetwork, WrongLink, RunFailed) as error:
        results["left_out"].append(f"{title}: {error}")
        say(results["left_out"][-1])


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(results, dict) or results.get("format") != _FORMAT:
        raise ValueError(f"{path} is not what this version of the benchmark writes")
    return results


def _save(results: dict[str, Any], options: argparse.Namespace) -> None:
    """Also what was measured so far: all rows together take an hour."""
    (options.output / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


def _together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several sessions on one machine measured, each some of the rows.

    Raises:
        ValueError: They do not belong together.
    """
    if any(part["machine"] != parts[0]["machine"] for part in parts):
        raise ValueError("they were measured on different machines")
    if any(part["small"] != parts[0]["small"] for part in parts):
        raise ValueError("some are of --small, and some are not")
    lists = {name: [one for part in parts for one in part[name]] for name in ("rows", "standing", "growth", "left_out")}
    shares = {name: seconds for part in parts for name, seconds in part["shares"].items()}
    return {**parts[0], **lists, "shares": shares, "pairs": min(part["pairs"] for part in parts)}


def _standing(
    corpus: Archives, tiny: Callable[[int], Archives] | None, folder: Path, runs: int
) -> list[standing.Standing]:
    if tiny is None:
        return standing.no_op(corpus, folder / "warm", runs) + standing.bounds(corpus, folder / "bounds", runs)
    return standing.all_of(corpus, tiny, folder, runs)


def _members(corpus: Archives) -> int:
    count = 0
    for archive in corpus:
        with zipfile.ZipFile(archive.path) as opened:
            count += len(opened.namelist())
    return count


def _profile(corpus: Archives, folder: Path, path: Path) -> None:
    with serving(corpus, folder / "site", LOOPBACK) as site:
        spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--threads", "--subprocesses", "--rate", "100"]
        spy += ["--output", str(path.resolve()), "--", *our_command(site, folder / "work")]
        subprocess.run(spy, env=ENVIRONMENT, cwd=SCRIPTS, check=True)


def _tell(results: dict[str, Any], options: argparse.Namespace, checkout: Path) -> None:
    text = report.text(results)
    print(text)
    pictures = {}
    if results["rows"]:
        pictures["peers.svg"] = charts.bars(results["rows"])
    if results["growth"]:
        pictures["growth.svg"] = charts.lines(results["growth"])
    options.output.mkdir(parents=True, exist_ok=True)
    _save(results, options)
    (options.output / "table.md").write_text(text, encoding="utf-8")
    for name, picture in pictures.items():
        (options.output / name).write_text(picture, encoding="utf-8")
    say(f"Written to {options.output}: {', '.join(['results.json', 'table.md', *pictures])}")
    if options.write_readme:
        (checkout / _PICTURES).mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (checkout / _PICTURES / name).write_text(picture, encoding="utf-8")
        shown = "\n".join(f"![{_SHOWN[name]}]({_PICTURES.as_posix()}/{name})" for name in pictures)
        report.write_readme(checkout / "README.md", f"{text}\n{shown}\n")
