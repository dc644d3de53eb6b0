"""What an archive has used of its limits so far."""

from __future__ import annotations

from ayon_async.limits import Limits
from ayon_async.unpack import errors


class Budget:
    """What one archive has used of its limits so far.

    Args:
        archive: What the caller calls the archive.
        archive_size: Its length in bytes.
        limits: What it may use.
    """

    def __init__(self, archive: str, archive_size: int, limits: Limits) -> None:
        self.limits = limits
        self._archive = archive
        self._archive_size = archive_size
        self._members = 0
        self._size = 0

    def count_members(self, number: int = 1) -> None:
        """Count members before they are looked at.

        Raises:
            TooManyMembers: There are more than the limit.
        """
        self._members += number
        if self._members > self.limits.members:
            raise errors.TooManyMembers(self._archive, f"has more than {self.limits.members:,} members")

    def count_bytes(self, number: int) -> None:
        """Count a member's bytes before they are written.

        Raises:
            TooLarge, TooCompressed: There are more than the limit.
        """
        self._size += number
        self.check_size(self._size)

    def check_size(self, size: int) -> None:
        """Check bytes that came out of the archive in all, members' or not.

        Raises:
            TooLarge, TooCompressed: There are more than the limit.
        """
        if size > self.limits.total_size:
            raise errors.TooLarge(self._archive, f"unpacks to more than {self.limits.total_size:,} bytes")
        if size > self.limits.ratio_from and size > self.limits.ratio * self._archive_size:
            raise errors.TooCompressed(
                self._archive, f"unpacks to more than {self.limits.ratio} times its {self._archive_size:,} bytes"
            )
