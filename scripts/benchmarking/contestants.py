"""Who takes part: this project, and what a user would pick instead. Each syncs a site into an empty folder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarking.archives import folder_of
from benchmarking.hosting import ENVIRONMENT, SCRIPTS, Site
from benchmarking.measuring import Cost, RunFailed, run

Run = Callable[[Site, Path], Cost]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way of getting a bundle.

    Attributes:
        name: What it is called in the table.
        run: Gets the site's archives into an empty folder, and measures that.
        where: The folder below it that holds what was in an archive, by the archive's name; None where only archives,
            or nothing, are left.
    """

    name: str
    run: Run
    where: Callable[[str], str] | None = lambda name: f"out/{name}"


# --- this project -----------------------------------------------------------------------------------------------------


def our_command(site: Site, folder: Path, jobs: int = 8) -> list[str]:
    """What syncs once in a process of its own."""
    return [sys.executable, "-m", "benchmarking.ours", site.ayon, str(folder), "--jobs", str(jobs)]


def ours(jobs: int = 8, *options: str) -> Contestant:
    """A sync inside a process, timed after imports."""

    def sync(site: Site, folder: Path) -> Cost:
        command = [*our_command(site, folder, jobs), *options]
        cost, said = run(command, inside=site.network.at_client, env=ENVIRONMENT, cwd=SCRIPTS)
        told = json.loads(said)
        if told["installed"] != len(site.archives):
            raise RunFailed(f"only {told['installed']} of {len(site.archives)} archives were installed")
        return replace(cost, wall=told["wall"], more={"step": told["step"]})

    return Contestant("ayon-async", sync, folder_of)


def ayon_async(*arguments: str, home: Path, inside: Sequence[str] = (), fine: Sequence[int] = (0,)) -> Cost:
    """The command, from the start of the program to its end; nobody's settings are in its way."""
    command = [sys.executable, "-m", "ayon_async", *arguments]
    return run(command, inside=inside, env=ENVIRONMENT | {"HOME": str(home)}, cwd=SCRIPTS, fine=fine)[0]


def command_line(jobs: int = 8) -> Contestant:
    """The same by command line, from the start of the program to its end."""

    def sync(site: Site, folder: Path) -> Cost:
        options = ["--server", site.ayon, "--storage-dir", str(folder), "--jobs", str(jobs), "--quiet"]
        return ayon_async("sync", *options, home=site.folder.parent, inside=site.network.at_client)

    return Contestant("ayon-async sync", sync, folder_of)


def stage(name: str, called: str, jobs: int = 8, where: Callable[[str], str] | None = None) -> Contestant:
    """One stage alone: `download`, `unpack` or `bound`; see `stages`."""

    def work(site: Site, folder: Path) -> Cost:
        lines = [f"{one.sha256}\t{site.url(one)}\t{site.path(one)}\n" for one in site.archives]
        command = [sys.executable, "-m", "benchmarking.stages", name, str(folder), str(jobs)]
        cost, said = run(command, inside=site.network.at_client, env=ENVIRONMENT, cwd=SCRIPTS, feed="".join(lines))
        told = json.loads(said)
        if name == "bound":  # a sum, not what its process used
            return replace(cost, **told, private=0)
        return replace(cost, wall=told["wall"])

    return Contestant(called, work, where)


# --- other programs in Python -----------------------------------------------------------------------------------------


def sequential() -> Contestant:
    """requests with one connection kept alive, `hashlib`, `zipfile.extractall`."""
    return _python("requests + zipfile", "benchmarking.sequential")


def bare() -> Contestant:
    """The least whole program, see `bare`: what a sync can't do without, and nothing that makes it safe."""
    return _python("bare program", "benchmarking.bare", "8")


def kept() -> Contestant:
    """The bare program for small archives that keeps what a store is promised, see `kept`."""
    return _python("bare program with sizes, leases, records", "benchmarking.kept", "8")


def _python(called: str, *command: str) -> Contestant:
    """A module that is told digest, URL, archive and folder by line, the largest first; timed after imports."""

    def fetch(site: Site, folder: Path) -> Cost:
        (folder / "archives").mkdir()
        lines = [
            f"{one.sha256}\t{site.url(one)}\t{folder}/archives/{one.name}\t{folder}/out/{one.name}\n"
            for one in site.archives
        ]
        cost, said = run(
            [sys.executable, "-m", *command], inside=site.network.at_client, env=ENVIRONMENT, cwd=SCRIPTS,
            feed="".join(lines),
        )  # fmt: skip
        return replace(cost, wall=json.loads(said)["wall"])

    return Contestant(called, fetch)


# --- separate programs ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aria:
    """How aria2 is told to download: so many archives at once, each over so many connections."""

    archives: int = 8
    connections: int = 1

    def __str__(self) -> str:
        return f"-j{self.archives} -x{self.connections}"

    def __call__(self, site: Site, folder: Path) -> Cost:
        """Download into `archives`."""
        listed = "".join(f"{site.url(one)}\n  out={one.name}\n" for one in site.archives)
        command = ["aria2c", "--quiet", "--no-conf", "--file-allocation=none", "--input-file=-"]
        command += [f"--dir={folder}/archives", f"--max-concurrent-downloads={self.archives}", "--min-split-size=1M"]
        command += [f"--max-connection-per-server={self.connections}", f"--split={self.connections}"]
        return run(command, inside=site.network.at_client, feed=listed)[0]


def curl(site: Site, folder: Path) -> Cost:
    """Download into `archives`."""
    listed = "".join(f'url = "{site.url(one)}"\noutput = "{folder}/archives/{one.name}"\n' for one in site.archives)
    command = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "8", "--config", "-"]
    return run(command, inside=site.network.at_client, feed=listed)[0]


def sha256sum(site: Site, folder: Path) -> Cost:
    """Check the digests, two workers."""
    return _hash(site, folder, ["sha256sum"])


def openssl(site: Site, folder: Path) -> Cost:
    """Check the digests, two workers; it uses the processor's instructions for SHA-256."""
    return _hash(site, folder, ["openssl", "dgst", "-sha256", "-r"])


def _hash(site: Site, folder: Path, command: list[str]) -> Cost:
    at_once = 1 if len(site.archives) < 64 else 16
    names = "".join(f"{one.name}\n" for one in site.archives)
    cost, said = run(["xargs", "-P2", f"-n{at_once}", *command], cwd=folder / "archives", feed=names)
    found = {line.split()[1].lstrip("*"): line.split()[0] for line in said.splitlines()}
    if found != {one.name: one.sha256 for one in site.archives}:
        raise RunFailed(f"{command[0]} found other digests")
    return cost


def unzip(site: Site, folder: Path) -> Cost:
    """Unpack, two workers."""
    return _unpack(site, folder, ["unzip", "-q", "-o"], "-d")


def bsdtar(site: Site, folder: Path) -> Cost:
    """Unpack, two workers."""
    return _unpack(site, folder, ["bsdtar", "-x", "-f"], "-C")


def _unpack(site: Site, folder: Path, command: list[str], into: str) -> Cost:
    archives = folder / "archives" if (folder / "archives").exists() else site.folder
    for one in site.archives:
        (folder / "out" / one.name).mkdir(parents=True)
    names = "".join(f"{one.name}\n" for one in site.archives)
    return run(["xargs", "-P2", "-I{}", *command, "{}", into, f"{folder}/out/{{}}"], cwd=archives, feed=names)[0]


def chain(name: str, *steps: Run, downloads: bool = True) -> Contestant:
    """One program after another, each the fastest way it has.

    Args:
        downloads: Whether the first step does; else the servers' own files are worked on.
    """

    def work(site: Site, folder: Path) -> Cost:
        if downloads:
            (folder / "archives").mkdir()
        cost = Cost(0.0, 0.0, 0)
        for step in steps:
            cost += step(site, folder)
        return cost

    return Contestant(name, work)


def aria_unzip(aria: Aria = Aria()) -> Contestant:
    """aria2, sha256sum, unzip."""
    return chain(f"aria2 {aria} + sha256sum + unzip", aria, sha256sum, unzip)


def aria_bsdtar(aria: Aria = Aria()) -> Contestant:
    """aria2, openssl, bsdtar."""
    return chain(f"aria2 {aria} + openssl + bsdtar", aria, openssl, bsdtar)


def curl_bsdtar() -> Contestant:
    """curl, openssl, bsdtar."""
    return chain("curl -Z + openssl + bsdtar", curl, openssl, bsdtar)


@dataclass(frozen=True, slots=True)
class Emptied:
    """A folder that is emptied before each run, out of its time.

    Attributes:
        path: The folder.
    """

    path: Path

    def run(self, contestant: Contestant, site: Site) -> Cost:
        """One run, from nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700, parents=True)
        return contestant.run(site, self.path)
