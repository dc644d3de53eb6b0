"""Keeping the story true over time: news by WebSocket, polling, pause; what tray and headless watch both show."""

from ayon_async.watch.state import Followed, Mood, Update, WatchState
from ayon_async.watch.watch import Watch

__all__ = ["Followed", "Mood", "Update", "Watch", "WatchState"]
