"""The AYON server of the benchmark, in a process of its own: a bundle whose archives are on another host.

Reads a list of archives as JSON from a file; a line on standard input asks how many requests there were since the last
time; it ends with standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from ayon_async.devserver import AddonVersion, Bundle, DevServer, Package, Studio, User
from benchmarking.archives import PACKAGE, addon_of


def studio(entries: list[dict[str, Any]], key: str) -> Studio:
    """A studio whose production bundle has all archives.

    Args:
        key: API key that it accepts.
        entries: `name`, `url`, `size` and `sha256` of each.
    """
    addons, packages = {}, []
    for entry in entries:
        source = {"type": "http", "url": entry["url"], "filename": entry["name"]}
        if entry["name"] == PACKAGE:
            about = {"filename": PACKAGE, "platform": "linux", "size": entry["size"], "sources": [source]}
            packages.append(Package(about | {"checksum": entry["sha256"], "checksumAlgorithm": "sha256"}))
        else:
            addons[addon_of(entry["name"])] = AddonVersion(
                sources=(source,), checksum=entry["sha256"], checksum_algorithm="sha256"
            )
    bundle = Bundle(
        "benchmark",
        addons=dict(list(addons)),
        dependency_packages={"linux": PACKAGE} if packages else {},
        is_production=True,
    )
    user = User("benchmark", api_keys=(key,), is_service=True)
    return Studio(users=(user,), addons=addons, packages=tuple(packages), bundles=(bundle,))


async def _serve(entries: list[dict[str, Any]], host: str, key: str) -> None:
    async with DevServer(studio(entries, key), host=host) as server:
        print(server.url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(len(server.requests), flush=True)
            server.forget_requests()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], os.environ["AYON_API_KEY"]))
