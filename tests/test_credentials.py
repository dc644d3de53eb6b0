"""Tokens in a real keyring backend, in the file that stands in for one, and what is refused."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.core import load_keyring
from keyring.errors import KeyringLocked, PasswordDeleteError

from ayon_async import fs
from ayon_async.configuration import load_settings
from ayon_async.credentials import Credential, Credentials, find_credential
from ayon_async.errors import AyonAsyncError, NotSignedIn

URL = "https://ayon.example.com"
OTHER = "http://localhost:5000"
NO_KEYRING = load_keyring("keyring.backends.fail.Keyring")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps others out by the folder's rights")


class Memory(KeyringBackend):
    """A keyring that lasts as long as the test."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.calls = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.calls += 1
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.entries:
            raise PasswordDeleteError("not there")
        del self.entries[service, username]


class Locked(Memory):
    """A keyring whose owner dismisses every question for the password."""

    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("Failed to unlock the collection!")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise KeyringLocked("Failed to unlock the collection!")


class Blocked(Memory):
    """A keyring that waits for a person who is not there."""

    def __init__(self, until: threading.Event) -> None:
        super().__init__()
        self.until = until

    def get_password(self, service: str, username: str) -> str | None:
        self.until.wait(30)
        return None


class Forgetful(Memory):
    """A keyring that takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


@pytest.fixture
def memory() -> Iterator[Memory]:
    before = keyring.get_keyring()
    memory = Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "config"


# --- the keyring ----------------------------------------------------------------------------------------------------


def test_the_launcher_s_entry_is_ours(memory: Memory, folder: Path) -> None:
    memory.entries["AYON/" + URL, "username"] = "launchers"
    credentials = Credentials(folder)
    assert credentials.load(URL) == Credential("launchers", "keyring")
    assert credentials.load(OTHER) is None
    assert credentials.save(URL, "ours") == "the system's keyring"
    assert memory.entries == {("AYON/" + URL, "username"): "ours"}
    assert credentials.warnings == []
    assert [path.name for path in folder.iterdir()] == ["servers.json"], "no token in a file"


def test_the_launcher_s_spelling_of_the_url_is_found_and_forgotten(memory: Memory, folder: Path) -> None:
    memory.entries["AYON/https://AYON.example.com:443", "username"] = "launchers"
    credentials = Credentials(folder, ["junk://", "https://AYON.example.com:443"])
    assert credentials.load(URL) == Credential("launchers", "keyring")
    assert credentials.delete(URL) is True
    assert memory.entries == {}


def test_delete(memory: Memory, folder: Path) -> None:
    credentials = Credentials(folder)
    credentials.save(URL, "ours")
    assert credentials.delete(URL) is True
    assert credentials.load(URL) is None
    assert credentials.delete(URL) is False


def test_a_key_in_the_environment_leaves_the_keyring_alone(memory: Memory, folder: Path) -> None:
    environ = {"AYON_SERVER_URL": URL, "AYON_API_KEY": "from-outside"}
    credentials = Credentials(folder)
    assert find_credential(load_settings(environ=environ), credentials) == Credential("from-outside", "AYON_API_KEY")
    assert memory.calls == 0
    memory.entries["AYON/" + URL, "username"] = "kept"
    settings = load_settings(environ={"AYON_SERVER_URL": URL})
    assert find_credential(settings, credentials) == Credential("kept", "keyring")
    assert find_credential(load_settings(environ={}), credentials) is None


def test_a_credential_shows_no_secret() -> None:
    assert "s3cret" not in repr(Credential("s3cret", "keyring"))


def test_the_keyring_is_imported_only_when_needed() -> None:
    code = "import sys, ayon_async.credentials; sys.exit('keyring' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parent.parent).returncode == 0


# --- without a keyring ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring, Locked, Forgetful])
def test_without_a_usable_keyring_a_private_file(memory: Memory, folder: Path, backend: type[KeyringBackend]) -> None:
    keyring.set_keyring(backend())
    credentials = Credentials(folder)
    file = folder / "credentials.json"
    assert credentials.save(URL, "ours") == f"the file {file}"
    credentials.save(OTHER, "others")
    assert str(file) in credentials.warnings[0]
    assert "keyring can't be used" in credentials.warnings[0]

    again = Credentials(folder)
    assert again.load(URL) == Credential("ours", str(file))
    assert again.load(OTHER) == Credential("others", str(file))
    if sys.platform != "win32":
        assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert again.delete(URL) is True
    assert (again.load(URL), again.delete(URL)) == (None, False)
    assert again.load(OTHER) == Credential("others", str(file))
    assert {path.name for path in folder.iterdir()} == {"credentials.json", "servers.json"}, "nothing is left behind"


def test_a_keyring_that_comes_back_takes_the_token_from_the_file(memory: Memory, folder: Path) -> None:
    keyring.set_keyring(NO_KEYRING)
    Credentials(folder).save(URL, "old")
    keyring.set_keyring(memory)
    credentials = Credentials(folder)
    assert credentials.load(URL) == Credential("old", str(folder / "credentials.json"))
    credentials.save(URL, "new")
    assert "old" not in (folder / "credentials.json").read_text()
    assert credentials.load(URL) == Credential("new", "keyring")


def test_a_keyring_that_does_not_answer_is_waited_for_once(memory: Memory, folder: Path) -> None:
    until = threading.Event()
    keyring.set_keyring(Blocked(until))
    credentials = Credentials(folder, patience=0.2)
    try:
        begin = time.monotonic()
        assert credentials.load(URL) is None
        assert credentials.load(OTHER) is None
        assert credentials.save(URL, "ours") == f"the file {folder / 'credentials.json'}"
        assert time.monotonic() - begin < 2
    finally:
        until.set()
    assert "no answer within 0.2 seconds" in credentials.warnings[0]


def test_a_keyring_that_is_unlocked_meanwhile_is_asked_again(memory: Memory, folder: Path) -> None:
    memory.entries["AYON/" + URL, "username"] = "kept"
    keyring.set_keyring(Locked())
    credentials = Credentials(folder)
    assert credentials.load(URL) is None
    keyring.set_keyring(memory)
    assert credentials.load(URL) == Credential("kept", "keyring")
    until = threading.Event()
    keyring.set_keyring(Blocked(until))
    credentials = Credentials(folder, patience=0.2)
    assert credentials.load(URL) is None
    until.set()
    for thread in threading.enumerate():
        if thread.name == "keyring":
            thread.join()
    keyring.set_keyring(memory)
    assert credentials.load(URL) == Credential("kept", "keyring")


def test_a_keyring_that_does_not_answer_holds_up_no_exit(tmp_path: Path) -> None:
    code = f"""
import keyring, keyring.backend, time
from pathlib import Path
from ayon_async import fs
from ayon_async.credentials import Credentials
class Blocked(keyring.backend.KeyringBackend):
    priority = 1
    def get_password(self, *_):
        time.sleep(60)
    set_password = delete_password = get_password
keyring.set_keyring(Blocked())
assert Credentials(Path({str(tmp_path)!r}), patience=0.1).load("https://a") is None
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20, cwd=Path(__file__).parent.parent)


def test_a_locked_keyring_is_mentioned_when_no_token_is_found(memory: Memory, folder: Path) -> None:
    keyring.set_keyring(Locked())
    credentials = Credentials(folder)
    assert credentials.load(URL) is None
    assert credentials.warnings == [
        "The system's keyring can't be used (Failed to unlock the collection!); a token in it is not seen."
    ]
    keyring.set_keyring(NO_KEYRING)
    credentials = Credentials(folder)
    assert credentials.load(URL) is None
    assert credentials.warnings == [], "a machine without a keyring is nothing to speak of"


@posix_only
@pytest.mark.parametrize(
    ("place", "mode"),
    [("credentials.json", 0o640), ("credentials.json", 0o604), ("credentials.json", 0o620), (".", 0o770), (".", 0o703)],
)
def test_a_file_that_others_may_have_had_is_refused(memory: Memory, folder: Path, place: str, mode: int) -> None:
    keyring.set_keyring(NO_KEYRING)
    Credentials(folder).save(URL, "s3cret")
    (folder / place).chmod(mode)
    credentials = Credentials(folder)
    with pytest.raises(NotSignedIn, match=f"{mode:04o}") as caught:
        credentials.load(URL)
    assert caught.value.exit_code == 4
    assert str(folder / "credentials.json") in caught.value.message
    assert "s3cret" not in caught.value.message

    credentials.save(OTHER, "new")
    assert credentials.load(OTHER) == Credential("new", str(folder / "credentials.json"))
    assert credentials.load(URL) is None, "signing in again drops what others may have had"


def test_a_damaged_file_is_said_and_replaced(memory: Memory, folder: Path) -> None:
    keyring.set_keyring(NO_KEYRING)
    credentials = Credentials(folder)
    credentials.save(URL, "ours")
    for junk in ("{", '{"tokens": {"a": 1}}', "[]"):
        (folder / "credentials.json").write_text(junk)
        credentials = Credentials(folder)
        assert credentials.load(URL) is None
        assert "credentials.json can't be read" in credentials.warnings[0]
    credentials.save(URL, "ours")
    assert credentials.load(URL) is not None


def test_a_write_that_fails_leaves_the_old_file(memory: Memory, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring.set_keyring(NO_KEYRING)
    Credentials(folder).save(URL, "old")

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fs, "flush", full)
    with pytest.raises(AyonAsyncError, match="No space left"):
        Credentials(folder).save(URL, "new")
    assert Credentials(folder).load(URL) == Credential("old", str(folder / "credentials.json"))
    assert {path.name for path in folder.iterdir()} == {"credentials.json", "servers.json"}


def test_a_token_that_can_be_kept_nowhere_is_an_error(memory: Memory, tmp_path: Path) -> None:
    keyring.set_keyring(NO_KEYRING)
    (tmp_path / "file").touch()
    with pytest.raises(AyonAsyncError, match=r"can't be written") as caught:
        Credentials(tmp_path / "file/config").save(URL, "s3cret")
    assert "AYON_API_KEY" in caught.value.hint
    assert "s3cret" not in caught.value.message


# --- servers --------------------------------------------------------------------------------------------------------


def test_servers_are_remembered(memory: Memory, folder: Path) -> None:
    credentials = Credentials(folder)
    assert (credentials.last_server, credentials.servers) == (None, ())
    credentials.save(URL, "a")
    credentials.save(OTHER, "b")
    credentials.remember(OTHER)
    again = Credentials(folder)
    assert (again.last_server, again.servers) == (OTHER, (OTHER, URL))
    again.delete(OTHER)
    assert (again.last_server, again.servers) == (OTHER, (URL,))
    assert set(json.loads((folder / "servers.json").read_text())) == {"last", "servers"}


def test_the_launcher_s_servers_count_too(memory: Memory, folder: Path) -> None:
    credentials = Credentials(folder, ["nonsense://", "https://AYON.example.com/", OTHER])
    assert (credentials.last_server, credentials.servers) == (URL, (OTHER, URL))
    credentials.remember(OTHER)
    assert credentials.last_server == OTHER


def test_servers_that_cannot_be_remembered_are_no_error(memory: Memory, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    credentials = Credentials(tmp_path / "file/config")
    assert credentials.save(URL, "a") == "the system's keyring"
    assert "servers.json can't be written" in " ".join(credentials.warnings)
