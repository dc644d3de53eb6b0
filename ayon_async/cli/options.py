"""The options that commands share, one type each. A parameter's name is the key of the setting that it sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

# --- what to talk to, and about what --------------------------------------------------------------------------------

Server = Annotated[str | None, Option("--server", metavar="URL", help="URL of the AYON server.")]
Bundle = Annotated[str | None, Option("--bundle", metavar="NAME", help="Use this bundle.")]
UseStaging = Annotated[bool, Option("--use-staging", help="Use the staging bundle.")]
UseDev = Annotated[bool, Option("--use-dev", help="Use your own dev bundle.")]
Project = Annotated[
    str | None, Option("--project", metavar="NAME", help="Merge this project's bundle over the studio's.")
]
Platform = Annotated[
    str | None,
    Option("--platform", metavar="NAME", help="Whose dependency package: windows, linux or darwin; default: ours."),
]

Offline = Annotated[
    bool, Option("--offline", help="Ask no server: compare the store with the last good bundle, or with --lock.")
]
Lock = Annotated[
    Path | None, Option("--lock", metavar="FILE", help="Want exactly the bytes that this lock file names.")
]

# --- where to put it, and how ---------------------------------------------------------------------------------------

StorageDir = Annotated[
    Path | None, Option("--storage-dir", metavar="DIR", help="Folder of addons and dependency packages.")
]
LauncherLayout = Annotated[bool, Option("--launcher-layout", help="Share the AYON launcher's own folder.")]
TrustStore = Annotated[bool, Option("--trust-store", help="Use folders of the store that other users could write.")]
GroupWritable = Annotated[bool, Option("--group-writable", help="Let the group write what is installed.")]
Also = Annotated[
    list[Path] | None,
    Option("--also", metavar="STORE", help="Look in this other store first; may be repeated."),
]
Jobs = Annotated[int | None, Option("--jobs", metavar="N", help="Most connections used at once, 1 to 16; default: 8.")]
LimitRate = Annotated[
    str | None, Option("--limit-rate", metavar="RATE", help="Bytes per second at the most, such as 2M.")
]
StartJitter = Annotated[
    str | None, Option("--start-jitter", metavar="TIME", help="Wait a random while before the start, up to this: 30s.")
]

# --- what is said, and how ------------------------------------------------------------------------------------------

AsJson = Annotated[bool, Option("--json", help="Print one JSON document instead of text.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Log what happens.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Show errors and what was asked for, nothing else.")]
Debug = Annotated[bool, Option("--debug", help="Log every detail, with tracebacks.")]
LogFile = Annotated[Path | None, Option("--log-file", metavar="FILE", help="Log every detail to this file as well.")]
Headless = Annotated[bool, Option("--headless", help="Ask nothing, and animate nothing.")]
