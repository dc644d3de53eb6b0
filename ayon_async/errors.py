"""One tree of errors, written for the people who will read them.

Every error carries a *message* (what happened, to which item, at which URL or path), a *hint* (what to do next; may be
empty) and the *exit code* that a command ends with when the error is the run's own.
"""

from __future__ import annotations


class AyonAsyncError(Exception):
    """Base of every error that ayon-async raises on purpose.

    Args:
        message: What happened, to what, and where. Secrets are redacted before they get here.
        hint: What a person can do next, or an empty string.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def type(self) -> str:
        """The error's name in reports."""
        return type(self).__name__

    def to_dict(self) -> dict[str, str]:
        """The error as it stands in a JSON report."""
        return {"type": self.type, "message": self.message, "hint": self.hint}


class Interrupted(AyonAsyncError):
    """A person or the system ended the run before its end."""

    exit_code = 130


class InternalError(AyonAsyncError):
    """Something happened that should not: a fault in this program."""


# --- the person's request -------------------------------------------------------------------------------------------


class UsageError(AyonAsyncError):
    """The command or call makes no sense as given."""

    exit_code = 2


class SettingsError(UsageError):
    """A settings file or an environment variable holds something that can't be used."""


# --- the server -----------------------------------------------------------------------------------------------------


class ServerError(AyonAsyncError):
    """The server gave no usable answer."""

    exit_code = 3


class ServerUnreachable(ServerError):
    """No connection: name not found, refused, timed out, TLS failed."""


class InvalidAnswer(ServerError):
    """Something answered, but not as an AYON server answers."""


class AccessDenied(AyonAsyncError):
    """The AYON server refuses us."""

    exit_code = 4


class NotSignedIn(AccessDenied):
    """There is no token or key, or the server does not accept it (any more)."""


class LoginFailed(AccessDenied):
    """Name and password were refused, or the address is locked out for a while."""


class BundleError(AyonAsyncError):
    """There is no such bundle."""

    exit_code = 5


# --- one item -------------------------------------------------------------------------------------------------------


class ItemError(AyonAsyncError):
    """One item can't be put in place; the others are not concerned."""


class InvalidItem(ItemError):
    """What the server says of an item can't be used: a name that is no folder name, an addon that is not there."""


class TransferError(ItemError):
    """The bytes of an archive could not be had."""


class SourceUnavailable(TransferError):
    """One source refuses or does not have the archive."""


class Truncated(TransferError):
    """A body ended before the length it declared."""


class TooLong(TransferError):
    """A body is longer than it declared, or than the server said the archive is."""


class ChecksumMismatch(TransferError):
    """All the bytes came, and they are not the right ones."""


class ArchiveError(ItemError):
    """An archive can't be unpacked, or must not be; `ayon_async.unpack` has one subclass for each reason."""


class RecordName(ArchiveError):
    """An archive has something of a name, or nearly, by which a record of it is kept beside what is unpacked."""


# --- the disk -------------------------------------------------------------------------------------------------------


class StoreError(ItemError):
    """The local store can't be read or written."""


class StoreFull(StoreError):
    """There is no room left."""
