"""How fast is it? Measure a sync beside what a user would pick instead: python3 scripts/benchmark.py [OPTION …]

Needs Debian's programs, which it installs where it may, else names; networks also need root's rights. Writes
``results.json``, ``table.md`` and charts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from environment import CHECKOUT, EnvironmentFailed, become, can_install, install, is_installed, prepare, say

PACKAGES = ("nginx-light", "aria2", "curl", "unzip", "libarchive-tools", "openssl", "iproute2")
_HERE = "--in-this-environment"


def see_to_programs() -> None:
    """Install the programs that are missing, or end with their names."""
    missing = [package for package in PACKAGES if not is_installed(package)]
    if missing and can_install():
        try:
            install(missing)
        except EnvironmentFailed as error:
            sys.exit(str(error))
    elif missing:
        say(f"Perhaps missing (Debian's names): {' '.join(missing)}")


def _pairs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of pairs")
    return int(text)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a quick look, with archives of Python's own library")
    parser.add_argument("--pairs", type=_pairs, help="pairs a comparison (default: 5; 1 with --small)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this row, or `standing` or `growth`")
    parser.add_argument("--list", action="store_true", help="list the names for --only")
    parser.add_argument("--folder", type=Path, help="where to work (default: in memory where there is room)")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build/benchmark", help="folder of the results")
    parser.add_argument("--write-readme", action="store_true", help="also put table and charts into the README")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", action="append", help="measure nothing: tell what such results.json have"
    )
    parser.add_argument("--profile", type=Path, metavar="FILE", help="only write a flame graph of one sync, as SVG")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Begin anew inside the environment, then measure."""
    if _HERE not in arguments:
        options = parsed(arguments)
        python = prepare("test", CHECKOUT / "requirements-dev.txt")
        if not (options.list or options.report):
            see_to_programs()
        become([str(python), str(Path(__file__).resolve()), *arguments, _HERE])
    from benchmarking.session import run  # only the environment has what it imports

    arguments.remove(_HERE)
    sys.exit(run(parsed(arguments), CHECKOUT))


if __name__ == "__main__":
    main(sys.argv[1:])
