"""`scripts/preseed.py` as an administrator runs it: a program of its own, fed by the embedded server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import preseed
from ayon_async.devserver import DevServer, package, tiny_studio
from ayon_async.devserver.faults import Silence

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT = CHECKOUT / "scripts/preseed.py"


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(1000)) as dev:
        yield dev


async def start(*arguments: str | Path, key: str | None = "service-key", **environ: str) -> asyncio.subprocess.Process:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AYON_", "PYTHONPATH", "DISPLAY"))}
    env |= {"AYON_API_KEY": key} if key else {}
    # A keyring that breaks whoever asks it, and an installed package's stand-in for the path.
    env |= {"PYTHON_KEYRING_BACKEND": "no.such.Keyring", "PYTHONPATH": str(CHECKOUT), **environ}
    command = [sys.executable, SCRIPT, *arguments]
    return await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, env=env)


async def run(*arguments: str | Path, key: str | None = "service-key", **environ: str) -> tuple[int, str, str]:
    process = await start(*arguments, key=key, **environ)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


async def test_bundles_and_platforms_in_one_store(dev: DevServer, tmp_path: Path) -> None:
    choices = ["--bundle", "prod", "--bundle", "staging", "--platform", "windows", "--platform", "linux"]
    common: list[str | Path] = ["--server", dev.url, "--storage-dir", tmp_path, *choices, "--json"]
    # What an administrator's shell may hold is not what was asked for.
    code, out, err = await run(*common, AYON_USE_DEV="1", AYON_ADDONS_DIR=str(tmp_path / "no"), AYON_SERVER_URL="x")
    assert code == 0, err
    document: dict[str, Any] = json.loads(out)
    assert (document["ok"], document["server"], document["storage_dir"]) == (True, dev.url, str(tmp_path))
    runs = [(run["bundle"], run["platform"], run["ok"], len(run["items"])) for run in document["runs"]]
    assert runs == [(bundle, name, True, 4) for bundle in ("prod", "staging") for name in ("windows", "linux")]
    assert document["bytes_downloaded"] == sum(run["bytes_downloaded"] for run in document["runs"]) > 0
    assert names(tmp_path / "addons") == ["core_1.0.0", "core_1.1.0", "maya_1.0.0", "nuke_1.0.0"]
    assert names(tmp_path / "dependency_packages") == ["ayon_tiny_linux.zip", "ayon_tiny_windows.zip"]

    dev.forget_requests()
    code, out, _ = await run(*common)
    assert (code, json.loads(out)["bytes_downloaded"]) == (0, 0)
    assert dev.bytes_asked() == 0


async def test_without_a_choice_production_for_this_platform_in_words(dev: DevServer, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("service-key\n")
    code, out, err = await run(
        "--server", dev.url, "--storage-dir", tmp_path / "store", "--api-key-file", key, key=None
    )
    assert (code, err) == (0, "")
    assert out.startswith("prod for ")
    assert ": 4 installed; 0.0 MB in " in out


async def test_one_bundle_s_failure_does_not_stop_the_next_and_is_the_exit_code(dev: DevServer, tmp_path: Path) -> None:
    dev.studio = replace(dev.studio, addons={k: v for k, v in dev.studio.addons.items() if k != ("core", "1.0.0")})
    choices = [word for name in ("nothing", "prod", "staging") for word in ("--bundle", name)]
    code, out, err = await run("--server", dev.url, "--storage-dir", tmp_path, *choices, "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (5, False), "the first that failed"
    assert [run["error"] and run["error"]["type"] for run in document["runs"]] == ["BundleError", None, None]
    assert [run["ok"] for run in document["runs"]] == [False, False, True]
    assert "does not have the addon core 1.0.0" in err
    code, _, _ = await run("--server", dev.url, "--storage-dir", tmp_path, "--bundle", "prod")
    assert code == 1


@pytest.mark.parametrize("key", ["junk", None])
async def test_a_refused_key_ends_it_at_once(dev: DevServer, tmp_path: Path, key: str | None) -> None:
    choices = ["--bundle", "prod", "--bundle", "staging", "--json"]
    code, out, err = await run("--server", dev.url, "--storage-dir", tmp_path, *choices, key=key)
    document = json.loads(out)
    assert (code, len(document["runs"]), document["runs"][0]["error"]["type"]) == (4, 1, "NotSignedIn")
    assert "AYON_API_KEY" in err
    assert "Traceback" not in err


async def test_no_server(dev: DevServer, tmp_path: Path) -> None:
    await dev.stop()
    code, out, _ = await run("--server", dev.url, "--storage-dir", tmp_path, "--json")
    assert (code, json.loads(out)["runs"][0]["error"]["type"]) == (3, "ServerUnreachable")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--storage-dir", "x"], "--server"),
        (["--server", "http://127.0.0.1:1"], "--storage-dir"),
        (["--server", "ftp://x", "--storage-dir", "x"], "its scheme is ftp"),
        (["--server", "http://127.0.0.1:1", "--storage-dir", "x", "--platform", "amiga"], "amiga"),
        (["--server", "http://127.0.0.1:1", "--storage-dir", "x", "--api-key-file", "no-file"], "no-file"),
        (["--server", "http://127.0.0.1:1", "--storage-dir", "x", "--api-key-file", os.devnull], "is empty"),
    ],
    ids=str,
)
def test_wrong_usage_is_2_and_no_document(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AYON_API_KEY", raising=False)
    try:
        code = preseed.main([*arguments, "--json"])
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else -1
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_interrupted_it_tells_what_is_done(
    dev: DevServer, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    staging_only = package("ayon_slow.zip", b"x" * 100_000)
    bundles = tuple(
        replace(bundle, dependency_packages={"linux": "ayon_slow.zip"}) if bundle.name == "staging" else bundle
        for bundle in dev.studio.bundles
    )
    dev.studio = replace(dev.studio, packages=(*dev.studio.packages, staging_only), bundles=bundles)
    dev.faults.add("*/ayon_slow.zip", Silence(10_000))
    choices = ["--bundle", "prod", "--bundle", "staging", "--platform", "linux", "--json"]
    process = await start("--server", dev.url, "--storage-dir", tmp_path, *choices)
    while not dev.bytes_sent("*/ayon_slow.zip"):  # noqa: ASYNC110 - what a server sent makes no event
        await asyncio.sleep(0.02)
    process.send_signal(number)
    out, err = await process.communicate()
    document = json.loads(out)
    assert (process.returncode, document["ok"]) == (code, False), err.decode()
    done, stopped = document["runs"]
    assert (done["ok"], stopped["ok"], stopped["bundle"]) == (True, False, "staging")
    assert stopped["error"]["type"] == "Interrupted"
    assert {item["name"]: item["state"] for item in stopped["items"]}["ayon_slow.zip"] == "planned"


STAND_IN = """
import json, sys
from pathlib import Path
CHECKOUT = Path("checkout")
def prepare(purpose, requirements):
    print(json.dumps([purpose, requirements.as_posix()]))
    return Path("its-python")
def become(command):
    print(json.dumps(command))
    sys.exit(0)
"""


def test_where_the_package_is_not_installed_it_goes_on_in_the_environment_of_run_py(tmp_path: Path) -> None:
    script = Path(shutil.copy(SCRIPT, tmp_path))
    (tmp_path / "environment.py").write_text(STAND_IN)
    # -S: without the folder of installed packages.
    command = [sys.executable, "-S", str(script), "--server", "a b"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    asked, became = map(json.loads, done.stdout.splitlines())
    assert asked == ["run", "checkout/requirements.txt"]
    assert became == ["its-python", "-I", str(script.resolve()), "--server", "a b"]
    # There it must not go round in circles.
    again = subprocess.run(
        [sys.executable, "-I", "-S", str(script)], capture_output=True, text=True, check=False, env=env
    )
    assert (again.returncode, again.stdout) == (1, "")
    assert "No module named 'ayon_async'" in again.stderr
