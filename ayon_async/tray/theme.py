"""Dark windows where the desktop prefers them, also on desktops of which Qt knows the wish but not the colours."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

_ROLES = {
    QPalette.ColorRole.Window: "#2b2b2e",
    QPalette.ColorRole.WindowText: "#ececec",
    QPalette.ColorRole.Base: "#212123",
    QPalette.ColorRole.AlternateBase: "#2b2b2e",
    QPalette.ColorRole.Text: "#ececec",
    QPalette.ColorRole.PlaceholderText: "#9a9a9e",
    QPalette.ColorRole.Button: "#3a3a3e",
    QPalette.ColorRole.ButtonText: "#ececec",
    QPalette.ColorRole.BrightText: "#ffffff",
    QPalette.ColorRole.ToolTipBase: "#3a3a3e",
    QPalette.ColorRole.ToolTipText: "#ececec",
    QPalette.ColorRole.Highlight: "#0b7f7b",
    QPalette.ColorRole.HighlightedText: "#ffffff",
    QPalette.ColorRole.Link: "#4cc9c4",
    QPalette.ColorRole.Light: "#48484d",
    QPalette.ColorRole.Midlight: "#404045",
    QPalette.ColorRole.Mid: "#252528",
    QPalette.ColorRole.Dark: "#1b1b1d",
    QPalette.ColorRole.Shadow: "#101011",
}
_FAINT = "#7b7b80"
_WRITTEN = (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText)


def is_dark(palette: QPalette) -> bool:
    """Whether text is lighter than what it stands on."""
    return (
        palette.color(QPalette.ColorRole.WindowText).lightness() > palette.color(QPalette.ColorRole.Window).lightness()
    )


def follow_desktop(application: QApplication) -> None:
    """From now on be as dark or light as the desktop."""
    hints = application.styleHints()
    own = False

    def follow() -> None:
        nonlocal own
        dark = hints.colorScheme() is Qt.ColorScheme.Dark
        if dark and not is_dark(application.palette()):
            own = True
            application.setPalette(_dark())
        elif own and not dark:
            own = False
            application.setPalette(QPalette())

    hints.colorSchemeChanged.connect(follow)
    follow()


def _dark() -> QPalette:
    palette = QPalette()
    for role, colour in _ROLES.items():
        palette.setColor(role, QColor(colour))
    for role in _WRITTEN:
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(_FAINT))
    return palette
