"""The command with a probe in the tray: how long, at worst, its loop kept a timer of 20 ms waiting during an update.

Writes that, and how many seconds the update took, as JSON to the file that `TRAY_PROBE` names when the update is done.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer

from ayon_async.cli import tray
from ayon_async.tray import app
from ayon_async.tray.tray import Tray
from ayon_async.watch import Mood

_EVERY = 0.02


class ProbedTray(Tray):
    """The tray with the probe."""

    def __init__(self, *how: Any) -> None:
        super().__init__(*how)
        self._began: float | None = None
        self._last = time.perf_counter()
        self._gaps: list[float] = []
        self._probe = QTimer(self)
        self._probe.setTimerType(Qt.TimerType.PreciseTimer)
        self._probe.setInterval(round(_EVERY * 1000))
        self._probe.timeout.connect(self._beat)
        self._probe.start()
        self.open_window()

    def _beat(self) -> None:
        now, mood = time.perf_counter(), self._bridge.state.mood
        if mood is Mood.WORKING:
            self._began = self._began or now
            self._gaps.append(now - self._last)
        elif mood is Mood.IDLE and self._began is not None:
            self._probe.stop()
            figures = {"seconds": now - self._began, "worst": max(self._gaps), "beats": len(self._gaps)}
            Path(os.environ["TRAY_PROBE"]).write_text(json.dumps(figures), encoding="utf-8")
        self._last = now


if __name__ == "__main__":
    vars(app)["Tray"] = ProbedTray
    tray()
