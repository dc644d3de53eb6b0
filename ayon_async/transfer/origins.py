"""Which web servers have shown in this run that they are not worth asking."""

from __future__ import annotations

from collections import Counter

from ayon_async.errors import SourceUnavailable
from ayon_async.locate import Source
from ayon_async.urls import origin

_RUNNING = 3


class Origins:
    """Failures of each origin since it last brought something; the AYON server's own is never given up."""

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()

    def failed(self, source: Source, *, brought: bool) -> None:
        """A connection to the source's origin failed, after it brought bytes or without any."""
        name = origin(source.location)
        self._failures[name] = 1 if brought else self._failures[name] + 1

    def served(self, source: Source) -> None:
        """The source's origin did what it was asked."""
        self._failures[origin(source.location)] = 0

    def check(self, source: Source) -> None:
        """Ask before each request where there is another source.

        Raises:
            SourceUnavailable: Its origin, other than AYON's, failed three times running.
        """
        name = origin(source.location)
        if source.kind == "http" and self._failures[name] >= _RUNNING:
            message = f"{name} failed {_RUNNING} times running and is passed over for the rest of this run."
            raise SourceUnavailable(message, "Check that server, or take its sources out of the AYON server's.")
