"""The package's public names: what they are must not depend on what was imported before them."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

import ayon_async


def test_every_public_name_is_there() -> None:
    for name in ayon_async.__all__:
        assert getattr(ayon_async, name) is not None


@pytest.mark.parametrize("names", list(itertools.permutations(("sync", "status", "Store"))))
def test_the_order_of_imports_does_not_matter(names: tuple[str, ...]) -> None:
    code = f"""
import ayon_async.cli.sync
from ayon_async import {", ".join(names)}
assert callable(sync) and callable(status)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_no_http_and_no_qt() -> None:
    code = "import sys, ayon_async; assert not {'aiohttp', 'rich', 'PySide6', 'qasync', 'keyring'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
