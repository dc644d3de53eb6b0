"""What every command works with: the settings of all places, the folders they mean, and the way to the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayon_async.cli.output import Output
from ayon_async.configuration import load_settings
from ayon_async.credentials import Credentials, find_credential
from ayon_async.errors import UsageError
from ayon_async.paths import Folders, StorePaths, launcher_servers, platform_folders, site_id, store_paths
from ayon_async.settings import BY_KEY, Settings

if TYPE_CHECKING:
    from ayon_async.lockfile import Lock
    from ayon_async.server import AyonServer
    from ayon_async.store import Store


@dataclass(frozen=True, slots=True)
class Setup:
    """What a command works with.

    Attributes:
        given: The command's own parameters by name.
        output: Where to say things.
        settings: From flags, environment and files.
        folders: The platform's.
        paths: The store's.
        credentials: Tokens that are kept, and the server used last.
    """

    given: Mapping[str, Any]
    output: Output
    settings: Settings
    folders: Folders
    paths: StorePaths
    credentials: Credentials

    @property
    def server_url(self) -> str:
        """The server to talk to, normalised.

        Raises:
            UsageError: No place names one.
        """
        if self.settings.server is None:
            hint = "Name it with --server or AYON_SERVER_URL, or sign in once with 'ayon-async login --server URL'."
            raise UsageError("No AYON server is known.", hint)
        return self.settings.server

    @property
    def store(self) -> Store:
        """The store that the settings mean.

        Raises:
            SettingsError: There is no user of the name that the setting store_owner has.
        """
        from ayon_async.limits import Limits
        from ayon_async.store import Store
        from ayon_async.store.guard import user_id

        settings = self.settings
        return Store(
            self.paths.addons,
            self.paths.dependencies,
            owner=user_id(settings.store_owner),
            trusted=settings.trust_store,
            group_writable=settings.group_writable,
            also=settings.also or (),
            in_place=settings.also_in_place,
            limits=Limits(settings.max_members, settings.max_depth, settings.max_size, settings.max_ratio),
        )

    @property
    def lock(self) -> Lock | None:
        """The lock file that --lock names.

        Raises:
            UsageError: It can't be used.
        """
        from ayon_async.lockfile import read_lock

        # Typer before 0.29 has the text here that was given, whatever the parameter's type.
        return read_lock(Path(self.given["lock"])) if self.given["lock"] else None

    def server(self, token: str | None = None, url: str | None = None) -> AyonServer:
        """The server, not yet opened, with the key of the environment or else this token.

        Args:
            url: Another server than the settings', normalised; the environment's key is not meant for it.

        Raises:
            UsageError: No place names one.
        """
        from ayon_async.http import Timeouts, Tls
        from ayon_async.server import AyonServer

        settings = self.settings
        key = settings.api_key if url is None else None
        return AyonServer(
            url or self.server_url,
            api_key=key,
            token=None if key else token,
            timeouts=Timeouts(settings.connect_timeout, settings.silence_timeout),
            tls=Tls(settings.ca_file, settings.cert_file),
            retries=settings.retries,
            site_id=site_id(os.environ, self.folders),
            on_wait=self.output.note,
        )

    def again(self, **decided: Any) -> Setup:
        """All of it read anew.

        Args:
            decided: Attributes of `Settings` that a person chose meanwhile; they come before every place.

        Raises:
            SettingsError: A place holds what can't be used.
        """
        fresh = set_up(self.given, self.output)
        return replace(fresh, settings=replace(fresh.settings, **decided))

    @asynccontextmanager
    async def open_server(self) -> AsyncIterator[AyonServer]:
        """The server, opened, as whom the environment's key or the kept token says.

        Raises:
            UsageError: No place names a server.
            NotSignedIn: A token is kept where others may have had it.
        """
        credential = await asyncio.to_thread(find_credential, self.settings, self.credentials)
        _pass_on(self.credentials.warnings, self.output)
        async with self.server(credential.token if credential else None) as server:
            yield server


def set_up(given: Mapping[str, Any], output: Output) -> Setup:
    """Read what the command line, the environment and the files say.

    Args:
        given: The command's parameters; those that are named as a setting are its flag.

    Raises:
        UsageError: Something can't be used; see `load_settings`.
    """
    folders = platform_folders()
    credentials = Credentials(folders.config, launcher_servers(os.environ, folders))
    settings = load_settings(
        {key: value for key, value in given.items() if key in BY_KEY},
        user_file=folders.user_file,
        machine_file=folders.machine_file,
        last_server=credentials.last_server,
    )
    _pass_on([*settings.warnings], output)
    _pass_on(credentials.warnings, output)
    return Setup(given, output, settings, folders, store_paths(settings, folders), credentials)


def _pass_on(warnings: list[str], output: Output) -> None:
    while warnings:
        output.warning(warnings.pop(0))
