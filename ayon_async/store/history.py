"""What a store held and when: for each choice of a bundle the good states of it, the newest one first.

The first state is the last good bundle: what is started from when the server is away, what `prune` never removes. One
small file for each choice in ``.ayon-async/bundles/``, replaced by one rename after a good sync, and only when it says
something new. Two machines that share a store and write at once lose one of two equal entries, no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from ayon_async import fs
from ayon_async.choice import BundleChoice
from ayon_async.item import Item
from ayon_async.report import Kind, Variant
from ayon_async.store.layout import Root

FORMAT = 1
CONFIRM_EVERY = timedelta(hours=1)
"""How exact `State.confirmed` is: a sync that finds nothing to do writes no more often than this."""
_STATES = 20  # to remember: every sync reads them
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Entry(msgspec.Struct, frozen=True):
    """One item of a bundle as it was then.

    Attributes:
        kind: Addon or dependency package.
        name: The addon's name, or the package's file name.
        version: The addon's version; None for a dependency package.
        sha256: Of the archive that it was unpacked from, where known.
        size: Bytes of that archive, where known.
        reason: Why it needed nothing on disk, or an empty string.
        path: An addon in development: the developer's folder.
    """

    kind: Kind
    name: str
    version: str | None = None
    sha256: str | None = None
    size: int | None = None
    reason: str = ""
    path: str | None = None

    @property
    def item(self) -> Item:
        """The item."""
        return Item(self.kind, self.name, self.version)


class State(msgspec.Struct, frozen=True):
    """A bundle that was completely in the store; times in UTC.

    Attributes:
        bundle: The bundle's name; a project's where one was merged over the studio's.
        studio_bundle: The studio bundle's name.
        variant: How it was chosen, as in a report.
        is_dev: Whether it was a developer's.
        items: Every item.
        since: When it was first complete like this.
        confirmed: When a sync last found it so; see `CONFIRM_EVERY`.
    """

    bundle: str
    studio_bundle: str
    variant: Variant
    is_dev: bool
    items: tuple[Entry, ...]
    since: Time
    confirmed: Time

    @property
    def on_disk(self) -> frozenset[Item]:
        """The items that it has in the store."""
        return frozenset(entry.item for entry in self.items if not entry.reason)


class Key(msgspec.Struct, frozen=True):
    """Whose history it is.

    Attributes:
        server: URL of the AYON server.
        platform: Whose dependency package.
        bundle: The name that was asked for, where one was.
        variant: `production`, `staging` or `dev`, where no name was asked for.
        project: The project that was asked for.
        project_bundle: The project bundle that was asked for.
        user: In development, who is signed in to this machine: the server, which knows the developer, may be away.
        lock: Whether a lock file decided, and not the server.
    """

    server: str
    platform: str
    bundle: str | None = None
    variant: str = "production"
    project: str | None = None
    project_bundle: str | None = None
    user: str | None = None
    lock: bool = False

    @classmethod
    def of(cls, server: str, choice: BundleChoice, platform: str, *, lock: bool = False) -> Key:
        """The history of this choice."""
        variant = "dev" if choice.dev else "staging" if choice.staging else "production"
        user = _user() if choice.dev else None
        return cls(server, platform, choice.bundle, variant, choice.project, choice.project_bundle, user, lock)

    @property
    def is_named(self) -> bool:
        """Whether it stands for one bundle's name and not for a role that bundles take in turn."""
        return self.lock or self.bundle is not None or self.project_bundle is not None


def _user() -> str | None:
    import getpass  # only who writes a line needs it

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # what it raises where nobody has a name, by platform and version
        return None


class History(msgspec.Struct, frozen=True):
    """One choice's file.

    Attributes:
        key: Whose it is.
        states: The newest first; never empty.
        format: Of the file; changes only add.
    """

    key: Key
    states: tuple[State, ...]
    format: int = FORMAT


# Made here, once: a type that msgspec meets first in two threads at a time ends the process.
_DECODER = msgspec.json.Decoder(History)


def _file(root: Root, key: Key) -> Path:
    name = hashlib.sha256(json.dumps(msgspec.to_builtins(key), sort_keys=True).encode()).hexdigest()[:32]
    return root.bundles / f"{name}.json"


def _read(path: Path) -> History | None:
    try:
        history = _DECODER.decode(path.read_bytes())
    except (OSError, ValueError):  # damaged: the next good sync writes it anew
        return None
    return history if history.states else None


def read(root: Root, key: Key) -> History | None:
    """The history of one choice, or None where there was no good sync of it."""
    return _read(_file(root, key))


def read_all(root: Root) -> tuple[History, ...]:
    """Every choice's history."""
    try:
        paths = sorted(root.bundles.glob("*.json"))
    except OSError:
        return ()
    return tuple(history for path in paths if (history := _read(path)) is not None)


def last_good(root: Root, key: Key) -> State | None:
    """The state to start from without the server, or None.

    A bundle that is asked for by its name may have been here as the production bundle, say.
    """
    own = read(root, key)
    if own is not None:
        return own.states[0]
    if key.bundle is None or key.project or key.project_bundle:
        return None
    states = (
        msgspec.structs.replace(state, variant="named")
        for history in read_all(root)
        if (history.key.server, history.key.platform) == (key.server, key.platform) and not history.key.lock
        for state in history.states
        if state.bundle == state.studio_bundle == key.bundle
    )
    return max(states, key=lambda state: state.confirmed, default=None)


def updated(root: Root, key: Key, good: State) -> History | None:
    """The history with what is good now; None where that was noted a short while ago.

    Args:
        good: Its `since` and `confirmed` are both now.
    """
    known = read(root, key)
    states = known.states if known else ()
    newest = states[0] if states else None
    if newest is not None and _same(newest, good):
        if timedelta() <= good.confirmed - newest.confirmed < CONFIRM_EVERY:
            return None
        good = msgspec.structs.replace(newest, confirmed=good.confirmed)
        states = states[1:]
    return History(key, (good, *states)[:_STATES])


def write(root: Root, history: History) -> None:
    """Keep a history.

    Raises:
        OSError: It can't be written.
    """
    fs.make_folders(root.bundles)
    fs.write_atomic(_file(root, history.key), msgspec.json.encode(history))


def _same(one: State, other: State) -> bool:
    return msgspec.structs.replace(one, since=other.since, confirmed=other.confirmed) == other


def confirmations(histories: Iterable[History]) -> dict[Item, datetime]:
    """When a sync last found each item in place as part of its bundle."""
    found: dict[Item, datetime] = {}
    for history in histories:
        for state in history.states:
            for item in state.on_disk:
                found[item] = max(state.confirmed, found.get(item, state.confirmed))
    return found
