"""Symbolic links of an archive: made after all files, so that nothing is ever written through one."""

from __future__ import annotations

from pathlib import Path

from ayon_async.unpack import errors, names
from ayon_async.unpack.budget import Budget
from ayon_async.unpack.folder import Folder
from ayon_async.unpack.result import Link, Member
from ayon_async.unpack.source import Meter

_HOPS = 40  # links that a path may lead through: what Linux follows


class Links:
    """The symbolic links of one archive.

    Where a link leads is worked out through all the others, as an operating system would do it, ignoring case: a
    path that looks harmless by itself can leave the folder by way of another link.

    Args:
        archive: What the caller calls the archive.
        budget: What the archive may use.
        meter: Ends the work when asked to.
    """

    def __init__(self, archive: str, budget: Budget, meter: Meter) -> None:
        self._archive = archive
        self._budget = budget
        self._meter = meter
        self._links: dict[str, Link] = {}  # by the link's folded path
        self._ends: dict[str, list[str]] = {}  # where the links lead that were worked out, by the same

    def add(self, path: str, target: str) -> None:
        """Take up a link with a clean path.

        Raises:
            BrokenLink: There is no target.
            EscapingLink: The target is no relative path that every platform understands.
        """
        if not target:
            raise errors.BrokenLink(self._archive, "is a link without a target", path)
        try:
            names.check_characters(self._archive, target)
            for component in target.split("/"):
                if component not in ("", ".", ".."):
                    names.check_component(self._archive, component, target)
        except errors.UnsafeName as error:
            problem = f"is a link to {errors.quote(target)}, which {error.problem}"
            raise errors.EscapingLink(self._archive, problem, path) from None
        if target.count("/") > 2 * self._budget.limits.depth:
            raise errors.TooDeep(self._archive, "is a link to a path that is too deep", path)
        self._links[_key(path.split("/"))] = Link(path, target)

    def make(self, folder: Folder) -> tuple[list[Link], list[Member]]:
        """Make all links; returns them, and the files that were copied where this system can't have links.

        Raises:
            EscapingLink: One leads out of the folder.
            LinkLoop: One leads to itself or to a folder that it lies in.
            TooManyMembers, TooLarge, TooCompressed: Copies pass the limits.
            OSError: One can't be made.
        """
        made: list[Link] = []
        copies: list[Member] = []
        ends = [(link, self._resolve(key, _HOPS)) for key, link in self._links.items()]
        for link, end in ends:
            self._meter.check()
            leads_to = folder.root.joinpath(*end)
            if folder.link(link.path, link.target, to_folder=leads_to.is_dir()):
                made.append(link)
            else:
                self._copy(folder, leads_to, link.path, copies)
        return made, copies

    def _resolve(self, key: str, hops: int) -> list[str]:
        """The components of the path that a link leads to in the end; it does not have to exist."""
        if key in self._ends:
            return self._ends[key]
        self._meter.check()
        link = self._links[key]
        if hops == 0:
            raise errors.LinkLoop(self._archive, "is a link that leads through too many others", link.path)
        *where, _ = own = link.path.split("/")  # folders: no link lies under a link
        for component in link.target.split("/"):
            if component == ".." and not where:
                problem = f"is a link to {errors.quote(link.target)}, which is outside of the folder"
                raise errors.EscapingLink(self._archive, problem, link.path)
            if component == "..":
                where.pop()
            elif component not in ("", "."):
                where.append(component)
                if (other := _key(where)) in self._links:
                    where = self._resolve(other, hops - 1).copy()
        if _key(own).startswith(_key(where)):
            raise errors.LinkLoop(self._archive, "is a link to itself or to a folder that it lies in", link.path)
        self._ends[key] = where
        return where

    def _copy(self, folder: Folder, source: Path, path: str, copies: list[Member]) -> None:
        self._meter.check()
        self._budget.count_members()
        if path.count("/") >= self._budget.limits.depth:
            raise errors.TooDeep(self._archive, "is too deep where links have to be copied", path)
        if source.is_dir():
            folder.make(path)
            for inner in sorted(source.iterdir()):
                self._copy(folder, inner, f"{path}/{inner.name}", copies)
        elif source.is_file():
            self._budget.count_bytes(source.stat().st_size)
            copies.append(folder.copy(source, path, self._meter.check))


def _key(components: list[str]) -> str:
    """A path as file systems compare it that ignore case; ends with a slash, so that one begins with its folders."""
    return "".join(f"{names.fold(component)}/" for component in components)
