"""Background work yields to the artist: a thread that lowers its own priority for the CPU and for the disk.

Only threads of a watch do so, each for itself, and processes that unpack for it; what a platform does not offer is left
out.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading

_NICE = 10

# Linux: ioprio_set(who, id, class and level); the number of the call differs by processor.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "i686": 289, "armv7l": 314, "riscv64": 30, "ppc64le": 273}
_WHO_THREAD = 1
_BEST_EFFORT_LAST = (2 << 13) | 7  # not the idle class: a disk that is never idle would let no update through

_THREAD_MODE_BACKGROUND_BEGIN = 0x00010000  # Windows
_QOS_CLASS_UTILITY = 0x11  # macOS
_IOPOL_TYPE_DISK, _IOPOL_SCOPE_THREAD, _IOPOL_UTILITY = 0, 1, 4


def lower() -> None:
    """Let the calling thread yield to everything else; never fails."""
    with contextlib.suppress(OSError, AttributeError, ImportError):
        if sys.platform == "linux":
            _lower_on_linux()
        elif sys.platform == "win32":
            _lower_on_windows()
        elif sys.platform == "darwin":
            _lower_on_macos()


def _lower_on_linux() -> None:
    import ctypes

    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < _NICE:
        os.setpriority(os.PRIO_PROCESS, thread, _NICE)  # Linux: of the thread alone
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _WHO_THREAD, thread, _BEST_EFFORT_LAST)


def _lower_on_windows() -> None:
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentThread.restype = ctypes.c_void_p
    kernel.SetThreadPriority.argtypes = [ctypes.c_void_p, ctypes.c_int]
    kernel.SetThreadPriority(kernel.GetCurrentThread(), _THREAD_MODE_BACKGROUND_BEGIN)


def _lower_on_macos() -> None:
    import ctypes

    system = ctypes.CDLL(None)
    system.pthread_set_qos_class_self_np(_QOS_CLASS_UTILITY, 0)
    system.setiopolicy_np(_IOPOL_TYPE_DISK, _IOPOL_SCOPE_THREAD, _IOPOL_UTILITY)
