"""Python's search for garbage, in Qt's thread alone.

What it finds may be Qt's: a widget or a timer that another thread destroys takes the program with it. Python searches
in whichever thread just allocates, and here that is the watch's most of the time.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, Qt, QTimer

_EVERY_MS = 5000


def collect_here(parent: QObject) -> None:
    """Look for garbage in this thread alone from now on, as often as Python would, for as long as the parent lives."""
    gc.disable()
    timer = QTimer(parent)
    timer.setTimerType(Qt.TimerType.VeryCoarseTimer)
    timer.timeout.connect(_collect)
    timer.start(_EVERY_MS)


def _collect() -> None:
    counts = zip(gc.get_count(), gc.get_threshold(), strict=True)
    due = [generation for generation, (count, threshold) in enumerate(counts) if count > threshold]
    if due:
        gc.collect(due[-1])
