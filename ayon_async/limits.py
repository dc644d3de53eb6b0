"""How much an archive may hold."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What is refused as too much.

    Attributes:
        members: Most members, and most folders.
        depth: Most components of a member's path.
        total_size: Most bytes of all unpacked files together.
        ratio: Most unpacked bytes for each byte of the archive, ...
        ratio_from: ... counted once there are more unpacked bytes than this.
    """

    members: int = 500_000
    depth: int = 100
    total_size: int = 64 << 30
    ratio: int = 200
    ratio_from: int = 100 << 20
