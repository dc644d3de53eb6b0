"""The benchmark: its arithmetic, and that its short form measures right results. Time is judged by nobody here."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import environment
from benchmarking import charts, report
from benchmarking.archives import Archive, addon_of, folder_of, up_to
from benchmarking.figures import Spread, ratios, slope

linux = pytest.mark.skipif(sys.platform != "linux", reason="network devices and /proc are Linux's")
if sys.platform == "linux":
    from benchmarking import bare, kept, session
    from benchmarking.growth import Growth, Point
    from benchmarking.links import Link
    from benchmarking.measuring import Cost, RunFailed, run
    from benchmarking.proving import differences
    from benchmarking.relay import Pipe

PROGRAMS = ("nginx-light", "aria2", "curl", "unzip", "libarchive-tools", "openssl")
MISSING = [package for package in PROGRAMS if not environment.is_installed(package)]
MIB = 1 << 20


# --- the packet relay -------------------------------------------------------------------------------------------------


@linux
def test_packets_come_out_in_order_and_in_time() -> None:
    pipe = Pipe(0.05, 0.0, random.Random(1))
    pipe.put(b"first", 1.0)
    pipe.put(b"second", 1.01)
    assert pipe.due(1.049) is None
    assert pipe.due(1.051) == b"first"
    assert pipe.due(1.051) is None
    assert pipe.is_waiting
    assert pipe.due(1.2) == b"second"
    assert not pipe.is_waiting
    assert (pipe.count.passed, pipe.count.dropped) == (2, 0)
    assert pipe.count.late == pytest.approx(1.2 - 1.06)


@linux
def test_its_share_of_packets_is_lost() -> None:
    pipe = Pipe(0.0, 0.01, random.Random(1))
    for _ in range(50_000):
        pipe.put(b"packet", 0.0)
    assert pipe.count.dropped == pytest.approx(500, abs=4 * (50_000 * 0.01 * 0.99) ** 0.5)


@linux
def test_a_link_is_held_to_the_arithmetic() -> None:
    link = Link("slow", rate=10e6, round_trip=0.1, loss=0.01)
    assert link.limit(10_000_000) == 8
    assert link.headers == pytest.approx(1.036, abs=0.001)
    right = {"round_trip": 0.1005, "lost": 0.0199, "probes": 2000, "rate": 9.9e6}
    assert differences(link, right) == []
    for name, value in (("round_trip", 0.12), ("round_trip", 0.09), ("lost", 0.05), ("lost", 0.0), ("rate", 8e6)):
        assert len(differences(link, right | {name: value})) == 1, name


# --- measuring --------------------------------------------------------------------------------------------------------


@linux
def test_children_are_counted() -> None:
    work = "x = bytearray(64 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time\n"
    work += "while time.process_time() < 0.3: pass"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.stdin.read()], check=True)"
    cost, said = run([sys.executable, "-c", parent], feed=work)
    assert said == ""
    assert cost.cpu >= 0.3
    assert cost.wall >= 0.3
    assert cost.private >= 64 * MIB


@linux
def test_a_program_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(RunFailed, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"])


INTERRUPTED = """
import pathlib, signal, threading, time
from benchmarking.measuring import run
def interrupt():
    while not pathlib.Path("pid").exists():
        time.sleep(0.01)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    run(["sh", "-c", "setsid sleep 60 & echo $! > pid.part; mv pid.part pid; wait"])
except KeyboardInterrupt:
    print("interrupted")
"""


def command_of(pid: int) -> str:
    """The command line of a process, empty where there is none any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@linux
def test_who_is_interrupted_leaves_nobody_behind(tmp_path: Path) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True,
        timeout=50, check=False,
    )  # fmt: skip
    assert done.stdout == "interrupted\n", done.stderr
    pid, end = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while "sleep" in command_of(pid):
        assert time.monotonic() < end, "it sleeps on"
        time.sleep(0.05)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_each_pair_has_its_own_ratio() -> None:
    assert ratios([1.0, 4.0, 3.0], [2.0, 4.0, 4.0]) == Spread(0.75, 0.5, 1.0)


def test_slope_of_points_that_lie_far_apart() -> None:
    start, each = slope([(count, 0.2 + 0.004 * count) for count in (10, 100, 3000)])
    assert start == pytest.approx(0.2)
    assert each == pytest.approx(0.004)


def test_names_of_archives_and_folders(tmp_path: Path) -> None:
    assert addon_of("scikit_learn-1.9.1.zip") == ("scikit_learn", "1.9.1")
    assert addon_of("numpy-1.tar.gz") == ("numpy", "1")
    assert folder_of("numpy-1.tar.gz") == "addons/numpy_1"
    assert folder_of("package-1.zip") == "dependency_packages/package-1.zip"
    found = []
    for size in (50, 10, 30):
        (tmp_path / f"{size}").write_bytes(bytes(size))
        found.append(Archive(tmp_path / f"{size}", f"a{size}-1.zip"))
    assert [archive.size for archive in up_to(tuple(found), 45)] == [10, 30]


def test_readme_is_written_twice_and_has_it_once(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# It\n\n## For administrators\n\nEverything.\n", encoding="utf-8")
    report.write_readme(readme, "first")
    report.write_readme(readme, "second")
    text = readme.read_text(encoding="utf-8")
    assert "first" not in text
    assert text.index("## How fast") < text.index("second") < text.index("## For administrators\n\nEverything.")


def test_a_chart_of_growth() -> None:
    points = [{"count": count, "wall": wall, "theirs": 2 * wall} for count, wall in ((10, 0.1), (100, 0.3), (3000, 12))]
    picture = charts.lines([{"title": "number < size", "unit": "MB", "points": points}])
    circles = ET.fromstring(picture).findall("{http://www.w3.org/2000/svg}circle")
    theirs, ours = ([float(circle.attrib["cy"]) for circle in part] for part in (circles[:3], circles[3:]))
    assert len(ours) == 3
    assert ours == sorted(ours, reverse=True)  # more is higher up, where SVG counts less
    assert all(mine > other for mine, other in zip(ours, theirs, strict=True))


@linux
def test_growth_beside_the_simple_way() -> None:
    costs = [Cost(wall, 1.0, 1 << 20) for wall in (1.0, 2.0, 3.0)]
    point = Point.of(10, costs, [Cost(4.0, 1.0, 0)] * 3)
    assert (point.wall, point.theirs, point.ratio) == (2.0, 4.0, 0.5)
    grown = Growth(
        "number", "archive", (point, replace(point, count=20, wall=4.0), replace(point, count=40, wall=16.0))
    )
    assert grown.off > 0.2, "twice as much as twice as many take is off any line"
    assert "10 | 20 | 40" in report.growth_text([grown.as_json()], {"archives": 1.0})


# --- all of it, in short ----------------------------------------------------------------------------------------------


def measured(folder: Path, *names: str) -> tuple[dict[str, Any], str]:
    """The results of the short form's rows of these names, and what it printed."""
    command = [sys.executable, str(environment.CHECKOUT / "scripts/benchmark.py"), "--small", "--in-this-environment"]
    command += [part for name in names for part in ("--only", name)]
    done = subprocess.run(
        [*command, "--output", str(folder), "--folder", str(folder)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results.json").read_bytes())
    costs = [cost for row in results["rows"] for one in row["comparisons"] for cost in (*one["ours"], *one["theirs"])]
    assert all(cost["wall"] > 0 and cost["cpu"] > 0 for cost in costs)
    return results, done.stdout


short_form = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}")


@linux
@pytest.mark.timeout(180)
@short_form
def test_the_short_form_measures_right_results(tmp_path: Path) -> None:
    results, said = measured(tmp_path, "loopback", "download", "standing")
    rows = {row["key"]: row for row in results["rows"]}
    assert rows.keys() == {"loopback", "download"}
    assert len(rows["loopback"]["comparisons"]) == 6
    assert all(row["checked_archives"] == row["archives"] == 10 for row in rows.values())
    touched = [one["beside"] for one in results["standing"] if "files touched" in one["beside"]]
    assert [text.partition(", ")[2] for text in touched] == ["0 files touched in 1 runs"]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") in said
    assert ET.parse(tmp_path / "peers.svg").getroot().tag.endswith("svg")


@linux
@pytest.mark.timeout(180)
@short_form
def test_the_short_form_measures_over_a_network(tmp_path: Path) -> None:
    results, _ = measured(tmp_path, "network")
    if results["rows"]:
        (row,) = results["rows"]
        dropped = sum(way["dropped"] for way in row["network"]["relay"]["ways"])
        assert dropped > 0
        assert row["checked_archives"] == row["archives"]
    else:
        assert any("Networks need" in reason for reason in results["left_out"]), results["left_out"]


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark, called so."""
    command = [sys.executable, str(environment.CHECKOUT / "scripts/benchmark.py"), "--in-this-environment", *arguments]
    command += ["--output", str(folder / "out"), "--folder", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@linux
@short_form
def test_what_can_not_be_asked_for_is_said(tmp_path: Path) -> None:
    done = called(tmp_path, "--small", "--only", "loopback", "--only", "growth")
    assert done.returncode == 2
    assert "There is no row growth; there are: loopback, download, network, standing." in done.stderr
    assert called(tmp_path, "--pairs", "0").returncode == 2
    done = called(tmp_path, "--report", str(tmp_path / "none.json"))
    assert done.returncode == 2
    assert "These results can't be told: " in done.stderr
    (tmp_path / "old.json").write_text("{}")
    done = called(tmp_path, "--report", str(tmp_path / "old.json"))
    assert done.returncode == 2
    assert "is not what this version of the benchmark writes" in done.stderr
    done = called(tmp_path / "old.json", "--small", "--only", "loopback")  # works in a folder that is a file
    assert done.returncode == 2
    assert "This folder can't be used: " in done.stderr
    assert not (tmp_path / "out").exists()


@linux
def test_results_that_do_not_belong_together_are_not_told_together() -> None:
    here, there = {"machine": {"processor": "1"}, "small": False}, {"machine": {"processor": "2"}, "small": False}
    with pytest.raises(ValueError, match="on different machines"):
        session._together([here, there])
    with pytest.raises(ValueError, match="some are of --small"):
        session._together([here, here | {"small": True}])


@linux
@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, (6 << 20) + 1])
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("content", [bytes, random.Random(6).randbytes])
def test_the_bare_program_writes_all_of_a_member(
    tmp_path: Path, size: int, kind: int, content: Callable[[int], bytes]
) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w", kind) as archive:
        archive.writestr("folder/file", data := content(size))
    bare.unpack(tmp_path / "one.zip", tmp_path / "out", 0, 1)
    assert (tmp_path / "out/folder/file").read_bytes() == data


@linux
def test_the_bare_program_that_keeps_the_rules_does_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("folder/file", "content")
    task = bare.Task("a digest", "a URL", tmp_path / "one.zip", tmp_path / "one")
    keeper = kept.Kept(tmp_path / "store")
    lease = keeper.take(task)
    assert [path.name for path in (tmp_path / "store/locks").iterdir()] == ["one"]
    keeper.place(task)
    keeper.give_back(task, lease)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "one.zip",
        "one/.ayon-async.json",
        "one/dist_progress.json",
        "one/folder/file",
        "store/seen/one.json",
    }


@linux
@short_form
def test_names_are_listed_at_once(tmp_path: Path) -> None:
    done = called(tmp_path, "--list")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"loopback", "tiny", "standing", "growth"} <= set(names)
    assert done.stderr == "", "nothing is fetched for it"
