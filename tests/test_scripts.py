"""The two scripts that start from nothing: run against a small stand-in for the checkout, with a real environment."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import environment

CHECKOUT = environment.CHECKOUT
REQUIREMENTS = sorted(CHECKOUT.glob("requirements*.txt"))

STAND_IN = """
import json, os, sys, time
print(json.dumps({"arguments": sys.argv[1:], "prefix": sys.prefix, "path": sys.path}), flush=True)
if "wait" in sys.argv:
    time.sleep(30)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in a folder with spaces, whose command prints how it was started and ends with 7."""
    folder = tmp_path_factory.mktemp("scripts") / "a checkout, über alles"
    shutil.copytree(CHECKOUT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "requirements.txt").write_text("")
    (folder / "ayon_async").mkdir()
    (folder / "ayon_async/__init__.py").touch()
    (folder / "ayon_async/__main__.py").write_text(STAND_IN)
    return folder


def start(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    shadow = checkout.with_name("shadow")
    (shadow / "ayon_async").mkdir(parents=True, exist_ok=True)
    (shadow / "ayon_async/__init__.py").write_text("raise SystemExit('the wrong one')")
    command = [sys.executable, str(checkout / "scripts/run.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(shadow), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        command, cwd=shadow, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=50)
    return process.returncode, out, err


def test_run_makes_one_environment_and_becomes_the_command(checkout: Path) -> None:
    """Two starts at once on a fresh checkout, then a broken environment, then a whole one."""
    both = [start(checkout, "sync", "--server", "a b"), start(checkout)]
    first, second = [finish(process) for process in both]
    assert [first[0], second[0]] == [7, 7], (first, second)
    assert json.loads(first[1])["arguments"] == ["sync", "--server", "a b"]
    assert json.loads(second[1])["arguments"] == ["demo"]
    assert (first[2] + second[2]).count("Making the environment") == 1
    prefix = Path(json.loads(first[1])["prefix"])
    assert prefix.parent == checkout / ".venv"

    shutil.rmtree(environment.packages_of(prefix) / "pip")
    code, _, err = finish(start(checkout))
    assert (code, "Making the environment" in err) == (7, True)
    assert (environment.packages_of(prefix) / "pip").is_dir()

    assert finish(start(checkout))[::2] == (7, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to pass on")
def test_run_hands_signals_to_the_command(checkout: Path) -> None:
    process = start(checkout, "wait")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM


def test_an_environment_counts_only_when_finished_whole_and_for_these_requirements(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("one")
    folder = tmp_path / "env"
    wanted = environment.fingerprint(folder, requirements)
    packages = environment.packages_of(folder)
    (packages / "thing").mkdir(parents=True)
    python = environment.python_of(folder)
    python.parent.mkdir(parents=True)
    python.touch()
    assert not environment.is_ready(folder, wanted), "no stamp"

    stamp = folder / environment.STAMP
    stamp.write_text("{")
    assert not environment.is_ready(folder, wanted), "half a stamp"
    stamp.write_text(json.dumps({"fingerprint": wanted, "packages": ["thing"]}))
    assert environment.is_ready(folder, wanted)

    requirements.write_text("two")
    assert not environment.is_ready(folder, environment.fingerprint(folder, requirements)), "other requirements"
    (packages / "thing").rmdir()
    assert not environment.is_ready(folder, wanted), "a package is gone"
    (packages / "thing").mkdir()
    python.unlink()
    assert not environment.is_ready(folder, wanted), "its Python is gone"


def without_venv(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code with the scripts at hand in a Python that has neither ensurepip nor apt-get."""
    scripts = str(CHECKOUT / "scripts")
    hide = f"import sys; sys.path.insert(0, {scripts!r}); sys.modules['ensurepip'] = None\n"
    env = {**os.environ, "PATH": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-c", hide + code], env=env, capture_output=True, encoding="utf-8", check=False
    )


def test_without_venv_and_apt_one_sentence_and_exit_2(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    code = f"""
import environment, pathlib
environment.CHECKOUT = pathlib.Path({str(tmp_path)!r})
environment.prepare("run", environment.CHECKOUT / "requirements.txt")
"""
    done = without_venv(tmp_path, code)
    assert done.returncode == 2
    assert f"apt-get install python3.{sys.version_info.minor}-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_package_that_cannot_be_installed_is_said_and_leaves_nothing_that_counts(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./no-such-package")
    folder = tmp_path / "env"
    with pytest.raises(environment.EnvironmentFailed, match="no-such-package"):
        environment.ensure(folder, requirements)
    assert not environment.is_ready(folder, environment.fingerprint(folder, requirements))


def test_list_of_system_packages() -> None:
    script = runpy.run_path(str(CHECKOUT / "scripts/test.py"), run_name="script")
    assert script["wanted_packages"]("# a\n\nnginx  # b\n xvfb\n") == ["nginx", "xvfb"]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_exact_hashed_and_name_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.findall(r"^[A-Za-z].*?(?=^[A-Za-z]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert entries
    loose = [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
    assert loose == []


def test_requirements_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, extra in [("requirements.txt", None), ("requirements-dev.txt", "dev"), ("requirements-tray.txt", "tray")]:
        pinned = re.findall(r"^([\w.-]+)==", (CHECKOUT / name).read_text(encoding="utf-8"), re.MULTILINE)
        asked = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
        own = project["optional-dependencies"]["tray"] if "ayon-async[tray]" in asked else []
        names = {re.split(r"[<>=;\s]", line)[0].lower() for line in asked + own} - {"ayon-async[tray]"}
        assert names <= set(pinned), name


@pytest.mark.slow
def test_the_package_holds_all_of_it(tmp_path: Path) -> None:
    """What ``pip install .`` installs; building needs the package index."""
    pytest.importorskip("pip")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(CHECKOUT)]
    subprocess.run(pip, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    modules = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "ayon_async").rglob("*.py")}
    assert modules | {"ayon_async/py.typed"} <= held
    assert not [name for name in held if name.startswith(("tests", "scripts"))]
