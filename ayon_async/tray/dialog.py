"""The dialog that signs in: which server, then a password, an API key or the server's page in the browser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from PySide6.QtCore import QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ayon_async.errors import AyonAsyncError, LoginFailed, NotSignedIn
from ayon_async.settings import Place
from ayon_async.signin import SignedIn
from ayon_async.tray.rows import QuietLabel
from ayon_async.tray.tasks import Tasks
from ayon_async.tray.theme import is_dark
from ayon_async.watch.describe import in_words
from ayon_async.watch.servers import remembered_servers
from ayon_async.watch.setup import Setup
from ayon_async.watch.sso import Found, browser_sign_in, find_server, keep, key_sign_in, password_sign_in

_TYPING = 600  # milliseconds without a key until the address is tried
_PASSWORD, _KEY, _BROWSER = range(3)

log = logging.getLogger(__name__)


class SignInDialog(QDialog):
    """Emits `signed_in` with the server's URL once a token is kept, and closes itself.

    Args:
        setup: How to reach servers, and where tokens are kept.
        tasks: Runs what has to be waited for.
        why: What a person should know first, or an empty string.
        name: The user's name where it is known, or an empty string.
    """

    signed_in = Signal(str)

    def __init__(self, setup: Setup, tasks: Tasks, why: str = "", name: str = "") -> None:
        super().__init__()
        self._setup = setup
        self._tasks = tasks
        self._found: Found | None = None
        self._looking: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self.setWindowTitle("Sign in to AYON")
        self.setMinimumWidth(480)
        self._server, self._answer = QComboBox(), QuietLabel()
        self._ways = QTabWidget()
        self._name, self._password, self._key = QLineEdit(name), QLineEdit(), QLineEdit()
        self._first = self._password if name else self._name  # to be filled in
        self._message = QuietLabel()
        self._buttons = QDialogButtonBox()
        self._go = QPushButton("Sign in")
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_TYPING)
        self._lay_out(why)
        self._connect()
        if setup.settings.server is not None:
            self._server.setEditText(setup.settings.server)
            self._server_known()
        self._tasks.start(self._fill_servers())

    # --- what it looks like -----------------------------------------------------------------------------------------

    def _lay_out(self, why: str) -> None:
        self._server.setEditable(True)
        self._server.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._server.setAccessibleName("Server")
        line = self._server.lineEdit()
        assert line is not None
        line.setPlaceholderText("ayon.example.com")
        for field in (self._password, self._key):
            field.setEchoMode(QLineEdit.EchoMode.Password)
        for label in (self._answer, self._message):
            label.setWordWrap(True)
            as_high_as_its_text = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
            as_high_as_its_text.setHeightForWidth(True)
            label.setSizePolicy(as_high_as_its_text)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._answer.setAccessibleName("What the server answers")
        self._message.setAccessibleName("Result")

        head = QFormLayout()
        head.addRow("&Server", self._server)
        self._ways.addTab(_form(("&User", self._name), ("&Password", self._password)), "Password")
        self._ways.addTab(_form(("API &key", self._key)), "API key")
        self._ways.addTab(_browser_page(), "Browser")
        self._buttons.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        self._buttons.addButton(self._go, QDialogButtonBox.ButtonRole.AcceptRole)
        for button in self._buttons.buttons():
            button.setAutoDefault(button is self._go)  # type: ignore[attr-defined]
        self._go.setDefault(True)
        outer = QVBoxLayout(self)
        outer.setSpacing(12)
        outer.setContentsMargins(18, 18, 18, 16)
        if why:
            note = QLabel(why)
            note.setTextFormat(Qt.TextFormat.PlainText)
            note.setWordWrap(True)
            outer.addWidget(note)
        outer.addLayout(head)
        outer.addWidget(self._answer)
        outer.addWidget(self._ways)
        outer.addWidget(self._message)
        outer.addStretch(1)
        outer.addWidget(self._buttons)
        self._tell("")
        self._answer.setMinimumHeight(self._answer.fontMetrics().height())

    def _connect(self) -> None:
        self._pause.timeout.connect(self._look_soon)
        self._server.editTextChanged.connect(self._address_changed)
        self._ways.currentChanged.connect(self._way_changed)
        self._go.clicked.connect(self._start)
        self._buttons.rejected.connect(self.reject)

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(480, 350))

    # --- which server -----------------------------------------------------------------------------------------------

    async def _fill_servers(self) -> None:
        """Offer those that somebody signed in to; what stands there already stays."""
        servers = await asyncio.to_thread(remembered_servers, self._setup.credentials)
        settings = self._setup.settings
        typed = self._server.currentText()
        if settings.origin("server").place is Place.LOCKED:
            servers = ()
            self._server.setEnabled(False)
        with QSignalBlocker(self._server):
            self._server.addItems(list(dict.fromkeys([*([settings.server] if settings.server else []), *servers])))
            if typed:
                self._server.setEditText(typed)
        if not typed and self._server.currentText():
            self._server_known()

    def _server_known(self) -> None:
        """What is still to be filled in has the keyboard, before anybody types."""
        self._first.setFocus()
        self._look_soon()

    def _address_changed(self) -> None:
        self._found = None
        self._say(self._answer, "")
        self._pause.start()

    def _look_soon(self) -> None:
        self._pause.stop()
        if self._looking is not None:
            self._looking.cancel()
        if self._server.currentText().strip():
            self._looking = self._tasks.start(self._look())

    async def _look(self) -> None:
        """See whether there is an AYON server at the address, and say so below it."""
        self._say(self._answer, "Looking for the server …")
        try:
            self._found = await find_server(self._setup, self._server.currentText())
        except AyonAsyncError as error:
            self._say(self._answer, in_words(error), bad=True)
        else:
            self._say(self._answer, f"AYON {self._found.version} at {self._found.url}")

    # --- signing in -------------------------------------------------------------------------------------------------

    def _way_changed(self, way: int) -> None:
        self._tell("")
        self._go.setText("Open browser" if way == _BROWSER else "Sign in")

    def _start(self) -> None:
        if self._working is None:
            self._working = self._tasks.start(self._sign_in())

    async def _sign_in(self) -> None:
        field = {_PASSWORD: self._password, _KEY: self._key}.get(self._ways.currentIndex())
        self._set_busy(True)
        try:
            await self._found_server()
            if self._found is None:
                self._set_busy(False)  # what is busy takes no keyboard
                self._server.setFocus()
                return
            self._tell(_WAITING if field is None else "Signing in …")
            signed_in = await self._ask(self._found.url)
            await keep(self._setup, self._found.url, signed_in)
        except AyonAsyncError as error:
            wrong_key = field is self._key and isinstance(error, NotSignedIn)
            self._tell(_WRONG_KEY if wrong_key else in_words(error), bad=True)
            self._set_busy(False)
            if field is not None and isinstance(error, LoginFailed | NotSignedIn):
                field.setFocus()
                field.selectAll()
        else:
            log.info("Signed in to %s as %s.", self._found.url, signed_in.user)
            self.signed_in.emit(self._found.url)
            self.accept()
        finally:
            self._working = None
            self._set_busy(False)

    async def _found_server(self) -> None:
        """Wait for what is found at the address as it stands now."""
        if self._found is None:
            self._look_soon()
        while self._looking is not None and not self._looking.done():
            await asyncio.wait([self._looking])

    def _ask(self, url: str) -> Awaitable[SignedIn]:
        ways: dict[int, Callable[[], Awaitable[SignedIn]]] = {
            _PASSWORD: lambda: password_sign_in(self._setup, url, self._name.text().strip(), self._password.text()),
            _KEY: lambda: key_sign_in(self._setup, url, self._key.text().strip()),
            _BROWSER: lambda: browser_sign_in(self._setup, url),
        }
        return ways[self._ways.currentIndex()]()

    def done(self, result: int) -> None:
        """Closed: nothing is waited for any more."""
        self._pause.stop()
        for task in (self._looking, self._working):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        super().done(result)

    # --- saying things ----------------------------------------------------------------------------------------------

    def _set_busy(self, busy: bool) -> None:
        self._go.setEnabled(not busy)
        self._ways.setEnabled(not busy)
        self._server.setEnabled(not busy and self._setup.settings.origin("server").place is not Place.LOCKED)

    def _tell(self, text: str, *, bad: bool = False) -> None:
        self._message.setVisible(bool(text))
        self._say(self._message, text, bad=bad)

    def _say(self, label: QuietLabel, text: str, *, bad: bool = False) -> None:
        label.setText(text)
        label.show_in(QColor("#ff8a80" if is_dark(self.palette()) else "#b3261e") if bad else None)
        self._make_room()

    def _make_room(self) -> None:
        """Grow where a text has more lines than before; Qt does not by itself."""
        layout = self.layout()
        if layout is not None and self.isVisible():
            layout.activate()
            self.resize(self.width(), max(self.height(), layout.totalHeightForWidth(self.width())))


_WRONG_KEY = "The server does not accept this key. Copy it again, or ask an administrator for another one."
_WAITING = "Sign in on the page that your browser shows. This waits for it for three minutes."


def _form(*rows: tuple[str, QWidget]) -> QWidget:
    page = QWidget()
    form = QFormLayout(page)
    form.setContentsMargins(12, 14, 12, 12)
    for label, field in rows:
        field.setAccessibleName(label.replace("&", ""))
        form.addRow(label, field)
    return page


def _browser_page() -> QWidget:
    page = QWidget()
    text = QuietLabel()
    text.setText("The server's own page opens in your browser, with the studio's single sign-on where it has one.")
    text.setWordWrap(True)
    layout = QVBoxLayout(page)
    layout.setContentsMargins(12, 14, 12, 12)
    layout.addWidget(text)
    layout.addStretch(1)
    return page
