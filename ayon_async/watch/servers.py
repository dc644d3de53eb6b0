"""The servers that a person may mean when signing in."""

from __future__ import annotations

from ayon_async.credentials import Credentials


def remembered_servers(credentials: Credentials) -> tuple[str, ...]:
    """URLs of the servers that somebody signed in to here or in the official launcher, the last one used first.

    Reads files: from a coroutine, call it in a thread.
    """
    last = credentials.last_server
    return tuple(dict.fromkeys((*([last] if last else []), *credentials.servers)))
