"""What `run.py` and `test.py` share: an environment inside the checkout, made with nothing but the stock Python.

It lies in ``.venv/{purpose}-{python}-{platform}``, so that Python versions and machines that share a checkout do not
undo each other's. It counts once its stamp is written, which comes last: a half-made or damaged one is made anew.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

CHECKOUT = Path(__file__).resolve().parent.parent
STAMP = "ayon-async-environment.json"


class EnvironmentFailed(Exception):
    """The environment can't be made; the text says why and what to do."""


def say(text: str) -> None:
    """Tell the person something; standard output belongs to the command."""
    print(text, file=sys.stderr, flush=True)


def prepare(purpose: str, requirements: Path) -> Path:
    """Make the environment where it is missing, and return its Python; end the program with a sentence where it can't.

    Args:
        purpose: First part of the folder's name.
        requirements: File with the packages, each with its exact version and hashes.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - a person may start this with any Python
        sys.exit(_fail("Python 3.11 or newer is needed, this is " + platform.python_version() + "."))
    tag = f"{purpose}-{sys.implementation.cache_tag}-{sys.platform}-{platform.machine().lower()}"
    try:
        return ensure(CHECKOUT / ".venv" / tag, requirements)
    except (EnvironmentFailed, OSError) as error:
        sys.exit(_fail(f"The environment can't be made: {error}"))


def _fail(text: str) -> int:
    say(text)
    return 2


def ensure(folder: Path, requirements: Path) -> Path:
    """Make the environment unless it is there, whole and for these requirements; two callers at once make it once.

    Returns:
        The environment's Python.

    Raises:
        EnvironmentFailed: venv is missing or a package could not be installed.
        OSError: The folder can't be written.
    """
    wanted = fingerprint(folder, requirements)
    if is_ready(folder, wanted):
        return python_of(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not is_ready(folder, wanted):
            say(f"Making the environment in {folder} (once, from {requirements.name}) …")
            make(folder, requirements, wanted)
    return python_of(folder)


def fingerprint(folder: Path, requirements: Path) -> str:
    """Hexadecimal digest of all that the environment depends on; another one means that it is made anew."""
    digest = hashlib.sha256(requirements.read_bytes())
    base = (str(folder), sys.base_prefix, sys.version[:4], platform.machine())
    digest.update(json.dumps(base).encode())
    return digest.hexdigest()


def python_of(folder: Path) -> Path:
    """The environment's Python."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def packages_of(folder: Path) -> Path:
    """The environment's folder of packages."""
    base = str(folder)
    return Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": base, "platbase": base}))


def is_ready(folder: Path, wanted: str) -> bool:
    """Whether the environment was finished for this fingerprint and nothing has been taken from it since."""
    try:
        stamp = json.loads((folder / STAMP).read_bytes())
        present = {entry.name for entry in packages_of(folder).iterdir()}
    except (OSError, ValueError):
        return False
    if not isinstance(stamp, dict) or stamp.get("fingerprint") != wanted:
        return False
    return python_of(folder).exists() and present.issuperset(stamp.get("packages", ()))


def make(folder: Path, requirements: Path, wanted: str) -> None:
    """Make the environment from nothing; the stamp comes last. Needs the lock.

    Raises:
        EnvironmentFailed: venv is missing or a package could not be installed.
        OSError: The folder can't be written.
    """
    need_venv()
    if folder.exists():
        shutil.rmtree(folder)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is started here ends with us
    try:
        _run([sys.executable, "-I", "-m", "venv", str(folder)])
        pip = [str(python_of(folder)), "-I", "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        _run([*pip, "install", "--require-hashes", "--requirement", str(requirements)])
    finally:
        signal.signal(signal.SIGTERM, before)
    packages = packages_of(folder)
    # Relative, hence plain ASCII: the encoding of such files depends on the machine.
    (packages / "ayon-async.pth").write_text(os.path.relpath(CHECKOUT, packages) + "\n", encoding="ascii")
    names = sorted(entry.name for entry in packages.iterdir() if entry.name != "__pycache__")
    (folder / STAMP).write_text(json.dumps({"fingerprint": wanted, "packages": names}), encoding="utf-8")


def need_venv() -> None:
    """See to it that this Python can make environments; Debian keeps that in a package of its own.

    Raises:
        EnvironmentFailed: It can't.
    """
    if find_spec("venv") and find_spec("ensurepip"):
        return
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if can_install():
        install([package])
        importlib.invalidate_caches()
        if find_spec("venv") and find_spec("ensurepip"):
            return
    raise EnvironmentFailed(
        f"{sys.executable} comes without the modules venv and ensurepip; "
        f"install them (on Debian and Ubuntu: apt-get install {package}) and start again."
    )


def can_install() -> bool:
    """Whether this process may install Debian packages."""
    return sys.platform != "win32" and os.geteuid() == 0 and shutil.which("apt-get") is not None


def is_installed(package: str) -> bool:
    """Whether Debian's package manager has this package; elsewhere nothing is known, which is no."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    try:
        return subprocess.run(query, capture_output=True, check=False).stdout == b"installed"
    except FileNotFoundError:
        return False


def install(packages: Sequence[str]) -> None:
    """Install Debian packages.

    Raises:
        EnvironmentFailed: apt-get failed.
    """
    say(f"Installing with apt-get: {' '.join(packages)} …")
    apt = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300"]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run([*apt, "update"], quiet)
    _run([*apt, "install", "--yes", "--no-install-recommends", *packages], quiet)


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    """Run a program without a word, unless it fails."""
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        last = done.stdout.decode(errors="replace").splitlines()[-20:]
        raise EnvironmentFailed(
            "\n".join([f"this failed with exit code {done.returncode}: {' '.join(command)}", *last])
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes, which the system takes back however its holder ends."""
    with path.open("ab") as file:
        if sys.platform == "win32":
            file.seek(0)
            while True:
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:  # given up after ten seconds
                    continue
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def become(command: list[str]) -> NoReturn:
    """Go on as another program: its exit code is ours, and signals are its own affair."""
    if sys.platform != "win32":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console gives Ctrl-C to the child too, which decides what to do
    sys.exit(subprocess.call(command))
