"""What a watch needs to know of the machine, as the command line's `Setup` has it."""

from __future__ import annotations

from typing import Any, Protocol

from ayon_async.credentials import Credentials
from ayon_async.paths import Folders, StorePaths
from ayon_async.server import AyonServer
from ayon_async.settings import Settings
from ayon_async.store import Store


class Setup(Protocol):
    """The settings of all places, the folders they mean, and the way to the server; immutable."""

    @property
    def settings(self) -> Settings:
        """From flags, environment and files."""

    @property
    def folders(self) -> Folders:
        """The platform's."""

    @property
    def paths(self) -> StorePaths:
        """The store's."""

    @property
    def credentials(self) -> Credentials:
        """Tokens that are kept, and the servers used."""

    @property
    def store(self) -> Store:
        """The store that the settings mean."""

    def server(self, token: str | None = None, url: str | None = None) -> AyonServer:
        """The server, not yet opened, with the key of the environment or else this token.

        Args:
            url: Another server than the settings'.
        """

    def again(self, **decided: Any) -> Setup:
        """All of it read anew.

        Args:
            decided: Attributes of `Settings` that a person chose meanwhile; they come before every place.

        Raises:
            SettingsError: A place holds what can't be used.
        """
