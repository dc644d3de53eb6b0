"""Make the environment where it is missing, then check everything: python3 scripts/test.py [PYTEST ARGUMENT …]

Lint, format, types and tests all run, whatever fails before; the exit code is 0 when all of them pass.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from environment import CHECKOUT, EnvironmentFailed, can_install, install, is_installed, prepare, say

CHECKS = {
    "lint": ["ruff", "check", "--quiet"],
    "format": ["ruff", "format", "--check", "--quiet"],
    "types": ["mypy", "--no-error-summary"],
}


def wanted_packages(text: str) -> list[str]:
    """The names in a list of system packages: one a line, comments start with ``#``."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def see_to_system_packages() -> None:
    """Install what tests need where that is allowed; else name it: the tests in question skip themselves."""
    listed = wanted_packages((CHECKOUT / "tests/system-packages.txt").read_text(encoding="utf-8"))
    missing = [package for package in listed if not is_installed(package)]
    if missing and can_install():
        try:
            install(missing)
        except EnvironmentFailed as error:
            say(str(error))
        missing = [package for package in missing if not is_installed(package)]
    if missing:
        say(f"Not installed, tests that need them are skipped: {' '.join(missing)}")


def main(arguments: list[str]) -> int:
    """Run every check and the tests; returns the exit code."""
    python = str(prepare("test", CHECKOUT / "requirements-dev.txt"))
    see_to_system_packages()
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    failed = [
        name
        for name, check in CHECKS.items()
        if subprocess.run([python, "-m", *check], cwd=CHECKOUT, env=env, check=False).returncode
    ]
    with tempfile.TemporaryDirectory(prefix="ayon-async-tests-", ignore_cleanup_errors=True) as folder:
        # Tests that give up root's rights have to get to their own folders in it.
        Path(folder).chmod(0o711)
        places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(Path(folder).resolve()))
        workers = str((os.cpu_count() or 1) + 1)  # many tests wait for servers that are slow on purpose
        tests = [python, "-m", "pytest", "--numprocesses", workers, "-r", "s", *arguments]
        code = subprocess.run(tests, cwd=CHECKOUT, env={**env, **places}, check=False).returncode
    if failed:
        say(f"Failed besides the tests: {', '.join(failed)}")
    return code or (1 if failed else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
