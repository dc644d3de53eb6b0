"""A watch in a thread of its own, with an event loop of its own, and the GUI thread's way to hear of it.

What the watch calls comes in its thread and only emits signals, which Qt delivers in the GUI thread. Archives may
arrive as they like: the GUI's loop carries nothing but the GUI.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

from PySide6.QtCore import QObject, Signal

from ayon_async.watch import Watch
from ayon_async.watch.describe import Narrator
from ayon_async.watch.setup import Setup
from ayon_async.watch.state import Update, WatchState

_END_SECONDS = 2.0

log = logging.getLogger(__name__)


class Bridge(QObject):
    """Runs a watch.

    Attributes:
        watch: The watch; what may be called from any thread is called directly.
        changed: There is a new state.
        updated: An update is complete; carries the `Update`.
        failed: A run failed; carries the `SyncReport`.
    """

    changed = Signal()
    updated = Signal(object)
    failed = Signal(object)

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        narrator = Narrator(log.info)

        def changed(state: WatchState) -> None:
            narrator.tell(state)
            self.changed.emit()

        def updated(update: Update) -> None:
            narrator.updated(update)
            self.updated.emit(update)

        self.watch = Watch(
            setup,
            on_change=changed,
            on_update=updated,
            on_failure=self.failed.emit,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> WatchState:
        """What the watch is doing."""
        return self.watch.state

    async def run(self) -> None:
        """Run the watch until it is cancelled, or until a fault ends it.

        Raises:
            Exception: Whatever ended the watch.
        """
        own = asyncio.get_running_loop()
        ended: asyncio.Future[None] = own.create_future()
        ready = threading.Event()

        def tell(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_result(None) if error is None else ended.set_exception(error)

        def work() -> None:
            error = None
            try:
                self._run(ready)
            except asyncio.CancelledError:
                pass
            except Exception as fault:
                error = fault
            with contextlib.suppress(RuntimeError):  # the GUI waits no longer
                own.call_soon_threadsafe(tell, error)

        threading.Thread(target=work, name="watch", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            ready.wait()
            assert self._loop is not None
            assert self._task is not None
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
            await asyncio.wait([ended], timeout=_END_SECONDS)
            raise

    def _run(self, ready: threading.Event) -> None:
        self._loop = loop = asyncio.new_event_loop()
        try:
            self._task = loop.create_task(self.watch.run())
            ready.set()
            loop.run_until_complete(self._task)
        finally:
            # Threads of the loop's own pool are not waited for: a look-up of a name can hang in one.
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
