"""Small studios in a few lines, for tests: archives from dictionaries, addons and packages with sensible defaults."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Mapping
from typing import Any

from ayon_async.devserver.studio import PLATFORMS, AddonVersion, Bundle, Content, Package, Project, Studio, User

ADMIN = User("admin", "admin", ("admin-key",), is_admin=True)
ARTIST = User("artist", "artist", ("artist-key",), full_name="An Artist")
SERVICE = User("farm", None, ("service-key",), is_service=True)
USERS = (ADMIN, ARTIST, SERVICE)

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)


def zip_bytes(files: Mapping[str, bytes | str], *, stored: bool = False, executable: tuple[str, ...] = ()) -> bytes:
    """A zip archive with these members, the same bytes every time.

    Args:
        files: Content by member name; a name with a slash at its end makes a folder.
        stored: Don't compress.
        executable: Names of members with execute permission.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, _FIRST_DATE)
            member.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            mode = 0o40755 if name.endswith("/") else 0o100755 if name in executable else 0o100644
            member.create_system = 3  # Unix on every platform, for its permissions
            member.external_attr = mode << 16
            archive.writestr(member, content)
    return buffer.getvalue()


def noise(size: int, seed: str = "") -> bytes:
    """Bytes that can't be compressed, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def client_zip(name: str, version: str, size: int = 20_000) -> bytes:
    """A small addon's archive: some Python, one executable, and noise so that it is about `size` bytes long."""
    files: dict[str, bytes | str] = {
        f"ayon_{name}/__init__.py": f'"""The {name} addon."""\n',
        f"ayon_{name}/version.py": f'__version__ = "{version}"\n',
        f"ayon_{name}/bin/launch": "#!/bin/sh\nexec true\n",
        f"ayon_{name}/data.bin": noise(size, f"{name} {version}"),
    }
    return zip_bytes(files, executable=(f"ayon_{name}/bin/launch",))


def addon(content: Content | None = None, **attributes: Any) -> AddonVersion:
    """An addon version whose archive is `client.zip`; without content a server-only one.

    Args:
        content: The archive.
        attributes: Attributes of `AddonVersion` that differ from its defaults.
    """
    if content is None:
        return AddonVersion(**{"sources": None, **attributes})
    return AddonVersion(**{"files": {"client.zip": content}, **attributes})


def package(filename: str, content: Content | None, platform: str = "linux", **info: Any) -> Package:
    """A dependency package with size and SHA-256 of its content.

    Args:
        filename: Its name on the server.
        content: The archive; None where the server does not have it itself.
        platform: `windows`, `linux` or `darwin`.
        info: Keys of its entry that differ or come on top; None leaves a key out.
    """
    entry: dict[str, Any] = {"filename": filename, "platform": platform}
    if content is not None:
        data = content if isinstance(content, bytes) else content.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        entry |= {"size": len(data), "checksum": digest, "checksumAlgorithm": "sha256"}
    entry |= {"sources": [{"type": "server"}], "pythonModules": {}, "sourceAddons": {}, "installerVersion": "1.5.5"}
    return Package({key: value for key, value in (entry | info).items() if value is not None}, content)


def tiny_studio(size: int = 20_000) -> Studio:
    """Three addons and a dependency package of about `size` bytes each, in production and staging.

    The bundles are `prod` (all addons 1.0.0), `staging` (core 1.1.0) and `dev-artist` (maya under development); the
    project `demo` has a project bundle for production with nuke 1.1.0. The package serves every platform.
    """
    archive = package("ayon_tiny.zip", _tiny_package(size))
    packages = tuple(package(f"ayon_tiny_{name}.zip", archive.content, name) for name in PLATFORMS)
    by_platform = {str(one.info["platform"]): one.filename for one in packages}
    versions = [(name, "1.0.0") for name in ("core", "maya", "nuke")] + [("core", "1.1.0"), ("nuke", "1.1.0")]
    production = {"core": "1.0.0", "maya": "1.0.0", "nuke": "1.0.0"}
    staging = production | {"core": "1.1.0"}
    development = {"maya": {"enabled": True, "path": "~/dev/ayon-maya/client"}}

    def bundle(name: str, addons: Mapping[str, str], **attributes: Any) -> Bundle:
        return Bundle(name, addons, "1.5.5", by_platform, **attributes)

    return Studio(
        users=USERS,
        addons={(name, version): addon(client_zip(name, version, size)) for name, version in versions},
        packages=packages,
        bundles=(
            bundle("dev-artist", staging, is_dev=True, active_user="artist", addon_development=development),
            bundle("staging", staging, is_staging=True),
            bundle("prod", production, is_production=True),
            Bundle("__project__demo__production", {"nuke": "1.1.0", "core": "__inherit__"}, is_project=True),
        ),
        projects=(Project("demo", {"production": "__project__demo__production"}),),
    )


def _tiny_package(size: int) -> bytes:
    return zip_bytes(
        {
            "dependencies/tiny/__init__.py": "NAME = 'tiny'\n",
            "dependencies/tiny/data.bin": noise(size, "package"),
            "runtime/six.py": "PY3 = True\n",
        }
    )
