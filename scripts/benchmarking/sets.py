"""The sets of archives that rows are made of, each made, or fetched, when it is first asked for."""

from __future__ import annotations

from pathlib import Path

from benchmarking import archives
from benchmarking.archives import Archives


class Sets:
    """All sets.

    Methods raise `NoCorpus` where the wheels can't be fetched.

    Args:
        cache: Where they stay for the next time.
        folder: Where they are only for this time.
    """

    def __init__(self, cache: Path, folder: Path) -> None:
        self._cache = cache
        self._folder = folder

    def wheels(self) -> Archives:
        """The wheels themselves."""
        return archives.wheels(self._cache)

    def real_bundle(self) -> Archives:
        """See `archives.real_bundle`."""
        return archives.real_bundle(self._cache, self.wheels())

    def tiny(self, count: int) -> Archives:
        """See `archives.tiny`."""
        return archives.tiny(self._cache, self.wheels(), count)

    def other(self) -> Archives:
        """See `archives.other`."""
        return archives.other(self._cache, self.wheels())

    def library(self) -> Archives:
        """See `archives.of_the_library`."""
        return archives.of_the_library(self._folder / "library")
