"""What the connections of one archive bring goes to the disk together, about a MiB in one hop to a thread."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import replace

from ayon_async.threads import ended
from ayon_async.transfer.body import Portion
from ayon_async.transfer.part import Part

CHUNK = 1 << 20
"""Bytes that go to a thread in one hop: smaller ones cost more in hops than in hashing and writing."""
_SECONDS = 2.0
"""How long bytes are collected at the most."""
_AHEAD = CHUNK // 2
"""Bytes that are collected while a chunk is written: with it they are what a killed process loses."""


class Writer:
    """Collects bytes while the ones before are written: of one archive at most 1.5 chunks are not on disk yet.

    Args:
        part: Where they go.
        threads: One of them at a time writes.
    """

    def __init__(self, part: Part, threads: Executor) -> None:
        self._part = part
        self._threads = threads
        self._portions: dict[int, tuple[int, list[Portion]]] = {}  # by where the next byte of each goes
        self._buffers: list[bytearray] = []  # to be used again: new ones would be filled with zeros first
        self._size = 0
        self._since = time.monotonic()
        self._turn = asyncio.Lock()
        self._running: asyncio.Future[None] | None = None

    def new_buffer(self, size: int) -> bytearray:
        """Room for so many of the bytes to come, or for fewer; where portions of it were taken to its last byte, it is
        used again for others once that is written."""
        if size < CHUNK:
            return bytearray(size)
        return self._buffers.pop() if self._buffers else bytearray(CHUNK)

    async def take(self, position: int, data: Portion) -> None:
        """Bytes that go to this position.

        Raises:
            StoreError: Earlier ones can't be written.
        """
        start, portions = self._portions.pop(position, (position, []))
        self._portions[position + len(data)] = start, portions
        self._size += len(data)
        if portions and portions[-1].buffer is data.buffer:
            data = replace(data, begin=portions.pop().begin)
        portions.append(data)
        if self._is_due or (self._running is not None and self._size >= _AHEAD):
            async with self._turn:
                await self._finish()
                if self._is_due:
                    self._begin()

    async def flush(self) -> None:
        """Write all there is and wait until it is on disk.

        Raises:
            StoreError: It can't be written.
        """
        if not self._size and self._running is None and not self._turn.locked():
            return  # as where a small archive came, which is flushed three times
        async with self._turn:
            await self._finish()
            if self._size:
                self._begin()
                await self._finish()

    def tick(self) -> None:
        """Called now and then: write what waits for long because no more comes."""
        waits = self._size and self._is_due and self._running is None and not self._turn.locked()
        if waits and not self._part.in_memory:
            self._begin()

    @property
    def _is_due(self) -> bool:
        return self._size >= CHUNK or time.monotonic() - self._since >= _SECONDS

    def _begin(self) -> None:
        chunks, self._portions = list(self._portions.values()), {}
        self._size, self._since = 0, time.monotonic()
        if self._part.in_memory:
            self._write(chunks)
            return
        self._running = asyncio.get_running_loop().run_in_executor(self._threads, self._write, chunks)

    def _write(self, chunks: list[tuple[int, list[Portion]]]) -> None:
        self._part.write((start, [portion.view for portion in portions]) for start, portions in chunks)
        for _, portions in chunks:
            for portion in portions:
                if isinstance(portion.buffer, bytearray) and portion.end == CHUNK:
                    self._buffers.append(portion.buffer)

    async def _finish(self) -> None:
        """Wait for the job that runs, also when this task is cancelled meanwhile."""
        running, self._running = self._running, None
        if running is not None:
            await ended(running)
