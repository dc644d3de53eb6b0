"""What a run did: an immutable report with one entry an item, as an object and as the JSON that administrators read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayon_async.errors import AyonAsyncError

Kind = Literal["addon", "dependency_package"]
State = Literal["installed", "up_to_date", "planned", "skipped", "failed"]
Verification = Literal["checksum", "lock", "recorded", "archive"]
Variant = Literal["production", "staging", "dev", "project", "named"]
Remote = Literal["same", "may_have_changed", "unknown"]


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What became of one item.

    Attributes:
        kind: Addon or dependency package.
        name: The addon's name, or the package's file name.
        version: The addon's version; None for a dependency package.
        state: How it ended (`planned` only in a dry run, a status, or a run that was interrupted).
        path: The item's folder where it is on disk; a development addon's own path; else None.
        size: Bytes of the archive, where known.
        bytes_downloaded: Bytes that this run received for it.
        verified_by: What attests the bytes: the server's checksum, a lock file, the digest recorded at first sight,
            the archive's own CRCs.
        checksum: Digest of the archive in hexadecimal, where known.
        checksum_algorithm: `md5`, `sha1` or `sha256`, where `checksum` is known.
        source: URL (secrets redacted) or path that served it.
        seconds: How long the item took, from the start of its work to its end.
        reason: Why it was skipped, or an empty string.
        error: Why it failed, or None.
        remote: Whether its archive on the server may have changed since it was installed; None where nobody asked.
    """

    kind: Kind
    name: str
    version: str | None
    state: State
    path: Path | None = None
    size: int | None = None
    bytes_downloaded: int = 0
    verified_by: tuple[Verification, ...] = ()
    checksum: str | None = None
    checksum_algorithm: str | None = None
    source: str | None = None
    seconds: float = 0.0
    reason: str = ""
    error: AyonAsyncError | None = None
    remote: Remote | None = None

    @property
    def label(self) -> str:
        """What a person calls the item."""
        return self.name if self.version is None else f"{self.name} {self.version}"

    def to_dict(self) -> dict[str, Any]:
        """The item as it stands in a JSON report."""
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "state": self.state,
            "path": None if self.path is None else str(self.path),
            "size": self.size,
            "bytes_downloaded": self.bytes_downloaded,
            "verified_by": list(self.verified_by),
            "checksum": self.checksum,
            "checksum_algorithm": self.checksum_algorithm,
            "source": self.source,
            "seconds": round(self.seconds, 3),
            "reason": self.reason,
            "error": None if self.error is None else self.error.to_dict(),
            "remote": self.remote,
        }


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync, a dry run or a status found and did.

    Attributes:
        server: The server's URL.
        bundle: The bundle's name, once it was known; a project's where one is merged over the studio's.
        studio_bundle: The studio bundle's name.
        is_dev: True where the bundle is a developer's.
        variant: How the bundle was chosen: `production`, `staging`, `dev`, `project` or `named`.
        items: One report an item, in the bundle's order, the dependency package last.
        seconds: How long the run took, without the interpreter's start.
        warnings: What a person should know although nothing failed.
        error: The run's own error, or None; items' errors are theirs.
        offline: True where the items were compared with the last good bundle, or a lock file, and not with what the
            server says now.
    """

    server: str | None
    bundle: str | None = None
    variant: Variant | None = None
    items: tuple[ItemReport, ...] = ()
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: AyonAsyncError | None = None
    studio_bundle: str | None = None
    is_dev: bool = False
    offline: bool = False

    @property
    def can_start(self) -> bool:
        """Whether AYON can be started with this bundle: everything that it needs is on disk."""
        return self.bundle is not None and not any(item.state in ("planned", "failed") for item in self.items)

    @property
    def bytes_downloaded(self) -> int:
        """Bytes of archives that this run received."""
        return sum(item.bytes_downloaded for item in self.items)

    @property
    def exit_code(self) -> int:
        """The exit code that tells this report: the run's error's, else 1 where an item failed, else 0."""
        if self.error is not None:
            return self.error.exit_code
        return 1 if any(item.state == "failed" for item in self.items) else 0

    @property
    def ok(self) -> bool:
        """True when nothing failed."""
        return self.exit_code == 0

    def raise_for_error(self) -> None:
        """Raise the run's own error, else the first failed item's, if there is one."""
        for error in (self.error, *(item.error for item in self.items)):
            if error is not None:
                raise error

    def to_dict(self, exit_code: int | None = None) -> dict[str, Any]:
        """The report as the JSON document that ``--json`` prints; `exit_code` where a command ends with another one."""
        return {
            "ok": (self.exit_code if exit_code is None else exit_code) == 0,
            "server": self.server,
            "bundle": self.bundle,
            "studio_bundle": self.studio_bundle,
            "variant": self.variant,
            "seconds": round(self.seconds, 3),
            "bytes_downloaded": self.bytes_downloaded,
            "items": [item.to_dict() for item in self.items],
            "warnings": list(self.warnings),
            "offline": self.offline,
            "can_start": self.can_start,
            "error": None if self.error is None else self.error.to_dict(),
        }
