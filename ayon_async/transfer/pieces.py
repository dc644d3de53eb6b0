"""Who brings which bytes of one archive: the pieces that are on their way, and what a further connection may take."""

from __future__ import annotations

from ayon_async.transfer.part import Part
from ayon_async.transfer.stream import Piece

_SMALLEST = 256 * 1024
"""Bytes that are worth a connection of their own, ..."""
_SMALLEST_OF_SLOW = 64 * 1024
"""... and where connections are slow: the last ones to end decide when an archive is here."""
_SECONDS_OF_SLOW = 0.6
"""For so long each should have something to do."""
_WORTH_SPLITTING = 2 * _SMALLEST
"""Bytes of an archive that several connections may bring."""
_SMALLEST_SHARE = 1 << 20
"""Bytes to ask for at once where there is more than a few times that."""
_WORTH_SECONDS = 0.4
"""Work that another connection should take over from an archive's first one, which was asked for all of it."""
_STUCK_SECONDS = 1.5
"""Work that another connection should take over from one that was asked for a share, and would be asked for twice."""
_SMALLEST_HALF = 32 * 1024
"""Bytes that each of the two has to have then."""
_PART_FOR_DIRECTORY = 128
"""A zip ends with its table of contents, without which nothing can be unpacked: this part of it comes early."""


class Pieces:
    """The pieces of one archive that connections work on; no two of them share a byte.

    Args:
        part: What is here already.
        most: Connections there may ever be.

    Attributes:
        wants_end: Whether the archive's end should come early, for somebody who reads it while it arrives.
    """

    def __init__(self, part: Part, most: int) -> None:
        self.wants_end = False
        self._part = part
        self._most = most
        self._taken: list[Piece] = []

    def gaps(self) -> tuple[tuple[int, int | None], ...]:
        """What is neither here nor on its way; without an end until the size is known."""
        size = self._part.size
        if size is None:
            return () if self._taken else ((0, None),)
        covered = self._part.done
        for piece in self._taken:
            covered = covered.add(piece.start, size if piece.end is None else piece.end)
        return covered.missing(size)

    def take_first(self, *, split: bool) -> Piece:
        """The first gap, for the archive's own connection; only a share of it where others may help."""
        start, end = self.gaps()[0]
        if split and end is not None:
            start, end = self._share(start, end)
        return self._take(Piece.of(start, end))

    def take_over(self) -> Piece:
        """What a further connection helps most with; call it only while there is a `largest_rest`."""
        end = self._end()
        rest = end or max(self._rests(), key=lambda rest: rest[1] - rest[0])
        self.wants_end = False
        taken_from = next((piece for piece in self._taken if piece.end == rest[1]), None)
        if taken_from is not None:
            taken_from.end = rest[0]
        return self._take(Piece.of(*(end or self._share(*rest)), split=True))

    def drop(self, piece: Piece) -> None:
        """Nobody works on this piece any more; what is missing of it is a gap again."""
        self._taken.remove(piece)

    def largest_rest(self) -> int:
        """Bytes that a further connection could take over; 0 before the first byte has come."""
        return max((end - start for start, end in self._rests()), default=0)

    def _take(self, piece: Piece) -> Piece:
        self._taken.append(piece)
        return piece

    @property
    def _least(self) -> int:
        """Bytes that are worth a connection, by what those do that there are."""
        rates = [piece.rate for piece in self._taken if piece.position > piece.start]
        typical = sum(rates) / len(rates) if rates else _SMALLEST
        return min(_SMALLEST, max(_SMALLEST_OF_SLOW, int(typical * _SECONDS_OF_SLOW)))

    def _share(self, start: int, end: int) -> tuple[int, int]:
        """How much of a gap to ask for at once: what is taken back later comes in vain for a while."""
        rest, least = end - start, self._least
        share = max(least, rest // self._most, min(_SMALLEST_SHARE, rest // 4))
        return start, end if rest < share + least else start + share

    def _rests(self) -> list[tuple[int, int]]:
        """What nobody asked for yet; else the second half of what would take its connection long enough."""
        size = self._part.size
        if size is None or size < _WORTH_SPLITTING or not any(piece.position > piece.start for piece in self._taken):
            return []
        least = self._least
        gaps = [(start, end) for start, end in self.gaps() if end is not None and end - start >= least]
        return gaps or [half for piece in self._taken if (half := _second_half(piece))]

    def _end(self) -> tuple[int, int] | None:
        """The archive's end, where its reader needs it and another connection would come to it only last."""
        size = self._part.size
        if not self.wants_end or size is None:
            return None
        start = size - max(_SMALLEST, size // _PART_FOR_DIRECTORY)
        waiting = any(piece.end == size and piece.position < start for piece in self._taken)
        return (start, size) if waiting else None


def _second_half(piece: Piece) -> tuple[int, int] | None:
    """What can be taken over, where that is worth it."""
    if piece.end is None or piece.seconds_left < (_WORTH_SECONDS if piece.is_open else _STUCK_SECONDS):
        return None
    middle = piece.end - (piece.end - piece.position) // 2
    return (middle, piece.end) if piece.end - middle >= _SMALLEST_HALF else None
