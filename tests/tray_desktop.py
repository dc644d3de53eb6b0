"""A desktop without a screen: a display, a session bus, and on it the tray's host and the notifications' server.

What a tray shows is what it says over the bus: the icon's pixels, the tooltip, the menu and its entries. That is the
protocol of KDE and of GNOME's extension, so nothing of the program is replaced.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

_WATCHER = "org.kde.StatusNotifierWatcher"
_ITEM = "org.kde.StatusNotifierItem"
_MENU = "com.canonical.dbusmenu"
_NOTIFICATIONS = "org.freedesktop.Notifications"
_PORTAL = "org.freedesktop.portal.Desktop"
_PROPERTIES = "org.freedesktop.DBus.Properties"


@dataclass(frozen=True, slots=True)
class Shown:
    """A notification."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the tray's menu."""

    id: int
    label: str
    enabled: bool
    checked: bool | None
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Desktop:
    """The session, as the programs in it see it, and what they showed.

    Attributes:
        env: What they need in their environment.
        notifications: What was shown so far.
        dark: What the desktop prefers.
    """

    env: dict[str, str]
    notifications: list[Shown] = field(default_factory=list)
    dark: bool = False
    _bus: MessageBus | None = None
    _items: list[tuple[str, str]] = field(default_factory=list)

    # --- the tray ---------------------------------------------------------------------------------------------------

    async def offer_tray(self) -> None:
        """From now on there is a tray."""
        assert self._bus is not None
        await self._bus.request_name(_WATCHER)

    @property
    def icons(self) -> int:
        """How many icons programs put into the tray so far."""
        return len(self._items)

    async def tooltip(self) -> str:
        """What is said of the icon."""
        return str((await self._property("ToolTip"))[2])

    async def pixels(self, size: int) -> bytes:
        """The icon of this size: alpha, red, green and blue of each pixel."""
        pictures = {width: data for width, _, data in await self._property("IconPixmap")}
        nearest = min(pictures, key=lambda width: abs(width - size))
        return bytes(pictures[nearest])

    async def colours(self, size: int = 22) -> dict[str, int]:
        """How many pixels of the icon have each colour; only those that are not seen through at all."""
        data = await self.pixels(size)
        found: dict[str, int] = {}
        for at in range(0, len(data), 4):
            if data[at] == 255:
                colour = data[at + 1 : at + 4].hex()
                found[colour] = found.get(colour, 0) + 1
        return found

    async def activate(self) -> None:
        """Click the icon."""
        await self._call(*self._items[-1], _ITEM, "Activate", "ii", [10, 10])

    async def menu(self) -> tuple[Line, ...]:
        """The tray's menu, without the lines between its groups."""
        name, _ = self._items[-1]
        path = str(await self._property("Menu"))
        _, root = await self._call(name, path, _MENU, "GetLayout", "iias", [0, -1, []])
        return _lines(root)

    async def choose(self, *labels: str) -> None:
        """Click an entry of the menu, through the menus on the way."""
        lines: tuple[Line, ...] = await self.menu()
        for label in labels:
            [line] = [line for line in lines if line.label == label]
            lines = line.lines
        assert line.enabled, labels
        path = str(await self._property("Menu"))
        event = [line.id, "clicked", Variant("i", 0), 0]
        await self._call(self._items[-1][0], path, _MENU, "Event", "isvu", event)

    async def _property(self, name: str) -> Any:
        service, path = self._items[-1]
        [value] = await self._call(service, path, _PROPERTIES, "Get", "ss", [_ITEM, name])
        return value.value

    async def _call(
        self, name: str, path: str, interface: str, member: str, signature: str, body: list[Any]
    ) -> list[Any]:
        assert self._bus is not None
        message = Message(
            destination=name, path=path, interface=interface, member=member, signature=signature, body=body
        )
        async with asyncio.timeout(20):
            reply = await self._bus.call(message)
        assert reply is not None
        assert reply.message_type is not MessageType.ERROR, reply.body
        return list(reply.body)

    # --- what the desktop answers -----------------------------------------------------------------------------------

    async def _serve(self, address: str, *, tray: bool) -> None:
        self._bus = await MessageBus(bus_address=address).connect()
        self._bus.add_message_handler(self._answer)
        for name in (_NOTIFICATIONS, _PORTAL):
            await self._bus.request_name(name)
        if tray:
            await self.offer_tray()

    def _answer(self, message: Message) -> Message | bool:
        """The reply to a call of ours; False for what is none."""
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        if message.interface == "org.freedesktop.DBus":
            return False
        answer = _ANSWERS.get((message.interface or "", message.member or ""))
        if answer is None:
            return False
        signature, body = answer(self, message)
        return Message.new_method_return(message, signature, body)

    def _register(self, message: Message) -> tuple[str, list[Any]]:
        named, sender = str(message.body[0]), str(message.sender)
        # Either a name on the bus, or the path of the item that the caller has.
        self._items.append((sender, named) if named.startswith("/") else (named, "/StatusNotifierItem"))
        return "", []

    def _notify(self, message: Message) -> tuple[str, list[Any]]:
        self.notifications.append(Shown(message.body[3], message.body[4]))
        return "u", [len(self.notifications)]

    def _get(self, message: Message) -> tuple[str, list[Any]]:
        values = {
            "IsStatusNotifierHostRegistered": Variant("b", True),
            "ProtocolVersion": Variant("i", 0),
            "RegisteredStatusNotifierItems": Variant("as", [name for name, _ in self._items]),
        }
        return "v", [values.get(str(message.body[1]), Variant("i", 0))]

    @property
    def _scheme(self) -> Variant:
        return Variant("u", 1 if self.dark else 2)

    def _read_all(self, message: Message) -> tuple[str, list[Any]]:
        return "a{sa{sv}}", [{"org.freedesktop.appearance": {"color-scheme": self._scheme}}]


_ANSWERS: dict[tuple[str, str], Callable[[Desktop, Message], tuple[str, list[Any]]]] = {
    (_WATCHER, "RegisterStatusNotifierItem"): Desktop._register,
    (_WATCHER, "RegisterStatusNotifierHost"): lambda desktop, message: ("", []),
    (_PROPERTIES, "Get"): Desktop._get,
    (_NOTIFICATIONS, "Notify"): Desktop._notify,
    (_NOTIFICATIONS, "CloseNotification"): lambda desktop, message: ("", []),
    (_NOTIFICATIONS, "GetCapabilities"): lambda desktop, message: ("as", [["body", "actions"]]),
    (_NOTIFICATIONS, "GetServerInformation"): lambda desktop, message: ("ssss", ["test", "test", "1", "1.2"]),
    ("org.freedesktop.portal.Settings", "ReadAll"): Desktop._read_all,
    ("org.freedesktop.portal.Settings", "Read"): lambda d, message: ("v", [Variant("v", d._scheme)]),
    ("org.freedesktop.portal.Settings", "ReadOne"): lambda d, message: ("v", [d._scheme]),
}


def _lines(node: Any) -> tuple[Line, ...]:
    lines = []
    for child in node[2]:
        number, properties, _ = entry = child.value
        about = {name: value.value for name, value in properties.items()}
        if about.get("type") == "separator" or about.get("visible") is False:
            continue
        checked = about["toggle-state"] == 1 if "toggle-type" in about else None
        label = str(about.get("label", "")).replace("__", "\0").replace("_", "").replace("\0", "_")
        lines.append(Line(number, label, about.get("enabled", True), checked, _lines(entry)))
    return tuple(lines)


@asynccontextmanager
async def desktop(*, tray: bool = True, dark: bool = False, size: str = "1280x900") -> AsyncIterator[Desktop]:
    """A desktop, as long as it is wanted.

    Args:
        tray: Whether it has a tray.
        dark: Whether it prefers dark windows.
        size: Of the screen.
    """
    async with _display(size) as display, _bus() as address:
        env = {"DISPLAY": display, "DBUS_SESSION_BUS_ADDRESS": address, "XDG_CURRENT_DESKTOP": "GNOME"}
        one = Desktop(env, dark=dark)
        await one._serve(address, tray=tray)
        yield one
        assert one._bus is not None
        one._bus.disconnect()


@asynccontextmanager
async def _display(size: str) -> AsyncIterator[str]:
    told, tell = os.pipe()
    # Without -noreset a display begins anew when its last client goes, and whoever comes in that moment is turned away.
    command = ("Xvfb", "-displayfd", str(tell), "-noreset", "-screen", "0", f"{size}x24", "-nolisten", "tcp")
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, pass_fds=(tell,), stdout=nowhere, stderr=nowhere)
    os.close(tell)
    try:
        with os.fdopen(told) as line:
            number = await asyncio.to_thread(line.readline)
        assert number.endswith("\n"), "Xvfb ended"
        yield f":{number.strip()}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _bus() -> AsyncIterator[str]:
    command = ("dbus-daemon", "--session", "--nofork", "--print-address=1")
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=nowhere)
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()
