"""What a watch needs to know of the machine, as the command line's `Setup` has it, and what it makes of that."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from ayon_async.credentials import Credentials, find_credential
from ayon_async.errors import NotSignedIn
from ayon_async.paths import Folders, StorePaths
from ayon_async.server import AyonServer
from ayon_async.settings import Settings
from ayon_async.store import Store
from ayon_async.watch.state import Followed

log = logging.getLogger(__name__)


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


def find_token(setup: Setup) -> str | None:
    """The kept token; None where the environment has a key.

    Raises:
        NotSignedIn: There is neither, or no server.
    """
    settings = setup.settings
    if settings.server is None:
        raise NotSignedIn("No AYON server is known.", "Sign in to one.")
    credential = find_credential(settings, setup.credentials)
    while setup.credentials.warnings:
        log.warning("%s", setup.credentials.warnings.pop(0))
    if credential is None:
        raise NotSignedIn(f"Nobody is signed in to {settings.server}.", "Sign in, or set AYON_API_KEY.")
    return None if settings.api_key else credential.token


def shown_of(settings: Settings) -> dict[str, Any]:
    """What the state tells of the settings."""
    choice = settings.choice
    follows: Followed = "dev" if choice.dev else "staging" if choice.staging else "production"
    return {"follows": follows, "server": settings.server, "limit": settings.limit_rate}


def what_counts(settings: Settings) -> Settings:
    """The settings without those that change nothing of what is compared, nor with whom."""
    return replace(
        settings,
        limit_rate=None,
        check_every=0.0,
        news_wait=0.0,
        prefetch="off",
        log_file=None,
        origins=MappingProxyType({}),
        warnings=(),
    )


def stamp_of(setup: Setup) -> tuple[object, ...]:
    """What changes with every change of the settings' files, and of who is signed in; reads the disk."""
    folders = setup.folders
    ours = (folders.config / name for name in ("servers.json", "credentials.json"))
    return tuple(_file_stamp(path) for path in (folders.user_file, folders.machine_file, *ours))


def _file_stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
