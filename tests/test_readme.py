"""What the README says is so: its example runs, its tables and options are the program's."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import typer

from ayon_async.cli.app import app
from ayon_async.cli.execute import CommandNotRun
from ayon_async.configuration import load_settings
from ayon_async.devserver import DevServer, tiny_studio
from ayon_async.errors import AyonAsyncError
from ayon_async.paths import platform_folders
from ayon_async.settings import SETTINGS
from cli_machine import Machine, ended

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    section = README.partition(f"### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


async def test_the_example_syncs_a_bundle_and_shows_progress(tmp_path: Path) -> None:
    (example,) = blocks("python")
    body = example.partition("async def main():\n")[2].partition("\nasyncio.run")[0]
    assert len([line for line in [*example.splitlines()[:2], *body.splitlines()] if line.strip()]) == 5
    async with DevServer(tiny_studio()) as dev:
        for ours, theirs in (("https://ayon.example.com", dev.url), ("your-key", "artist-key")):
            assert ours in example
            example = example.replace(ours, theirs)
        assert '"/opt/ayon"' in example
        code = example.replace('"/opt/ayon"', repr(str(tmp_path / "store")))
        done = await ended(await Machine(tmp_path).start_python("-c", code))
    assert done.code == 0, done.err
    count, _, size = done.out.splitlines()[-1].partition(" of ")
    assert int(count) == int(size) > 80_000
    assert (tmp_path / "store/addons/core_1.0.0/ayon_core/__init__.py").is_file()


def test_every_setting_is_in_the_table() -> None:
    def cell(text: object) -> str:
        return f"`{text}`" if text not in (None, "") else ""

    def default(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value).lower()

    expected = [
        [
            cell(setting.key) if setting.in_files else f"({cell(setting.key)})",
            cell(setting.flag),
            cell(setting.variable),
            default(setting.default),
            setting.help,
        ]
        for setting in SETTINGS
    ]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in expected)
    assert table("Settings") == expected, f"the table should be:\n{lines}"


def test_the_settings_file_shown_is_one(tmp_path: Path) -> None:
    (example,) = blocks("toml")
    file = tmp_path / "config.toml"
    file.write_text(example, encoding="utf-8")
    settings = load_settings(environ={}, machine_file=file)
    assert settings.warnings == ()
    assert (settings.server, settings.launcher_layout) == ("https://ayon.example.com", True)


def test_every_promise_names_tests_that_exist() -> None:
    section = README.partition("## What it promises\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "---" not in line][1:]
    for row in rows:
        tests = re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, )?)+)", row)
        assert tests, row
        for file, names in tests:
            code = (Path(__file__).parent / file).read_text(encoding="utf-8")
            for name in re.findall(r"\w+", names):
                assert f"def {name}(" in code, f"{file} has no {name}"


def test_every_exit_code_is_in_the_table() -> None:
    def codes(error: type[AyonAsyncError]) -> set[int]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    assert CommandNotRun.exit_code == 1, "it sets its own"
    told = {int(code) for row in table("Exit codes") for code in row[0].split(", ")}
    assert told == {0, *codes(AyonAsyncError), 126, 127, 143}


def test_the_folders_are_this_platform_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    folders = platform_folders()
    shown = (folders.store, folders.launcher, folders.config, folders.machine, folders.log)
    ours = {str(path).replace(str(Path.home()), "~") for path in shown}
    column = {"win32": 2, "darwin": 3}.get(sys.platform, 1)
    assert ours == {row[column].strip("`") for row in table("Folders")}


COMMANDS = [
    line.partition("#")[0].split()[1:]
    for block in blocks("console")
    for line in block.splitlines()
    if line.startswith("ayon-async ")
]


def test_every_command_is_shown() -> None:
    group = typer.main.get_command(app)
    assert {command[0] for command in COMMANDS} == set(group.list_commands(None))  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_the_options_shown_exist(command: list[str], tmp_path: Path) -> None:
    own = command[: command.index("--")] if "--" in command else command
    done = await Machine(tmp_path).call(command[0], "--help")
    assert done.code == 0
    assert [word for word in own if word.startswith("--") and f"  {word}" not in done.out] == []
