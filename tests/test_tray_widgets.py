"""The tray's widgets, drawn without a screen: icons, window, menu and the dialog against a real server."""

# ruff: noqa: E402 - Qt, or what it needs of the system, may not be there

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="needs PySide6 and its system libraries")
qasync = pytest.importorskip("qasync", exc_type=ImportError)

from PySide6.QtCore import QObject, QSettings, Qt, QTimer
from PySide6.QtGui import QColor, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QMenu, QPushButton, QTabWidget, QWidget

from authority import self_signed
from ayon_async.cli.output import Output
from ayon_async.cli.setup import Setup, set_up
from ayon_async.devserver import ARTIST, DevServer, tiny_studio
from ayon_async.devserver.faults import Body
from ayon_async.tray.dialog import SignInDialog
from ayon_async.tray.garbage import collect_here
from ayon_async.tray.mark import RING_STEPS, Mark
from ayon_async.tray.menu import Circumstances, Entry, menu_of
from ayon_async.tray.menuview import MenuView
from ayon_async.tray.page import page_of
from ayon_async.tray.paint import COLOURS, SIZES, picture
from ayon_async.tray.rows import RowView
from ayon_async.tray.tasks import Tasks
from ayon_async.tray.window import Actions, Window
from ayon_async.watch.memory import give_back
from tray_states import FAILED, FAILING, IDLE, SIGNED_OUT, WORKING, run

SHAPES = ("idle", "checking", "working", "paused", "attention", "error", "offline", "signed_out")


@pytest.fixture(scope="module")
def application() -> QApplication:
    application = QApplication.instance() or QApplication(["test"])
    assert isinstance(application, QApplication)
    application.setQuitOnLastWindowClosed(False)
    return application


@pytest.fixture(scope="module", autouse=True)
def no_garbage_elsewhere() -> Iterator[None]:
    """As in the tray itself: what is Qt's and in a cycle must not end in another thread, as a server's here."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()


def test_garbage_is_collected_in_qts_thread_alone(application: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    class Watched(QTimer):
        def __init__(self) -> None:
            super().__init__()
            self.me = self
            self.start(1000)

        def __del__(self) -> None:
            ended.append(threading.get_ident())

    def work() -> None:
        for _ in range(100_000):
            garbage: list[object] = []
            garbage.append(garbage)
        give_back()

    monkeypatch.setattr("ayon_async.tray.garbage._EVERY_MS", 10)
    gc.enable()
    parent = QObject()
    try:
        collect_here(parent)
        for _ in range(10):
            Watched()
        elsewhere = threading.Thread(target=work)
        elsewhere.start()
        elsewhere.join()
        deadline = time.monotonic() + 20
        while len(ended) < 10 and time.monotonic() < deadline:
            application.processEvents()
        assert ended == [threading.get_ident()] * 10
    finally:
        parent.deleteLater()
        gc.disable()


# --- icons ----------------------------------------------------------------------------------------------------------


def image(mark: Mark, size: int) -> QImage:
    return picture(mark, size).toImage().convertToFormat(QImage.Format.Format_ARGB32)


def colours(drawn: QImage) -> list[QColor]:
    return [drawn.pixelColor(x, y) for x in range(drawn.width()) for y in range(drawn.height())]


@pytest.mark.parametrize("size", SIZES)
def test_shapes_differ_without_any_colour(application: QApplication, size: int) -> None:
    def grey(shape: Any) -> bytes:
        return bytes(
            image(Mark(shape, ring=RING_STEPS // 2), size).convertToFormat(QImage.Format.Format_Alpha8).constBits()
        ) + bytes(
            image(Mark(shape, ring=RING_STEPS // 2), size).convertToFormat(QImage.Format.Format_Grayscale8).constBits()
        )

    drawn = {shape: grey(shape) for shape in SHAPES}
    for one in SHAPES:
        for other in SHAPES:
            if one != other:
                different = sum(abs(a - b) > 60 for a, b in zip(drawn[one], drawn[other], strict=True))
                assert different > size * size / 20, (one, other)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("follows", ["production", "staging", "dev"])
def test_the_bundle_s_colour_is_there_and_no_other_bundle_s(
    application: QApplication, shape: Any, follows: Any
) -> None:
    seen = {
        colour.name() for colour in colours(image(Mark(shape, follows, RING_STEPS // 2), 22)) if colour.alpha() == 255
    }
    assert {COLOURS[name] for name in COLOURS if COLOURS[name] in seen} == {COLOURS[follows]}
    assert COLOURS["staging"] == "#ff8c00"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("panel", ["#ffffff", "#1e1e1e"])
def test_icons_stand_out_from_light_and_dark_panels(application: QApplication, shape: Any, panel: str) -> None:
    def luminance(colour: QColor) -> float:
        parts = (colour.redF(), colour.greenF(), colour.blueF())
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ground = luminance(QColor(panel))
    solid = [colour for colour in colours(image(Mark(shape, ring=12), 22)) if colour.alpha() == 255]
    pairs = [sorted((luminance(colour), ground)) for colour in solid]
    seen = sum((light + 0.05) / (dark + 0.05) >= 2.5 for dark, light in pairs)
    assert seen > 40


def test_the_ring_grows(application: QApplication) -> None:
    def full(ring: int) -> int:
        drawn = colours(image(Mark("working", ring=ring), 24))
        return sum(colour.name() == COLOURS["production"] and colour.alpha() == 255 for colour in drawn)

    sizes = [full(ring) for ring in range(0, RING_STEPS + 1, 3)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0] + 60


# --- the window -----------------------------------------------------------------------------------------------------


class Told:
    """What a window asked for."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def actions(self) -> Actions:
        def note(name: str) -> Callable[[], object]:
            return lambda: self.calls.append(name)

        return Actions(
            note("check"), lambda paused: self.calls.append(("pause", paused)), note("sign_in"), note("quit")
        )


def window(told: Told, folder: Path) -> Window:
    return Window(told.actions(), QMenu(), QSettings(str(folder / "w.ini"), QSettings.Format.IniFormat), has_tray=True)


def button(parent: QWidget, text: str) -> QPushButton:
    [found] = [one for one in parent.findChildren(QPushButton) if one.text() == text and one.isVisibleTo(parent)]
    return found


def shown_texts(parent: QWidget) -> list[str]:
    return [label.text() for label in parent.findChildren(QLabel) if label.isVisibleTo(parent) and label.text()]


def test_a_failed_row_has_its_buttons(application: QApplication, tmp_path: Path) -> None:
    told = Told()
    one = window(told, tmp_path)
    one.show_page(page_of(replace(FAILING, snapshot=run(FAILED)), tmp_path / "tray.log"))
    [row] = one.findChildren(RowView)
    assert row.accessibleName() == "maya 3.0.0, Failed, The archive is no zip. Upload it again."
    button(row, "Retry").click()
    button(row, "Copy details").click()
    assert told.calls == ["check"]
    assert "Upload it again." in QGuiApplication.clipboard().text()


def test_rows_keep_their_widgets_and_follow_the_order(application: QApplication, tmp_path: Path) -> None:
    one = window(Told(), tmp_path)
    one.show_page(page_of(WORKING))
    before = {view.item: view for view in one.findChildren(RowView)}
    done = replace(IDLE, snapshot=run(*reversed(WORKING.snapshot.items)) if WORKING.snapshot else None)
    one.show_page(page_of(done))
    assert {view.item: view for view in one.findChildren(RowView)} == before
    one.show_page(page_of(SIGNED_OUT))
    assert "Not signed in" in shown_texts(one)
    button(one, "Sign in…").click()


def test_the_window_pauses_resumes_and_remembers_its_size(application: QApplication, tmp_path: Path) -> None:
    told = Told()
    one = window(told, tmp_path)
    one.show_page(page_of(IDLE))
    button(one, "Pause").click()
    one.show_page(page_of(replace(IDLE, paused=True)))
    button(one, "Resume").click()
    assert told.calls == [("pause", True), ("pause", False)]
    one.show_page(page_of(SIGNED_OUT))
    assert not button(one, "Pause").isEnabled()
    one.resize(701, 503)
    one.show()
    one.close()
    again = window(told, tmp_path)
    assert (again.width(), again.height()) == (701, 503)


def test_everything_can_be_reached_and_is_named(application: QApplication, tmp_path: Path) -> None:
    one = window(Told(), tmp_path)
    one.show_page(page_of(FAILING))
    one.show()
    buttons = [b for b in one.findChildren(QPushButton) if b.isVisibleTo(one)]
    assert len(buttons) == 6
    assert all(b.focusPolicy() & Qt.FocusPolicy.TabFocus for b in buttons)
    assert all(b.accessibleName() or b.text() for b in buttons)
    one.hide()


# --- the menu -------------------------------------------------------------------------------------------------------


def test_the_menu_changes_where_it_stands(application: QApplication) -> None:
    chosen: list[Entry] = []
    menu = QMenu()
    view = MenuView(menu, chosen.append)
    view.show_entries(menu_of(IDLE, Circumstances(autostart=False)))
    before = menu.actions()
    view.show_entries(menu_of(replace(IDLE, follows="staging"), Circumstances(autostart=False)))
    assert menu.actions() == before
    checked = [action.text() for action in menu.actions() if action.isChecked()]
    assert checked == ["Staging"]
    production = next(action for action in menu.actions() if action.text() == "Production")
    production.trigger()
    assert [(entry.command, entry.value) for entry in chosen] == [("follow", "production")]
    assert not production.isChecked(), "only the state says what is chosen"
    view.show_entries(menu_of(replace(IDLE, has_dev_bundle=True), Circumstances(autostart=False)))
    assert "Dev" in [action.text() for action in menu.actions()]


# --- the dialog -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_qt(application: QApplication) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Runs a coroutine in Qt's loop."""

    def run_it(work: Callable[[], Awaitable[None]]) -> None:
        async def in_time() -> None:
            async with asyncio.timeout(30):
                await work()

        with qasync.QEventLoop(application) as loop:
            loop.run_until_complete(in_time())

    return run_it


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    for name in [name for name in os.environ if name.startswith(("AYON_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    return set_up({}, Output())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - widgets tell by no event of asyncio's
        await asyncio.sleep(0.02)


class Dialog:
    """The dialog, as a person uses it."""

    def __init__(self, setup: Setup, **known: str) -> None:
        self.tasks = Tasks()
        self.signed_in: list[str] = []
        self.dialog = SignInDialog(setup, self.tasks, **known)
        self.dialog.signed_in.connect(self.signed_in.append)
        self.dialog.show()
        self.server = self.dialog.findChildren(QComboBox)[0]
        self.ways = self.dialog.findChildren(QTabWidget)[0]
        self.fields = {field.accessibleName(): field for field in self.dialog.findChildren(QLineEdit)}

    def says(self, text: str) -> bool:
        return any(text in shown for shown in shown_texts(self.dialog))

    async def close(self) -> None:
        self.dialog.reject()
        await self.tasks.stop()


def test_sign_in_with_a_password_after_a_wrong_one(in_qt: Any, setup: Setup) -> None:
    async def work() -> None:
        async with DevServer(tiny_studio()) as server:
            dialog = Dialog(setup)
            dialog.server.setEditText(f"127.0.0.1:{server.port}/")
            await until(lambda: dialog.says(f"AYON 1.16.3 at {server.url}") or dialog.says("AYON 1."))
            dialog.fields["User"].setText(ARTIST.name)
            dialog.fields["Password"].setText("wrong")
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.says("Check the name and the password."))
            assert dialog.fields["Password"].selectedText() == "wrong"
            dialog.fields["Password"].setText(ARTIST.password or "")
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.signed_in)
            assert dialog.signed_in == [server.url]
            assert not dialog.dialog.isVisible()
            kept = await asyncio.to_thread(setup.credentials.load, server.url)
            assert kept is not None
            await dialog.close()

    in_qt(work)


def test_sign_in_with_a_key_without_waiting_for_the_address(in_qt: Any, setup: Setup) -> None:
    async def work() -> None:
        async with DevServer(tiny_studio()) as server:
            dialog = Dialog(setup)
            dialog.server.setEditText(server.url)
            dialog.ways.setCurrentIndex(1)
            dialog.fields["API key"].setText("no-such-key")
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.says("does not accept this key"))
            dialog.fields["API key"].setText(ARTIST.api_keys[0])
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.signed_in)
            await dialog.close()

    in_qt(work)


def test_whoever_is_asked_again_gives_the_password_alone(in_qt: Any, setup: Setup) -> None:
    async def work() -> None:
        async with DevServer(tiny_studio()) as server:
            setup.credentials.remember(server.url)
            dialog = Dialog(setup.again(), why="Invalid session", name=ARTIST.name)
            assert dialog.dialog.focusWidget() is dialog.fields["Password"]  # before anybody types
            await until(lambda: dialog.says("AYON 1."))
            assert dialog.says("Invalid session")
            assert dialog.server.currentText() == server.url
            assert dialog.fields["User"].text() == ARTIST.name
            assert dialog.dialog.focusWidget() is dialog.fields["Password"]
            dialog.fields["Password"].setText(ARTIST.password or "")
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.signed_in)
            await dialog.close()

    in_qt(work)


@pytest.mark.parametrize(
    ("issue", "trusted", "words", "what_to_do"),
    [
        (self_signed, False, "not trusted: self-signed certificate.", "name its PEM file in AYON_CA_FILE."),
        (partial(self_signed, days=-1), True, "certificate has expired.", "Check this computer's clock"),
        (partial(self_signed, address="127.0.0.9"), True, "mismatch", "Check the address"),
    ],
    ids=["self-signed", "expired", "another one's"],
)
def test_a_certificate_that_is_not_trusted_is_said_below_the_address(
    in_qt: Any,
    setup: Setup,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    issue: Callable[[Path], Path],
    trusted: bool,
    words: str,
    what_to_do: str,
) -> None:
    certificate = issue(tmp_path)
    if trusted:
        monkeypatch.setenv("AYON_CA_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def work() -> None:
        async with DevServer(tiny_studio(), ssl=context) as server:
            dialog = Dialog(setup.again())
            dialog.server.setEditText(server.url)
            dialog.fields["User"].setText(ARTIST.name)
            dialog.fields["Password"].setText(ARTIST.password or "")
            button(dialog.dialog, "Sign in").click()
            await until(lambda: dialog.says(words))
            assert dialog.says(what_to_do)
            await until(button(dialog.dialog, "Sign in").isEnabled)
            assert dialog.dialog.focusWidget() is dialog.server
            assert server.requests == []  # the password has gone to nobody
            assert dialog.signed_in == []
            await dialog.close()

    in_qt(work)


def test_errors_of_the_address_stand_below_it(in_qt: Any, setup: Setup) -> None:
    async def work() -> None:
        async with DevServer(tiny_studio()) as server:
            server.faults.add("/api/info", Body())
            dialog = Dialog(setup)
            dialog.server.setEditText(server.url)
            await until(lambda: dialog.says("this is not an AYON server"))
            dialog.server.setEditText("ftp://example.com")
            await until(lambda: dialog.says("not http or https"))
        dialog.server.setEditText(server.url)
        await until(lambda: dialog.says("No connection to"))
        await dialog.close()

    in_qt(work)


def test_closing_the_dialog_waits_for_no_browser(in_qt: Any, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    async def work() -> None:
        async with DevServer(tiny_studio()) as server:
            dialog = Dialog(setup)
            dialog.server.setEditText(server.url)
            dialog.ways.setCurrentIndex(2)
            button(dialog.dialog, "Open browser").click()
            await until(lambda: opened)
            assert "auth_redirect=http://localhost:" in opened[0]
            await dialog.close()

    monkeypatch.setattr("ayon_async.tray.dialog.browser_sign_in", with_browser(opened.append))
    in_qt(work)


def with_browser(open_page: Callable[[str], object]) -> Any:
    from ayon_async.watch.sso import browser_sign_in

    return lambda setup, url: browser_sign_in(setup, url, open_page)


# --- Qt itself ------------------------------------------------------------------------------------------------------

LEAK = """
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QLabel

class Teller(QObject):
    told = Signal(object)

application = QApplication([])
label, teller = QLabel(), Teller()
teller.told.connect(lambda value: None)
for number in range(200_000):
    label.setText("x")
    teller.told.emit(None)
print("done")
"""


IMPORTS = """
import builtins, linecache
before = builtins.__import__
from ayon_async.tray.ready import need_tray
need_tray({"DISPLAY": ":0"})
assert builtins.__import__ is before
from PySide6.QtWidgets import QWidget
import ayon_async.cli.setup, ayon_async.tray.window, ayon_async.watch.sso
assert not [name for name in linecache.cache if "ayon_async" in name]
"""


def test_importing_reads_no_source() -> None:
    """PySide6's own import reads and keeps the source of every module that imports anything once it is there."""
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_qt_keeps_its_hands_off_python_s_own_objects() -> None:
    """Some versions of PySide6 drop references to None and True, which aborts the interpreter after a while."""
    done = subprocess.run([sys.executable, "-c", LEAK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
