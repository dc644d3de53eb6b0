"""Memory of a program that runs for weeks: what one update needed is not held until the next one."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import Any

_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Let all threads take from one heap, before there are any: free memory of a heap is lost to the others'."""
    with contextlib.suppress(OSError, AttributeError):
        _glibc().mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Hand free memory back to the system, which glibc does not by itself; takes milliseconds."""
    if gc.isenabled():  # else it is for one thread alone, as in the tray
        gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        _glibc().malloc_trim(0)


def _glibc() -> Any:
    """The C library, by which memory is had.

    Raises:
        OSError: It is not glibc, or it can't be called; other libraries lack the functions.
    """
    if sys.platform != "linux":
        raise OSError
    import ctypes  # late: Linux alone needs it

    return ctypes.CDLL(None)
