"""Digests: what somebody attests, and what the bytes that arrive turn out to be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}
"""The algorithms that an AYON server may use, and the length of their digests in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """A digest of an archive.

    Attributes:
        algorithm: `md5`, `sha1` or `sha256`.
        digest: In lower-case hexadecimal.
    """

    algorithm: str
    digest: str


class Hasher:
    """Hashes a stream of bytes: always by SHA-256, which records keep, and by the algorithms that are attested."""

    def __init__(self, *algorithms: str) -> None:
        names = {"sha256", *algorithms}
        # md5 and sha1 stand for what the server says, not for security: FIPS machines must not refuse them
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in names}

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Go on with the next bytes; large ones release the interpreter's lock."""
        for digest in self._hashes.values():
            digest.update(data)

    def checksum(self, algorithm: str = "sha256") -> Checksum:
        """The digest of all bytes so far."""
        return Checksum(algorithm, self._hashes[algorithm].hexdigest())
