"""How long to wait before trying again."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

FIRST = 0.5
LONGEST = 20.0
# A server that asks for more than this is down for maintenance: better to say so than to seem stuck.
LONGEST_ASKED_FOR = 120.0
_YEAR = 365 * 24 * 3600.0


def may_mend(status: int) -> bool:
    """Whether an answer with this status may become a better one when asked for again.

    >>> [status for status in (200, 403, 404, 408, 429, 500, 507, 520) if may_mend(status)]
    [408, 429, 500, 507, 520]
    """
    return status in (408, 425, 429) or status >= 500


def delay(attempt: int, retry_after: str | None = None) -> float:
    """Seconds to wait after the failed attempt with this number (from 1).

    Full jitter on ``0.5 s x 2^n`` up to 20 s, so that a studio's machines that failed together do not come back
    together (Exponential Backoff And Jitter, AWS Architecture Blog, 2015); a server's ``Retry-After`` wins.

    >>> 0 <= delay(1) <= 0.5
    True
    >>> 3.0 <= delay(1, "3") <= 3.5
    True
    """
    jitter = random.uniform(0, min(LONGEST, FIRST * 2 ** (min(attempt, 10) - 1)))
    asked_for = seconds_of(retry_after)
    if asked_for is None:
        return jitter
    return min(asked_for, LONGEST_ASKED_FOR) + min(jitter, FIRST)


def seconds_of(retry_after: str | None) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, in either of its forms (RFC 9110, 10.2.3).

    >>> seconds_of("120"), seconds_of(None), seconds_of("soon")
    (120.0, None, None)
    """
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return min(float(retry_after), _YEAR)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):  # also a date that no calendar has
        return None
