"""Memory does not depend on size and number, and the event loop is never held up."""

from __future__ import annotations

import random
import sys
import zipfile
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, addon
from studios import studio
from transfer_client import Ran, ran

MIB = 1 << 20
MOST_PRIVATE = 200 * MIB
LONGEST_STEP = 0.05

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells RssAnon")


def big_archive(path: Path, size: int) -> Path:
    """A file with an archive of about this many bytes that can't be compressed."""
    portion = random.Random(size).randbytes(MIB)
    with zipfile.ZipFile(path, "w") as archive, archive.open("data.bin", "w", force_zip64=True) as member:
        for number in range(size // MIB):
            member.write(number.to_bytes(4, "big") + portion[4:])
    return path


async def loaded(folder: Path, number: int, size: int) -> Ran:
    """A sync of so many archives of this size, all at once."""
    content = big_archive(folder / "client.zip", size)
    house = studio({f"addon{index} 1.0.0": addon(content) for index in range(number)})
    async with DevServer(house) as dev:
        result = await ran(dev.url, folder / "store", jobs=16)
    assert set(result.states.values()) == {"installed"}
    rate = number * size / result.seconds / 1e6
    print(
        f"{number} x {size // MIB} MiB: {result.private / MIB:.0f} MiB private, longest step"
        f" {result.longest_step * 1000:.1f} ms, {rate:.0f} MB/s, {result.cpu:.1f} s of processor time"
    )
    return result


async def test_sixteen_at_once(tmp_path: Path) -> None:
    result = await loaded(tmp_path, 16, 16 * MIB)
    assert result.private <= MOST_PRIVATE
    assert result.longest_step <= LONGEST_STEP


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("number", "size"), [(16, 256 * MIB), (1, 4096 * MIB)])
async def test_however_large(tmp_path: Path, number: int, size: int) -> None:
    result = await loaded(tmp_path, number, size)
    assert result.private <= MOST_PRIVATE
    assert result.longest_step <= LONGEST_STEP
