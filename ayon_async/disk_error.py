"""What the operating system says of the store, in words for people."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ayon_async.errors import StoreError, StoreFull


def explain(error: OSError, path: Path) -> StoreError:
    """The error to tell of.

    Args:
        path: Counts where the error names none.
    """
    where = error.filename or path
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return StoreFull(f"There is no room left for {where}.", "Free some space, then sync again.")
    if error.errno == errno.EACCES and _is_hidden(Path(where)):
        return StoreError(f"The store can't be read: {where}: {error.strerror}.", "Use an account that may read there.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "Use an account that may write there, or choose another folder with --storage-dir."
        return StoreError(f"The store can't be written: {where}: {error.strerror}.", hint)
    if error.errno == errno.ELOOP:
        hint = "Remove it: somebody else may have put it there."
        return StoreError(f"{where} is a symbolic link, which is not followed there.", hint)
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        hint = "Choose another folder with --storage-dir, or move away what is in its place."
        return StoreError(f"The store's folder can't be made: {where}: {error.strerror}.", hint)
    return StoreError(f"The store can't be written: {where}: {error.strerror or error}.", "Check the device.")


def _is_hidden(path: Path) -> bool:
    """Whether this user may not even look at it, or into its folder; what is private is there to be written."""
    private = ".ayon-async" in path.parent.parts[:-1]
    there = (one for one in (path, path.parent) if os.path.exists(one))  # noqa: PTH110 - Path's raises where it may not look
    return not private and not all(os.access(one, os.R_OK) for one in there)
