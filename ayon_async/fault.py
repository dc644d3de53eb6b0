"""What should not happen, as an error like any other."""

from __future__ import annotations

import logging

from ayon_async.errors import InternalError
from ayon_async.urls import redact

_HINT = "This is a fault of ayon-async: please report it with what --debug shows."
log = logging.getLogger(__name__)


def fault_of(error: Exception, concerning: str = "") -> InternalError:
    """The error for people, while its traceback goes to the log.

    Args:
        concerning: What was being done, or with what.
    """
    log.debug("The fault's traceback:", exc_info=error)
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    about = f"{concerning}: " if concerning else ""
    return InternalError(f"{about}{type(error).__name__}: {redact(str(error))}", _HINT)
