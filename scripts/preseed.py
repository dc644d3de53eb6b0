"""Fill a store with bundles before anybody needs them: an image's, a share's, a render node's.

    python3 scripts/preseed.py --server URL --storage-dir DIR [--bundle NAME]... [--platform NAME]... [--json]

Every bundle for every platform goes into one store, laid out as the official launcher's. No display, keyring or
question is involved; the key comes from AYON_API_KEY or a file. Of the settings in the environment only those of the
connection count: AYON_CA_FILE, AYON_CERT_FILE, AYON_SERVER_TIMEOUT, AYON_SERVER_RETRIES.
Exit codes are those of `ayon-async sync`, the first that is not 0. A server that can't be reached or refuses the key
ends it at once; what fails otherwise does not keep the other bundles from being fetched.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

try:
    from ayon_async import AyonAsyncError, AyonServer, BundleChoice, Snapshot, Store, SyncReport, sync
    from ayon_async.cli import interrupt
    from ayon_async.cli.command import faults_told
    from ayon_async.cli.output import be_lenient, complain, show
    from ayon_async.configuration import load_settings
    from ayon_async.errors import AccessDenied, ServerError, UsageError
    from ayon_async.http import Timeouts, Tls
    from ayon_async.progress import report_of
    from ayon_async.settings import Settings, this_platform
except ImportError:  # not installed here: go on in the environment that run.py uses
    if sys.flags.isolated:
        raise
    from environment import CHECKOUT, become, prepare

    become([str(prepare("run", CHECKOUT / "requirements.txt")), "-I", str(Path(__file__).resolve()), *sys.argv[1:]])

_CONNECTION = ("AYON_API_KEY", "AYON_CA_FILE", "AYON_CERT_FILE", "AYON_SERVER_TIMEOUT", "AYON_SERVER_RETRIES")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; wrong usage ends the program with code 2."""
    about, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", metavar="URL", required=True, help="URL of the AYON server")
    parser.add_argument("--storage-dir", metavar="DIR", type=Path, required=True, help="root of the store")
    parser.add_argument("--bundle", metavar="NAME", action="append", help="a bundle; default: the production bundle")
    parser.add_argument(
        "--platform",
        metavar="NAME",
        action="append",
        choices=("windows", "linux", "darwin"),
        help="whose dependency package: windows, linux or darwin; default: this machine's",
    )
    parser.add_argument("--api-key-file", metavar="FILE", type=Path, help="file with the API key, else AYON_API_KEY")
    parser.add_argument("--json", action="store_true", help="print one JSON document with a report of every run")
    return parser.parse_args(arguments)


def connection(options: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """The settings of the connection.

    Raises:
        UsageError: A value can't be used, or there is no key in the file.
    """
    flags = {"server": options.server, "api_key": read_key(options.api_key_file)}
    return load_settings(flags, environ={name: environ[name] for name in _CONNECTION if name in environ})


def read_key(path: Path | None) -> str | None:
    """The key in the file, or None without a file.

    Raises:
        UsageError: The file can't be read or is empty.
    """
    if path is None:
        return None
    try:
        key = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The key can't be read from {path}: {error}.", "Name a text file with the key.") from error
    if not key:
        raise UsageError(f"The file {path} is empty.", "Put the API key into it.")
    return key


class Preseed:
    """Every run so far, and the one under way."""

    def __init__(self, settings: Settings, options: argparse.Namespace) -> None:
        self._settings = settings
        self._options = options
        self._started = self._run_started = time.monotonic()
        self._under_way: str | None = None
        self._last = Snapshot()
        self.runs: list[tuple[str, SyncReport]] = []

    async def run(self) -> None:
        """Fetch every bundle for every platform."""
        settings, store = self._settings, Store.at(self._options.storage_dir.expanduser())
        server = AyonServer(
            str(settings.server),
            api_key=settings.api_key,
            timeouts=Timeouts(settings.connect_timeout, settings.silence_timeout),
            tls=Tls(settings.ca_file, settings.cert_file),
            retries=settings.retries,
        )
        bundles = dict.fromkeys(self._options.bundle or [None])
        platforms = dict.fromkeys(self._options.platform or [this_platform()])
        async with server:
            for bundle, platform in itertools.product(bundles, platforms):
                self._under_way, self._run_started = platform, time.monotonic()
                self._watch(Snapshot(server.url, bundle))
                report = await sync(server, store, BundleChoice(bundle=bundle), platform=platform, progress=self._watch)
                self._end(report)
                if isinstance(report.error, (ServerError, AccessDenied, UsageError)):
                    return

    def _watch(self, snapshot: Snapshot) -> None:
        self._last = snapshot

    def _end(self, report: SyncReport) -> None:
        self.runs.append((str(self._under_way), report))
        self._under_way = None

    def stop(self, error: AyonAsyncError) -> None:
        """The run under way was interrupted: it ends with what it had done."""
        if self._under_way is not None:
            self._end(report_of(self._last, time.monotonic() - self._run_started, error))

    def document(self, code: int) -> dict[str, Any]:
        """Everything, for `--json`."""
        return {
            "ok": code == 0,
            "server": self._settings.server,
            "storage_dir": str(self._options.storage_dir),
            "seconds": round(time.monotonic() - self._started, 3),
            "bytes_downloaded": sum(report.bytes_downloaded for _, report in self.runs),
            "runs": [{"platform": platform, **report.to_dict()} for platform, report in self.runs],
        }


def tell(platform: str, report: SyncReport, say: Callable[[str], None]) -> None:
    """What became of one run: a line, and on standard error what failed."""
    counted = Counter(item.state.replace("_", " ") for item in report.items)
    states = ", ".join(f"{count} {state}" for state, count in counted.items()) or "nothing done"
    amount = f"{report.bytes_downloaded / 1e6:.1f} MB in {report.seconds:.1f} s"
    say(f"{report.bundle or 'no bundle'} for {platform}: {states}; {amount}")
    for warning in report.warnings:
        complain(warning)
    # The run's error may be an item's as well.
    for error in dict.fromkeys([*(item.error for item in report.items), report.error]):
        if error is not None:
            complain(f"{error.message} {error.hint}".rstrip())


def main(arguments: list[str]) -> int:
    """Do it, and return the exit code."""
    be_lenient()
    options = parse(arguments)
    try:
        preseed = Preseed(connection(options, os.environ), options)
    except UsageError as error:
        complain(f"preseed: {error.message} {error.hint}")
        return error.exit_code
    code = 0
    try:
        with faults_told():
            interrupt.run(preseed.run)
    except interrupt.Stopped:
        stopped = interrupt.error()
        assert stopped is not None
        preseed.stop(stopped)
        code = stopped.exit_code
    except AyonAsyncError as error:
        preseed.stop(error)
        code = error.exit_code
    interrupt.hold()
    code = code or next((report.exit_code for _, report in preseed.runs if not report.ok), 0)
    if options.json:
        show(json.dumps(preseed.document(code), indent=2))
    for platform, report in preseed.runs:
        tell(platform, report, complain if options.json else show)
    return code


if __name__ == "__main__":
    interrupt.listen()
    interrupt.leave(main(sys.argv[1:]))
