"""A machine for the command line's tests: folders of its own, an environment without anything of this one's."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from ayon_async.cli.app import run

CHECKOUT = Path(__file__).resolve().parent.parent
_KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG", "LC_ALL")


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, and the texts on its two streams."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        assert document["ok"] is (self.code == 0)
        return document

    @property
    def states(self) -> dict[str, str]:
        """The state of each item of a report, by the item's name."""
        return {item["name"]: item["state"] for item in self.document["items"]}


class Machine:
    """Where commands run.

    Attributes:
        home: The user's home folder.
        storage: The store's folder, to which `AYON_LAUNCHER_STORAGE_DIR` points.
        env: The commands' environment.
    """

    def __init__(self, folder: Path, server: str | None = None, key: str = "artist-key", **env: str) -> None:
        self.home = folder / "home"
        self.storage = folder / "storage"
        self.home.mkdir(exist_ok=True)
        self.env = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.env |= {
            "HOME": str(self.home),
            "PYTHONPATH": str(CHECKOUT),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "AYON_LAUNCHER_STORAGE_DIR": str(self.storage),
            "NO_PROXY": "*",
            **({"AYON_SERVER_URL": server, "AYON_API_KEY": key} if server else {}),
            **env,
        }

    async def call(self, *arguments: str) -> Ended:
        """Run a command in this process, in a thread of its own: no signals, but no start of an interpreter either."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.env, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = await asyncio.to_thread(run, [*arguments])
        return Ended(code, out.getvalue(), err.getvalue())

    async def start_python(self, *arguments: str, **how: Any) -> asyncio.subprocess.Process:
        """Start Python as a process of its own, with both streams piped."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, **{"env": self.env, "stdout": pipe, "stderr": pipe, **how}
        )

    async def start(self, *arguments: str, **how: Any) -> asyncio.subprocess.Process:
        """Start a command as a process of its own."""
        return await self.start_python("-m", "ayon_async", *arguments, **how)

    async def run(self, *arguments: str) -> Ended:
        """Run a command as a process of its own."""
        return await ended(await self.start(*arguments))

    @property
    def store(self) -> dict[str, bytes]:
        """Every file that the store shows to others, by its path in it."""
        found = {}
        for folder, folders, names in os.walk(self.storage):  # which does not mind what goes away meanwhile
            folders[:] = [name for name in folders if name != ".ayon-async"]
            for path in (Path(folder, name) for name in names):
                if path.is_file():
                    found[path.relative_to(self.storage).as_posix()] = path.read_bytes()
        return found


async def ended(process: asyncio.subprocess.Process) -> Ended:
    """What the process leaves, once it has ended; a stream that is not piped leaves nothing here."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, *(text.decode("utf-8") if text else "" for text in (out, err)))
