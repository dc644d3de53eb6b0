"""Order of versions: AYON's precedence, which is Semantic Versioning's, made total.

Addons are matched by the exact text of their version; this order is for display, the direction of an update, pruning.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import semantic_version

_NUMBERS = re.compile(r"(\d+)", re.ASCII)


@functools.lru_cache(maxsize=4096)
def parse(version: str) -> semantic_version.Version | None:
    """The version's parts, or None where it is not a semantic version.

    >>> parse("1.2.3-rc.1+studio").prerelease
    ('rc', '1')
    >>> [parse(version) for version in ("1.0", "v2", "1.2.3.dev1", "01.2.3")]
    [None, None, None, None]
    """
    import semantic_version  # a run that has nothing to do compares no versions

    try:
        parsed = semantic_version.Version(version)
    except ValueError:
        return None
    return parsed if str(parsed) == version else None


def sort_key(version: str) -> tuple[Any, ...]:
    """What to sort versions by: different texts never have equal keys.

    Semantic versions come by precedence, equal precedence by build metadata, then by text. All others come before them,
    numbers inside them by value.

    >>> sorted(["2.0.0", "1.0.0", "1.0.0-rc.1", "v10", "v9"], key=sort_key)
    ['v9', 'v10', '1.0.0-rc.1', '1.0.0', '2.0.0']
    """
    parsed = parse(version)
    if parsed is None:
        return (False, _natural(version), version)
    release = (parsed.major, parsed.minor, parsed.patch)
    # Without a pre-release part comes after those with one.
    return (True, release, not parsed.prerelease, _identifiers(parsed.prerelease), _identifiers(parsed.build), version)


def _identifiers(parts: Iterable[str]) -> tuple[tuple[bool, int, str], ...]:
    """Identifiers, comparable: numbers by value (by length, then digit by digit) and before words, words by ASCII."""
    keys = []
    for part in parts:
        number = part.lstrip("0") if part.isascii() and part.isdigit() else None
        keys.append((True, 0, part) if number is None else (False, len(number), number))
    return tuple(keys)


def _natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    return _identifiers(part for part in _NUMBERS.split(text) if part)
