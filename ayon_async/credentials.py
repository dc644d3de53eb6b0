"""Tokens of the servers that a person signed in to, and which server that was.

A token lies in the system's keyring, in the very entry that the official launcher uses, so that one login serves both.
Where there is no usable keyring it lies in a file that only this user may read. A key in the environment comes before
both, and then neither is touched (`find_credential`).
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import msgspec

from ayon_async import fs
from ayon_async.errors import AyonAsyncError, NotSignedIn, UsageError
from ayon_async.settings import Settings
from ayon_async.urls import normalize_url

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ACCOUNT = "username"  # the word itself: one entry a server, whoever signed in


@dataclass(frozen=True, slots=True)
class Credential:
    """A token or API key, and where it was found.

    Attributes:
        token: The secret.
        origin: A variable's name, ``keyring``, or a file's path.
    """

    token: str = field(repr=False)
    origin: str


class _KeyringUnusable(Exception):
    """The keyring can't be used; the text says why."""


class _NoKeyring(_KeyringUnusable):
    """There is no keyring on this machine."""


class _Tokens(msgspec.Struct):
    tokens: dict[str, str] = {}


class _Servers(msgspec.Struct):
    last: str | None = None
    servers: list[str] = []


_File = TypeVar("_File", _Tokens, _Servers)


def find_credential(settings: Settings, credentials: Credentials) -> Credential | None:
    """The key of the settings where they have one, else the kept token of their server.

    Raises:
        NotSignedIn: A token is kept, but where others may have read or written it.
    """
    if settings.api_key is not None:
        return Credential(settings.api_key, str(settings.origin("api_key")))
    return None if settings.server is None else credentials.load(settings.server)


class Credentials:
    """Tokens by server. Every call may take as long as `patience`: from a coroutine, call it in a thread.

    Args:
        folder: Where what is not in the keyring lies, the user's own.
        launcher_servers: URLs as the official launcher spells them; its entries bear these names.
        patience: Seconds to wait for the keyring, which may be asking the person for a password.

    Attributes:
        warnings: Sentences that a person should see once.
    """

    def __init__(self, folder: Path, launcher_servers: Iterable[str] = (), *, patience: float = 5.0) -> None:
        self.warnings: list[str] = []
        self._folder = folder
        self._launcher_servers = {url: _normal(url) for url in launcher_servers}
        self._patience = patience
        self._asking: threading.Thread | None = None

    # --- tokens -----------------------------------------------------------------------------------------------------

    def load(self, url: str) -> Credential | None:
        """The token kept for the server, or None.

        Args:
            url: Normalised.

        Raises:
            NotSignedIn: The token is in a file that others may have read or written.
        """
        unusable: _KeyringUnusable | None = None
        for service in self._services(url):
            try:
                token = self._in_keyring(_get, service)
            except _KeyringUnusable as error:
                unusable = error
                break
            if token:
                return Credential(token, "keyring")
        token = self._read_tokens().get(url)
        if token:
            return Credential(token, str(self._tokens_file))
        if unusable is not None and not isinstance(unusable, _NoKeyring):
            self.warnings.append(f"The system's keyring can't be used ({unusable}); a token in it is not seen.")
        return None

    def save(self, url: str, token: str) -> str:
        """Keep the token, and the server as the last one.

        Args:
            url: Normalised.
            token: One that the server has accepted.

        Returns:
            Where it went, in words.

        Raises:
            AyonAsyncError: It could be kept nowhere.
        """
        try:
            self._in_keyring(_keep, f"AYON/{url}", token)
            self._forget_in_file(url)
            where = "the system's keyring"
        except _KeyringUnusable as error:
            self._write(self._tokens_file, _Tokens(self._tokens_that_stay(url) | {url: token}))
            where = f"the file {self._tokens_file}"
            self.warnings.append(f"The system's keyring can't be used ({error}); the token lies in {where}.")
        self.remember(url)
        return where

    def delete(self, url: str) -> bool:
        """Forget the token wherever it is, the official launcher's login included; returns whether there was one.

        Raises:
            AyonAsyncError: The file with the token can't be changed.
        """
        found = False
        for service in self._services(url):
            try:
                found |= self._in_keyring(_remove, service)
            except _KeyringUnusable:
                break
        found |= self._forget_in_file(url)
        servers = self._read(self._servers_file, _Servers)
        if url in servers.servers:
            servers.servers.remove(url)
            self._write(self._servers_file, servers)
        return found

    # --- servers ----------------------------------------------------------------------------------------------------

    def remember(self, url: str) -> None:
        """Note the server as the last one used; where that can't be written, say so in `warnings`."""
        known = self._read(self._servers_file, _Servers)
        if known.last == url and url in known.servers:
            return
        known.last = url
        known.servers = sorted({*known.servers, url})
        try:
            self._write(self._servers_file, known)
        except AyonAsyncError as error:
            self.warnings.append(error.message)

    @property
    def last_server(self) -> str | None:
        """The server used last, by us, else by the official launcher."""
        theirs = next((url for url in self._launcher_servers.values() if url is not None), None)
        return self._read(self._servers_file, _Servers).last or theirs

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that a person signed in to here or in the official launcher, sorted."""
        ours = self._read(self._servers_file, _Servers).servers
        return tuple(sorted({*ours, *(url for url in self._launcher_servers.values() if url is not None)}))

    # --- the keyring ------------------------------------------------------------------------------------------------

    def _services(self, url: str) -> list[str]:
        """Names of the entries that a token of this server may have."""
        spellings = [theirs for theirs, normal in self._launcher_servers.items() if normal == url and theirs != url]
        return [f"AYON/{spelling}" for spelling in (url, *spellings)]

    def _in_keyring(
        self, call: Callable[Concatenate[KeyringBackend, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Ask the keyring, in a thread that may be left behind: a locked one can block for ever.

        While that thread hangs nobody is asked again; it may be unlocked later on.
        """
        silent = _KeyringUnusable(f"no answer within {self._patience:g} seconds, it may be locked")
        if self._asking is not None and self._asking.is_alive():
            raise silent
        answer: Future[_T] = Future()

        def work() -> None:
            try:
                answer.set_result(call(_backend(), *args, **kwargs))
            except Exception as error:  # backends raise whatever the libraries below them raise
                answer.set_exception(error)

        asking = threading.Thread(target=work, name="keyring", daemon=True)
        asking.start()
        if not concurrent.futures.wait([answer], self._patience).done:
            self._asking = asking
            raise silent
        try:
            return answer.result()
        except _KeyringUnusable:
            raise
        except Exception as error:  # as above
            raise _KeyringUnusable(str(error).partition("\n")[0].rstrip(".") or type(error).__name__) from error

    # --- files ------------------------------------------------------------------------------------------------------

    @property
    def _tokens_file(self) -> Path:
        return self._folder / "credentials.json"

    @property
    def _servers_file(self) -> Path:
        return self._folder / "servers.json"

    def _read_tokens(self) -> dict[str, str]:
        _refuse_if_shared(self._tokens_file)
        return self._read(self._tokens_file, _Tokens).tokens

    def _tokens_that_stay(self, url: str) -> dict[str, str]:
        """The other servers' tokens; none where others may have had them too."""
        try:
            return {other: token for other, token in self._read_tokens().items() if other != url}
        except NotSignedIn:
            return {}

    def _forget_in_file(self, url: str) -> bool:
        if url not in self._read(self._tokens_file, _Tokens).tokens:
            return False
        self._write(self._tokens_file, _Tokens(self._tokens_that_stay(url)))
        return True

    def _read(self, path: Path, kind: type[_File]) -> _File:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return kind()
        except (OSError, msgspec.MsgspecError) as error:
            self.warnings.append(f"{path} can't be read and is ignored: {error}")
            return kind()

    def _write(self, path: Path, content: _Tokens | _Servers) -> None:
        """Replace the file by one that only this user may read, in a folder that only this user may enter."""
        try:
            fs.make_folders(self._folder, 0o700)
            self._folder.chmod(0o700)
            fs.write_atomic(path, msgspec.json.encode(content), 0o600)
        except OSError as error:
            hint = "Give yourself the right to write there, or set AYON_API_KEY instead of signing in."
            raise AyonAsyncError(f"{path} can't be written: {error.strerror}.", hint) from error


def _backend() -> KeyringBackend:
    """The keyring in use; the two stand-ins that keep nothing count as none."""
    import keyring
    from keyring.backends import fail, null

    backend = keyring.get_keyring()
    if isinstance(backend, (fail.Keyring, null.Keyring)):
        raise _NoKeyring("there is none")
    return backend


def _get(keyring: KeyringBackend, service: str) -> str | None:
    return keyring.get_password(service, _ACCOUNT)


def _keep(keyring: KeyringBackend, service: str, token: str) -> None:
    keyring.set_password(service, _ACCOUNT, token)
    if keyring.get_password(service, _ACCOUNT) != token:
        raise _KeyringUnusable("it does not keep what it is given")


def _remove(keyring: KeyringBackend, service: str) -> bool:
    if keyring.get_password(service, _ACCOUNT) is None:
        return False
    keyring.delete_password(service, _ACCOUNT)
    return True


def _refuse_if_shared(path: Path) -> None:
    """Refuse a file of tokens that others may have read or replaced; on Windows the folder's rights keep them out.

    Raises:
        NotSignedIn: By its mode or its folder's mode they may have.
    """
    if sys.platform == "win32" or not path.exists():
        return
    for place, forbidden in ((path, 0o077), (path.parent, 0o022)):
        mode = place.stat().st_mode & 0o777
        if mode & forbidden:
            message = f"The token in {path} is not used: others may have had it, the mode of {place} is {mode:04o}."
            hint = f"Sign in again with 'ayon-async login', or 'chmod go= {place}' if nobody else has been there."
            raise NotSignedIn(message, hint)


def _normal(url: str) -> str | None:
    try:
        return normalize_url(url)
    except UsageError:
        return None
