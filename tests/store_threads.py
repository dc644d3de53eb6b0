"""Reads a store's records in many threads at once, over and over in new processes: each meets them for the first time.

Run with the folder of an item; the exit code is how many processes did not end well.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ayon_async.store.record import read_inventory, read_record

PROCESSES, THREADS = 30, 8


def read(folder: Path) -> None:
    """Read them in the threads of a process."""
    sys.setswitchinterval(1e-6)
    together = threading.Barrier(THREADS)

    def one() -> None:
        together.wait()
        read_record(folder)
        read_inventory(folder)

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    """Start the processes, one after the other."""
    failed = 0
    for _ in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            read(Path(sys.argv[1]))
            os._exit(0)
        failed += os.waitpid(pid, 0)[1] != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
