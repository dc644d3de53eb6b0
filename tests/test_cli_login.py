"""``ayon-async login`` and ``logout``, as a person and as a script use them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ayon_async.devserver import DevServer, tiny_studio
from cli_machine import Ended, Machine, ended

KEYRING = """
import json, os
from pathlib import Path
from keyring.backend import KeyringBackend
FILE = Path(os.environ["HOME"]) / "keyring.json"
class Keyring(KeyringBackend):
    priority = 1
    def _entries(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}
    def get_password(self, service, username):
        return self._entries().get(f"{service} {username}")
    def set_password(self, service, username, password):
        FILE.write_text(json.dumps(self._entries() | {f"{service} {username}": password}))
    def delete_password(self, service, username):
        FILE.write_text(json.dumps({k: v for k, v in self._entries().items() if k != f"{service} {username}"}))
"""
BROWSER = """
import sys, urllib.parse, urllib.request
form = urllib.parse.urlencode({"name": "artist", "password": "artist"}).encode()
urllib.request.urlopen(sys.argv[1], form).read()
"""


@pytest.fixture
async def dev() -> AsyncIterator[DevServer]:
    async with DevServer(tiny_studio(100)) as dev:
        yield dev


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a keyring that other processes see too."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/file_keyring.py").write_text(KEYRING)
    machine = Machine(tmp_path)
    machine.env["PYTHONPATH"] += os.pathsep + str(tmp_path / "modules")
    machine.env["PYTHON_KEYRING_BACKEND"] = "file_keyring.Keyring"
    return machine


async def told(machine: Machine, words: str, *arguments: str) -> Ended:
    """What a command leaves that is told these words on its standard input."""
    process = await machine.start(*arguments, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(words.encode())
    process.stdin.close()
    return await ended(process)


def keyring_of(machine: Machine) -> str:
    path = machine.home / "keyring.json"
    return path.read_text() if path.exists() else "{}"


# --- what a script does ---------------------------------------------------------------------------------------------


async def test_password_then_sync_then_logout(dev: DevServer, machine: Machine) -> None:
    done = await told(machine, "artist\n", "login", dev.url + "/api", "--user", "artist", "--password-stdin")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Signed in to {dev.url} as artist. The token is kept in the system's keyring.\n"
    (token,) = dev.accounts.sessions
    assert f'"AYON/{dev.url} username": "{token}"' in keyring_of(machine), "where the launcher looks"

    dev.forget_requests()
    assert (await machine.run("sync")).code == 0, "the server is remembered, too"
    done = await machine.run("login")
    assert (done.code, done.out) == (0, f"You are signed in to {dev.url} as artist.\n")
    assert (await machine.run("login", "--user", "Artist")).code == 0
    assert not dev.requests_to("/api/auth/login")

    done = await machine.run("logout")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Signed out of {dev.url}. This ended the AYON launcher's login there too.\n"
    assert (dev.accounts.sessions, keyring_of(machine)) == ({}, "{}")
    done = await machine.run("logout")
    assert (done.code, done.out) == (0, f"You were not signed in to {dev.url}.\n")
    assert (await machine.run("sync")).code == 4


async def test_a_login_of_the_launcher_s_is_used(dev: DevServer, machine: Machine) -> None:
    token = dev.accounts.open_session(dev.studio.users[0])
    (machine.home / "keyring.json").write_text(f'{{"AYON/{dev.url} username": "{token}"}}')
    done = await machine.run("login", "--server", dev.url)
    assert (done.code, done.out) == (0, f"You are signed in to {dev.url} as admin.\n")
    assert (await machine.run("sync")).code == 0, "and the server is the last one used"


async def test_a_wrong_password_is_said_once(dev: DevServer, machine: Machine) -> None:
    done = await told(machine, "wrong\n", "login", dev.url, "--user", "artist", "--password-stdin")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("refuses the login of 'artist'") == 1
    assert len(dev.requests_to("/api/auth/login")) == 1
    assert keyring_of(machine) == "{}"


async def test_api_key(dev: DevServer, machine: Machine) -> None:
    done = await told(machine, "service-key", "login", dev.url, "--api-key-stdin")
    assert (done.code, done.out.partition(".")[0]) == (0, f"Signed in to {dev.url.partition('.')[0]}"), done.err
    assert "service-key" in keyring_of(machine)
    assert "service-key" not in done.out + done.err
    assert (await machine.run("sync")).code == 0
    done = await told(machine, "junk\n", "login", dev.url, "--api-key-stdin")
    assert (done.code, "does not accept the key" in done.err) == (4, True)
    assert "service-key" in keyring_of(machine), "what worked is still there"


async def test_browser(dev: DevServer, machine: Machine, tmp_path: Path) -> None:
    browser = tmp_path / "browser.py"
    browser.write_text(BROWSER)
    machine.env["BROWSER"] = f"{sys.executable} {browser} %s"
    done = await machine.run("login", dev.url, "--browser")
    assert (done.code, done.out) == (
        0,
        f"Signed in to {dev.url} as artist. The token is kept in the system's keyring.\n",
    ), done.err
    assert f"open this on this computer: {dev.url}/?auth_redirect=http://localhost:" in done.err


async def test_without_a_keyring_it_says_which_file(dev: DevServer, machine: Machine) -> None:
    machine.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    machine.env["AYON_API_KEY"] = "another"
    done = await told(machine, "artist\n", "login", dev.url, "--user", "artist", "--password-stdin")
    (file,) = machine.home.rglob("credentials.json")
    assert (done.code, str(file) in done.out) == (0, True)
    assert "Warning: AYON_API_KEY is set and comes before what is kept." in done.err
    del machine.env["AYON_API_KEY"]
    done = await machine.run("logout")
    assert (done.code, done.out) == (0, f"Signed out of {dev.url}.\n"), "the launcher's login is another one"


async def test_what_the_server_is_not_told_of_a_logout(dev: DevServer, machine: Machine) -> None:
    await told(machine, "artist\n", "login", dev.url, "--user", "artist", "--password-stdin")
    await dev.stop()
    done = await machine.run("logout")
    assert (done.code, "No connection to" in done.err) == (3, True)
    assert keyring_of(machine) == "{}", "forgotten here all the same"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "nobody to ask"),
        (["--user", "artist"], "nobody to ask"),
        (["--password-stdin"], "needs --user"),
        (["--user", "artist", "--password-stdin"], "no password on standard input"),
        (["--api-key-stdin"], "no API key on standard input"),
        (["--api-key-stdin", "--browser"], "contradict each other"),
        (["--browser", "--user", "artist"], "contradict each other"),
        (["--browser", "--headless"], "no browser in headless mode"),
        (["http://127.0.0.1:1", "--server", "http://127.0.0.1:2"], "Give the server's URL once"),
    ],
    ids=" ".join,
)
async def test_wrong_usage(
    dev: DevServer, machine: Machine, arguments: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.env["AYON_SERVER_URL"] = dev.url
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    done = await machine.call("login", *arguments)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert not dev.requests_to("/api/auth/*")


async def test_no_server_is_known(machine: Machine) -> None:
    assert (await machine.call("login")).code == 2
    assert (await machine.call("logout")).code == 2


# --- what a person does ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def at_a_terminal(machine: Machine, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A command at a terminal of its own, and the side of it where the person sits."""
    import pty

    ours, theirs = pty.openpty()
    try:
        process = await machine.start(
            *arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, process_group=None
        )
        os.close(theirs)
        yield process, ours
        await process.wait()
    finally:
        os.close(ours)


async def read_until(terminal: int, words: str) -> str:
    """What the terminal shows, as far as these words; or until it is left."""
    seen = ""
    while words not in seen:
        try:
            seen += (await asyncio.to_thread(os.read, terminal, 1000)).decode()
        except OSError:  # Linux's way to say that nobody is left on the other side
            assert not words, seen
            break
    return seen


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals that tests could use")
async def test_a_person_is_asked_and_the_password_is_not_shown(dev: DevServer, machine: Machine) -> None:
    async with at_a_terminal(machine, "login", dev.url) as (process, terminal):
        await read_until(terminal, "User: ")
        os.write(terminal, b"artist\n")
        await read_until(terminal, "Password: ")
        os.write(terminal, b"artist\n")
        seen = await read_until(terminal, "keyring.")
        await process.wait()
    assert process.returncode == 0
    assert f"Signed in to {dev.url} as artist." in seen.replace("\r\n", "")
    assert seen.count("artist") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals that tests could use")
async def test_ctrl_c_at_the_question(dev: DevServer, machine: Machine) -> None:
    import termios

    async with at_a_terminal(machine, "login", dev.url, "--user", "artist") as (process, terminal):
        await read_until(terminal, "Password: ")
        process.send_signal(signal.SIGINT)
        seen = await read_until(terminal, "Interrupted")
        await process.wait()
        assert termios.tcgetattr(terminal)[3] & termios.ECHO, "what is typed is seen again"
    assert process.returncode == 130
    assert "Traceback" not in seen
