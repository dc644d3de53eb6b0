"""What a person chooses while the program runs: kept in the user's file and, where that has no say, until the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ayon_async.errors import UsageError
from ayon_async.settings import Place
from ayon_async.watch.keep import Value, change_settings
from ayon_async.watch.setup import Setup
from ayon_async.watch.state import Followed

log = logging.getLogger(__name__)


class Choices:
    """Settings that can be chosen; used in one event loop. A choice counts once the settings are read anew.

    Attributes:
        setup: The settings as they were last read.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._decided: dict[str, Any] = {}  # attributes of the settings that no file can say
        self._turn = asyncio.Lock()

    async def read_anew(self) -> Setup:
        """Read the settings anew; returns those before.

        Raises:
            UsageError: A place holds what can't be used; they stay as they were.
        """
        setup = await asyncio.to_thread(lambda: self.setup.again(**self._decided))
        before, self.setup = self.setup, setup
        return before

    async def follow(self, which: Followed) -> None:
        """Follow another bundle."""
        file: dict[str, Value] = {
            "bundle": None,
            "use_dev": which == "dev" or None,
            "use_staging": which == "staging" or None,
        }
        choice = replace(self.setup.settings.choice, bundle=None, dev=which == "dev", staging=which == "staging")
        await self._choose("use_staging", "choice", choice, file)

    async def limit(self, rate: float | None) -> None:
        """Receive so many bytes a second at the most."""
        value = int(rate) if rate is not None else None
        await self._choose("limit_rate", "limit_rate", rate, {"limit_rate": value})

    async def use(self, server: str) -> None:
        """Use another server."""
        await self._choose("server", "server", server, {"server": server})

    async def _choose(self, key: str, attribute: str, value: object, file: Mapping[str, Value]) -> None:
        """Keep a choice.

        Args:
            key: A key of the settings; where it is locked nothing is done.
            attribute: The attribute of `Settings` that it decides.
            value: What that should be.
            file: What the file should say.
        """
        if self.setup.settings.origin(key).place is Place.LOCKED:
            log.warning("The machine's settings do not let %s be chosen.", key)
            return
        async with self._turn:
            try:
                await asyncio.to_thread(change_settings, self.setup.folders.user_file, file)
            except UsageError as error:
                log.warning("%s %s", error.message, error.hint)
            self._decided.pop(attribute, None)
            fresh = await asyncio.to_thread(self.setup.again)
            if getattr(fresh.settings, attribute) != value:
                self._decided[attribute] = value
