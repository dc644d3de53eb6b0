"""The menu on the screen: one of Qt's that says what the menu as a value says."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu

from ayon_async.tray.menu import Entry


class MenuView:
    """Keeps a menu equal to its entries; an open menu changes where it stands.

    Args:
        do: Called with the entry that a person chose.
    """

    def __init__(self, menu: QMenu, do: Callable[[Entry], object]) -> None:
        self._menu = menu
        self._do = do
        self._entries: tuple[Entry, ...] = ()
        self._actions: list[QAction] = []
        self._below: list[MenuView] = []
        self._groups: dict[str, QActionGroup] = {}

    def show_entries(self, entries: tuple[Entry, ...]) -> None:
        """Show these."""
        if entries == self._entries:
            return
        if [_kind(entry) for entry in entries] != [_kind(entry) for entry in self._entries]:
            self._build(entries)
        self._entries = entries
        below = iter(self._below)
        for action, entry in zip(self._actions, entries, strict=True):
            action.setText(entry.text.replace("&", "&&"))
            action.setEnabled(entry.enabled)
            if entry.checked is not None:
                action.setChecked(entry.checked)
            if entry.entries:
                next(below).show_entries(entry.entries)

    def _build(self, entries: tuple[Entry, ...]) -> None:
        self._menu.clear()
        self._actions, self._below, self._groups = [], [], {}
        for place, entry in enumerate(entries):
            if entry.entries:
                submenu = self._menu.addMenu("")
                self._below.append(MenuView(submenu, self._do))
                action = submenu.menuAction()
            else:
                action = self._menu.addAction("")
                action.setSeparator(not entry.text)
                action.setCheckable(entry.checked is not None)
                if entry.value_is_one_of_many:
                    self._group(entry).addAction(action)
                action.triggered.connect(lambda checked=False, place=place: self._chosen(place))
            self._actions.append(action)

    def _group(self, entry: Entry) -> QActionGroup:
        """The one in which one entry at a time is checked, with those of the same command."""
        name = str(entry.command)
        if name not in self._groups:
            self._groups[name] = QActionGroup(self._menu)
        return self._groups[name]

    def _chosen(self, place: int) -> None:
        chosen = self._entries[place]
        for action, entry in zip(self._actions, self._entries, strict=True):
            # What is chosen is what the state says, and that comes soon.
            if entry.command == chosen.command and (entry.checked or not entry.value_is_one_of_many):
                action.setChecked(bool(entry.checked))
        self._do(chosen)


def _kind(entry: Entry) -> tuple[bool, bool, bool, bool]:
    """What an action can't become later."""
    return not entry.text, entry.checked is not None, bool(entry.entries), entry.value_is_one_of_many
