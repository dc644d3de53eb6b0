"""On which machine the figures were taken."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path


def describe(folder: Path) -> dict[str, str]:
    """The machine in words.

    Args:
        folder: Where the measured files are.
    """
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("aiohttp", "isal"))
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{_memory() / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "files on": file_system(folder),
        "python": f"{platform.python_version()} with {libraries}",
        "programs": ", ".join(_version(name) for name in ("nginx", "aria2c", "curl", "unzip", "bsdtar", "openssl")),
    }


def file_system(folder: Path) -> str:
    """Its kind, such as `tmpfs` or `ext4`."""
    done = subprocess.run(["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=False)
    return done.stdout.strip().replace("ext2/ext3", "ext4") or "unknown"


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_PACKAGES = {"nginx": "nginx-light", "aria2c": "aria2", "bsdtar": "libarchive-tools"}


def _version(program: str) -> str:
    package = _PACKAGES.get(program, program)
    query = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        version = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:  # no Debian
        version = ""
    return f"{program} {version.partition('-')[0].partition('+')[0]}".strip()
