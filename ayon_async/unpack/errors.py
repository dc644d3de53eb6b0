"""Why an archive is refused: one class for each reason, each naming the archive and, where there is one, the member."""

from __future__ import annotations

from ayon_async.errors import ArchiveError

_SHOWN = 160  # characters of a member's name that a message quotes


class Stopped(Exception):
    """The caller asked to stop; what was unpacked so far is removed. Not an error for people."""


class UnpackError(ArchiveError):
    """An archive that can't be unpacked, or must not be.

    Args:
        archive: What the caller calls the archive.
        problem: What is wrong, as the rest of a sentence that begins with the archive and the member.
        member: The member's name as the archive has it, or None where the archive as a whole is concerned.
    """

    advice = "Ask whoever made the archive for a corrected one, and upload that to the server."

    def __init__(self, archive: str, problem: str, member: str | None = None) -> None:
        super().__init__(
            f"{archive}: {problem}" if member is None else f"{archive}: {quote(member)} {problem}", self.advice
        )
        self.archive = archive
        self.member = member
        self.problem = problem


def quote(name: str) -> str:
    """A member's name fit for a terminal: in quotation marks, unprintable characters escaped, at most a line long."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")


# --- the archive as a whole -----------------------------------------------------------------------------------------


class NotAnArchive(UnpackError):
    """The file is something else: a web page, a text, nothing at all."""

    advice = "Check what the server or the source hands out under this address; a log-in or error page is common."


class UnsupportedArchive(UnpackError):
    """It is an archive, of a kind or with a feature that is not supported."""

    advice = "Supported are zip (stored, deflate), tar, .tar.gz, .tar.xz and .tar.bz2."


class DamagedArchive(UnpackError):
    """The archive's own structure or checksums don't hold."""

    advice = "Download it again; if it stays like this, upload the archive to the server once more."


class TruncatedArchive(DamagedArchive):
    """The archive ends too early."""


class HiddenData(UnpackError):
    """There are bytes that belong to no member: before, between or behind them."""


class TooManyMembers(UnpackError):
    """More members or folders than the limit."""


class TooLarge(UnpackError):
    """More unpacked bytes than the limit."""


class TooCompressed(UnpackError):
    """So much more comes out than went in that it can only be meant to fill the disk."""


# --- a member's name ------------------------------------------------------------------------------------------------


class UnsafeName(UnpackError):
    """A name that no store may hold; each subclass is one reason."""


class AbsoluteName(UnsafeName):
    """The name starts at the root of the file system."""


class DriveName(UnsafeName):
    """The name starts with a drive letter."""


class UncName(UnsafeName):
    """The name starts at another computer."""


class ParentName(UnsafeName):
    """The name has ``..`` in it."""


class BackslashName(UnsafeName):
    """The name has a backslash, which separates folders on Windows only."""


class ControlCharacterName(UnsafeName):
    """The name has NUL or another control character."""


class ForbiddenCharacterName(UnsafeName):
    """The name has a character that Windows does not allow."""


class ReservedName(UnsafeName):
    """The name means a device on Windows."""


class TrailingDotOrSpaceName(UnsafeName):
    """The name ends with a dot or a space, which Windows drops."""


class UnclearName(UnsafeName):
    """The name is empty, or has empty or ``.`` components."""


class UndecodableName(UnsafeName):
    """The name is not in the encoding that the archive says."""


class NameTooLong(UnsafeName):
    """The name, or one component of it, is longer than file systems take."""


class TooDeep(UnsafeName):
    """The member lies in more folders than the limit."""


class DuplicateName(UnsafeName):
    """Two members have the same name."""


class CollidingNames(UnsafeName):
    """Two names are the same on a file system that ignores case or Unicode form."""


class FileAsFolder(UnsafeName):
    """One member is a file where another needs a folder."""


# --- a member -------------------------------------------------------------------------------------------------------


class SpecialMember(UnpackError):
    """A device node, fifo or socket."""


class UnsupportedMember(UnpackError):
    """A member of a kind that is not unpacked: sparse, multi-volume, folder dump."""


class EscapingLink(UnpackError):
    """A link that leads out of the archive's folder."""


class LinkLoop(UnpackError):
    """A link that leads to itself or to a folder that it lies in."""


class BrokenLink(UnpackError):
    """A hard link to something that is no file before it, or a link without a usable target."""


class EncryptedMember(UnpackError):
    """A member that needs a password."""


class UnsupportedMethod(UnpackError):
    """A member compressed in a way that is not supported."""

    advice = "Make the archive again with the deflate method, which every zip program has."


class HeaderMismatch(UnpackError):
    """A member's own header says something else than the archive's directory."""


class OverlappingMembers(UnpackError):
    """Two members share bytes of the archive."""


class SizeMismatch(DamagedArchive):
    """A member's content is shorter than declared."""


class LongerThanDeclared(UnpackError):
    """A member's content is longer than declared."""


class CrcMismatch(DamagedArchive):
    """A member's content does not have the CRC-32 that the archive gives."""
