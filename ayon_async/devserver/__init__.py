"""An embedded AYON server with a sample studio: what the demo, the tests and the benchmark talk to.

async with DevServer(tiny_studio()) as server:
    ...  # server.url, server.requests, server.faults
"""

from ayon_async.devserver.build import (
    ADMIN,
    ARTIST,
    SERVICE,
    USERS,
    addon,
    client_zip,
    noise,
    package,
    tiny_studio,
    zip_bytes,
)
from ayon_async.devserver.exchange import RequestRecord
from ayon_async.devserver.recorded import recorded_studio
from ayon_async.devserver.sample import sample_studio
from ayon_async.devserver.server import DevServer
from ayon_async.devserver.studio import AddonVersion, Bundle, Package, Project, Studio, User

__all__ = [
    "ADMIN",
    "ARTIST",
    "SERVICE",
    "USERS",
    "AddonVersion",
    "Bundle",
    "DevServer",
    "Package",
    "Project",
    "RequestRecord",
    "Studio",
    "User",
    "addon",
    "client_zip",
    "noise",
    "package",
    "recorded_studio",
    "sample_studio",
    "tiny_studio",
    "zip_bytes",
]
