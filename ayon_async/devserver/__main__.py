"""``python -m ayon_async.devserver``: serve a studio until Ctrl-C, for trying things by hand."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from ayon_async.devserver.build import ADMIN, ARTIST, tiny_studio
from ayon_async.devserver.recorded import recorded_studio
from ayon_async.devserver.sample import sample_studio
from ayon_async.devserver.server import DevServer
from ayon_async.devserver.studio import Studio


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m ayon_async.devserver", description="An AYON server to try things on."
    )
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface (default: any free one)")
    parser.add_argument(
        "--studio", choices=("sample", "tiny"), default="sample", help="what it serves (default: sample)"
    )
    parser.add_argument("--json-dir", type=Path, metavar="DIR", help="serve a server's recorded answers instead")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="where the sample's archives are kept")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(_studio(arguments), arguments.port))
        except OSError as error:
            sys.exit(f"There can't be a server on port {arguments.port}: {error.strerror or error}.")
        except OverflowError:
            parser.error(f"--port must be from 0 to 65535, not {arguments.port}")


def _studio(arguments: argparse.Namespace) -> Studio:
    if arguments.json_dir is not None:
        return recorded_studio(arguments.json_dir)
    if arguments.studio == "tiny":
        return tiny_studio()
    return sample_studio(arguments.cache_dir or user_cache_path("ayon-async") / "devserver")


async def _serve(studio: Studio, port: int) -> None:
    async with DevServer(studio, port=port) as server:
        print(f"AYON_SERVER_URL={server.url}")
        for user in (ADMIN, ARTIST):
            print(f"{user.name}: password {user.password}, AYON_API_KEY={user.api_keys[0]}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
