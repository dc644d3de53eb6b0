"""An archive from a file, which may lie on a mount that never answers."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path

from ayon_async.errors import SourceUnavailable, Truncated
from ayon_async.locate import Source
from ayon_async.progress import Entry, Phase
from ayon_async.threads import abandonable, in_thread
from ayon_async.transfer.part import Part, Validator

_CHUNK = 1 << 20
_HINT = "Check that the share is there."


async def copy(
    source: Source,
    part: Part,
    entry: Entry,
    *,
    threads: Executor,
    patience: float,
    start_over: Callable[[str], Awaitable[None]],
) -> None:
    """Take the source's file into the part, going on with what is there.

    Args:
        threads: Where the part is written.
        patience: Seconds without an answer from the mount.
        start_over: Throws away what is there, for the reason given.

    Raises:
        SourceUnavailable, Truncated: It can't be read.
        StoreError: The part can't be written.
    """
    path = Path(source.location)
    try:
        file = await abandonable(lambda: path.open("rb", buffering=0), patience)
        try:
            state = await abandonable(lambda: os.fstat(file.fileno()), patience)
            if not stat.S_ISREG(state.st_mode):
                raise SourceUnavailable(f"{path} is not a file.", _HINT)
            await _take_up(source, part, entry, Validator.of_file(path, state), state.st_size, start_over)
            for start, end in part.done.missing(state.st_size):
                await abandonable(functools.partial(file.seek, start), patience)
                position = start
                while position < end:
                    data = await abandonable(functools.partial(file.read, min(_CHUNK, end - position)), patience)
                    if not data:
                        raise Truncated(
                            f"{path} became shorter while it was copied.", "Sync again when it is complete."
                        )
                    await in_thread(part.write, [(position, [data])], executor=threads)
                    entry.add(len(data))
                    position += len(data)
        finally:
            _close(file)
    except TimeoutError as error:
        raise SourceUnavailable(f"{path} did not answer within {patience:g} s.", _HINT) from error
    except OSError as error:
        raise SourceUnavailable(f"{path} can't be read: {error.strerror or error}.", _HINT) from error


def _close(file: io.FileIO) -> None:
    """Close it in a thread of its own that nobody waits for: also when this task is cancelled."""

    def close() -> None:
        with contextlib.suppress(OSError):  # nothing was written
            file.close()

    threading.Thread(target=close, daemon=True, name="close").start()


async def _take_up(
    source: Source,
    part: Part,
    entry: Entry,
    validator: Validator,
    size: int,
    start_over: Callable[[str], Awaitable[None]],
) -> None:
    same = part.size == size and (source.checksum is not None or part.validator == validator)
    if part.done.spans and not same:
        await start_over("the file is another one than before")
    part.size, part.validator = size, validator
    entry.set(size=size, phase=Phase.DOWNLOADING)
    entry.have(part.done.total)
