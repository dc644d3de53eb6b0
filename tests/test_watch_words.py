"""What a watch decides and says, without a server: moods, words, bundles ahead, clocks, files."""

from __future__ import annotations

import os
import plistlib
import subprocess
import sys
import threading
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from ayon_async import model, priority
from ayon_async.choice import BundleChoice
from ayon_async.errors import AyonAsyncError, BundleError, ItemError, NotSignedIn, ServerError, SettingsError, StoreFull
from ayon_async.item import Item
from ayon_async.progress import ItemProgress, Phase, Snapshot
from ayon_async.report import ItemReport, State, SyncReport
from ayon_async.settings import Prefetch
from ayon_async.watch import Mood, Update, WatchState, autostart, single
from ayon_async.watch.ahead import bundles_ahead
from ayon_async.watch.clock import Alarm, Clock
from ayon_async.watch.describe import Narrator, failure_text, item_line, status_line, update_text
from ayon_async.watch.keep import Value, change_settings
from ayon_async.watch.mood import Facts, error_of, mood_of
from ayon_async.watch.single import Instance, raise_first, take_or_show_first
from ayon_async.watch.unit import unit_environment, unit_text
from ayon_async.watch.updates import update_of

MAYA = Item("addon", "maya", "1.2.0")
BROKEN = ItemError("The archive is broken.", "Upload it again.")


def report(*states: State, error: AyonAsyncError | None = None, item_error: AyonAsyncError = BROKEN) -> SyncReport:
    items = tuple(
        ItemReport("addon", f"a{number}", "1", state, error=item_error if state == "failed" else None)
        for number, state in enumerate(states)
    )
    return SyncReport("https://ayon.example.com", "prod", "production", items, error=error)


def snapshot(*phases: Phase, finished: bool = False, size: int | None = 10) -> Snapshot:
    items = tuple(ItemProgress(MAYA, phase, size=size) for phase in phases)
    return Snapshot("https://ayon.example.com", "prod", "production", items, finished=finished)


GOOD = Facts(line="up", report=report("installed", "up_to_date", "skipped"))
AWAY, NOBODY = ServerError("away"), NotSignedIn("who?")


# --- moods ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "mood", "error"),
    [
        (Facts(), Mood.STARTING, None),
        (GOOD, Mood.IDLE, None),
        # queued
        (replace(GOOD, pending=True), Mood.CHECKING, None),
        (replace(GOOD, asked=True, line="asking"), Mood.CHECKING, None),
        (replace(GOOD, line="asking"), Mood.CHECKING, None),
        # running
        (replace(GOOD, is_running=True), Mood.CHECKING, None),
        (replace(GOOD, is_running=True, snapshot=snapshot(Phase.DOWNLOADING)), Mood.WORKING, None),
        (replace(GOOD, is_running=True, snapshot=snapshot(Phase.QUEUED)), Mood.WORKING, None),
        (replace(GOOD, is_running=True, snapshot=snapshot(Phase.QUEUED, size=None)), Mood.CHECKING, None),
        (replace(GOOD, is_running=True, snapshot=snapshot(Phase.DOWNLOADING, finished=True)), Mood.CHECKING, None),
        (replace(GOOD, ahead=snapshot(Phase.UNPACKING)), Mood.WORKING, None),
        (replace(GOOD, ahead=snapshot(Phase.DONE, finished=True)), Mood.IDLE, None),
        (replace(GOOD, is_running=True, pending=True), Mood.CHECKING, None),
        # failed
        (replace(GOOD, report=report("installed", "failed")), Mood.ATTENTION, None),
        (replace(GOOD, report=report("installed", "planned")), Mood.ATTENTION, None),
        (replace(GOOD, report=report(error=BundleError("none"))), Mood.ERROR, BundleError),
        (replace(GOOD, report=report("failed", item_error=StoreFull("full"))), Mood.ERROR, StoreFull),
        (replace(GOOD, settings_error=SettingsError("typing error")), Mood.ERROR, SettingsError),
        # not verified
        (replace(GOOD, report=None), Mood.STARTING, None),
        (replace(GOOD, report=replace(report("up_to_date"), offline=True)), Mood.ATTENTION, None),
        (replace(GOOD, report=report(error=AWAY)), Mood.OFFLINE, ServerError),
        (replace(GOOD, line="down", line_error=AWAY), Mood.OFFLINE, ServerError),
        (replace(GOOD, line="down", line_error=AWAY, pending=True), Mood.OFFLINE, ServerError),
        (replace(GOOD, line="down", line_error=AWAY, asked=True), Mood.CHECKING, None),
        (replace(GOOD, report=report(error=NOBODY)), Mood.SIGNED_OUT, NotSignedIn),
        # a person
        (replace(GOOD, paused=True), Mood.PAUSED, None),
        (replace(GOOD, paused=True, line="down", line_error=AWAY), Mood.PAUSED, None),
        (replace(GOOD, line="refused", line_error=NOBODY), Mood.SIGNED_OUT, NotSignedIn),
        (replace(GOOD, line="refused", line_error=NOBODY, paused=True, pending=True), Mood.SIGNED_OUT, NotSignedIn),
    ],
)
def test_moods(facts: Facts, mood: Mood, error: type[AyonAsyncError] | None) -> None:
    assert mood_of(facts) is mood
    assert type(error_of(facts)) is (error or type(None))


# --- words ------------------------------------------------------------------------------------------------------------


def test_the_line_of_a_download() -> None:
    done = ItemProgress(MAYA, Phase.DONE, bytes_done=1000, size=1000, report=report("installed").items[0])
    runs = [replace(done, report=None, phase=Phase.DOWNLOADING, bytes_done=8_000_000, size=1_000_000_000)] * 14
    now = Snapshot(items=(*[done] * 7, *runs), speed=173_600_000.0)
    assert (
        status_line(WatchState(Mood.WORKING, snapshot=now))
        == "AYON production · 7 of 21 · 173.6 MB/s · 1 min 20 s left"
    )


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (WatchState(), "AYON production · starting"),
        (WatchState(Mood.IDLE, "staging", bundle="2026-08"), "AYON staging · 2026-08 · up to date"),
        (WatchState(Mood.ATTENTION, report=report("failed", "failed")), "AYON production · 2 items failed"),
        (WatchState(Mood.OFFLINE), "AYON production · the server can't be reached"),
        (WatchState(Mood.WORKING, snapshot=snapshot(Phase.QUEUED)), "AYON production · 0 of 1"),
        (
            WatchState(Mood.WORKING, snapshot=snapshot(Phase.QUEUED), prefetching="next"),
            "AYON production · fetching next ahead · 0 of 1",
        ),
    ],
)
def test_the_line_of_a_state(state: WatchState, line: str) -> None:
    assert status_line(state) == line


def test_every_mood_and_phase_has_words() -> None:
    assert all(status_line(WatchState(mood)) for mood in Mood)
    assert all(item_line(ItemProgress(MAYA, phase)) for phase in Phase)


def test_the_line_of_an_item() -> None:
    item = ItemProgress(MAYA, Phase.DOWNLOADING, speed=3.1e6, attempt=2, reason="the connection broke")
    assert item_line(item) == "maya 1.2.0 · downloading · 3.1 MB/s · try 2: the connection broke"


def test_notifications() -> None:
    update = Update(datetime.now().astimezone(), ("a 1", "b 2", "c 3", "d 4", "e 5"), "prod")
    assert update_text(update) == ("5 addons updated", "a 1, b 2, c 3 and 2 more. Bundle prod.")
    title, body = failure_text(report("installed", "failed"))
    assert (title, body) == ("1 addon could not be updated", "a1 1. The archive is broken. Upload it again.")
    assert "none" in failure_text(report(error=BundleError("none", "Choose one.")))[1]


def test_the_log_says_what_lasts_once() -> None:
    said: list[str] = []
    narrator = Narrator(said.append)
    idle = WatchState(Mood.IDLE, bundle="prod", report=report("up_to_date"))
    for mood in (Mood.STARTING, Mood.CHECKING, Mood.IDLE, Mood.CHECKING, Mood.IDLE):
        narrator.tell(replace(idle, mood=mood))
    assert said == ["AYON production · prod · up to date."]
    narrator.tell(replace(idle, mood=Mood.OFFLINE, error=ServerError("No answer: refused", "Look.")))
    assert said[1:] == ["AYON production · the server can't be reached. No answer: refused. Look."]
    narrator.tell(replace(idle, update=Update(datetime.now(), ("a 1",), "prod")))  # of a bundle followed long ago
    assert said[2:] == ["AYON production · prod · up to date."]
    narrator.updated(Update(datetime.now(), ("a 1",), "prod"))
    assert said[3:] == ["1 addon updated: a 1. Bundle prod."]


# --- what is decided --------------------------------------------------------------------------------------------------


def bundles(*made: tuple[str, str], **flags: str) -> model.Bundles:
    found = [
        model.Bundle(
            name,
            {"core": name},
            created_at=created or None,
            is_production=name == flags.get("production"),
            is_staging=name == flags.get("staging"),
            is_archived=name == flags.get("archived"),
            is_dev=name == flags.get("dev"),
            is_project=name == flags.get("project"),
        )
        for name, created in made
    ]
    return model.Bundles(found, flags.get("production"), flags.get("staging"))


SIX = [(name, f"2026-0{number}-01T00:00:00+00:00") for number, name in enumerate(("a", "b", "c", "d", "e", "f"), 1)]


@pytest.mark.parametrize(
    ("prefetch", "choice", "flags", "names"),
    [
        ("off", BundleChoice(), {"production": "b", "staging": "c"}, []),
        ("staging", BundleChoice(), {"production": "b", "staging": "c"}, ["c"]),
        ("staging", BundleChoice(), {"production": "b", "staging": "b"}, []),
        ("staging", BundleChoice(), {"production": "b"}, []),
        ("staging", BundleChoice(), {"staging": "c"}, []),
        ("staging", BundleChoice(staging=True), {"production": "b", "staging": "c"}, []),
        ("staging", BundleChoice(), {"production": "b", "staging": "c", "archived": "c"}, []),
        ("all", BundleChoice(), {"production": "c", "staging": "a"}, ["a", "f", "e", "d"]),
        ("all", BundleChoice(), {"production": "c", "archived": "d", "dev": "e", "project": "f"}, []),
        ("all", BundleChoice(bundle="e"), {"production": "c"}, ["f"]),
    ],
)
def test_which_bundles_are_fetched_ahead(
    prefetch: Prefetch, choice: BundleChoice, flags: dict[str, str], names: list[str]
) -> None:
    assert [ahead.name for ahead in bundles_ahead(bundles(*SIX, **flags), choice, "artist", prefetch)] == names


def test_of_a_bundle_without_a_date_nothing_is_later() -> None:
    ahead = bundles_ahead(bundles(("a", "x"), ("b", ""), production="a"), BundleChoice(), "artist", "all")
    assert ahead == ()


def test_a_project_stays_chosen_ahead() -> None:
    choice = BundleChoice(project="demo")
    ahead = bundles_ahead(bundles(*SIX, production="d", staging="e"), choice, "artist", "all")
    assert [one.choice for one in ahead] == [
        BundleChoice(staging=True, project="demo"),
        BundleChoice(bundle="f", project="demo"),
    ]


def test_what_was_fetched_ahead_is_an_update_once_it_is_active() -> None:
    now, before = datetime.now().astimezone(), frozenset([Item("addon", "a0", "1")])
    assert update_of(report("up_to_date"), before, now) is None
    assert update_of(report("up_to_date", "skipped"), before, now) is None
    update = update_of(report("up_to_date", "up_to_date", "installed"), before, now)
    assert update is not None
    assert update.labels == ("a1 1", "a2 1")
    again = update_of(report("installed"), before, now)
    assert again is not None, "another archive of the same version"


@pytest.mark.parametrize(
    ("wall", "monotonic", "slept"),
    [
        (5.0, 5.0, False),
        (20.0, 20.0, False),  # a busy computer
        (3600.0, 5.0, True),  # Linux and macOS: the monotonic clock stood still
        (3600.0, 3600.0, True),  # Windows: it did not
        (-3600.0, 5.0, False),  # somebody set the clock back
    ],
)
def test_a_sleep_is_time_that_nobody_waited_for(wall: float, monotonic: float, slept: bool) -> None:
    now = [1000.0, 50.0]
    alarm = Alarm(Clock(lambda: now[0], lambda: now[1]), 30.0)
    now[:] = [now[0] + wall, now[1] + monotonic]
    assert alarm.slept(5.0) is slept
    assert alarm.slept(5.0) is False


# --- the settings file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("", {"use_staging": True}, "use_staging = true\n"),
        ("# mine\n", {"limit_rate": 5_000_000}, "# mine\nlimit_rate = 5000000\n"),
        ('limit_rate = "2M"  # the line is thin\n', {"limit_rate": 1e6}, "limit_rate = 1000000  # the line is thin\n"),
        ("use_staging = true\njobs = 4\n", {"use_staging": None}, "jobs = 4\n"),
        ("jobs = 4\r\n", {"use_dev": True}, "jobs = 4\r\nuse_dev = true\r\n"),
        ("jobs = 4", {"use_dev": True}, "jobs = 4\nuse_dev = true\n"),
        ("[other]\njobs = 1\n", {"jobs": 2}, "jobs = 2\n[other]\njobs = 1\n"),
        ("bundle = 'x'\n", {"bundle": None, "server": 'a"b\\c'}, 'server = "a\\"b\\\\c"\n'),
        ('also = [\n  "/a",\n]\n', {"use_dev": None}, 'also = [\n  "/a",\n]\n'),
    ],
)
def test_single_keys_of_the_file_are_changed(
    tmp_path: Path, before: str, changes: dict[str, Value], after: str
) -> None:
    path = tmp_path / "config" / "config.toml"
    if before:
        path.parent.mkdir()
        path.write_bytes(before.encode())
    change_settings(path, changes)
    assert path.read_bytes().decode() == after


def test_a_file_that_can_not_be_changed_safely_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for text in ('note = """\nuse_staging = false\n"""\n', "use_staging = maybe\n", '"use_staging" = false\n'):
        path.write_text(text)
        with pytest.raises(SettingsError, match="can't be changed"):
            change_settings(path, {"use_staging": True})
        assert path.read_text() == text


@pytest.mark.skipif(sys.platform == "win32", reason="needs rights there")
def test_a_linked_file_stays_linked(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text("jobs = 4\n")
    real.chmod(0o600)
    link.symlink_to(real)
    change_settings(link, {"jobs": 8})
    assert link.is_symlink()
    assert tomllib.loads(real.read_text()) == {"jobs": 8}
    assert real.stat().st_mode & 0o777 == 0o600


# --- the system -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="what it does elsewhere can't be read back")
def test_only_the_thread_yields() -> None:
    found: list[int] = []

    def work() -> None:
        priority.lower()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [max(before, 10)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_one_instance_for_each_store(tmp_path: Path) -> None:
    shown = threading.Event()
    assert not raise_first(tmp_path / "store", tmp_path)
    first = Instance.take(tmp_path / "store", tmp_path)
    assert first is not None
    first.show_with(shown.set)
    other = Instance.take(tmp_path / "other", tmp_path)
    assert other is not None
    assert Instance.take(tmp_path / "store", tmp_path) is None
    assert raise_first(tmp_path / "store", tmp_path)
    assert shown.wait(5)
    if sys.platform != "win32":
        assert {path.stat().st_mode & 0o077 for path in (tmp_path / "instances").iterdir()} == {0}
    first.release()
    assert not raise_first(tmp_path / "store", tmp_path)
    again = Instance.take(tmp_path / "store", tmp_path)
    assert again is not None
    again.release()
    other.release()


def test_who_asks_while_the_first_one_starts_is_shown_the_window_later(tmp_path: Path) -> None:
    shown = threading.Event()
    first = Instance.take(tmp_path / "store", tmp_path)
    assert first is not None
    assert take_or_show_first(tmp_path / "store", tmp_path) is None
    assert not shown.is_set()
    first.show_with(shown.set)
    assert shown.is_set()
    first.release()


def test_who_asks_while_the_first_one_ends_takes_its_place(tmp_path: Path) -> None:
    first = Instance.take(tmp_path / "store", tmp_path)
    assert first is not None
    first.close_door()
    threading.Timer(0.3, first.release).start()
    second = take_or_show_first(tmp_path / "store", tmp_path)
    assert second is not None
    second.release()


def test_a_first_one_that_never_answers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single, "_PATIENCE", 0.2)
    first = Instance.take(tmp_path / "store", tmp_path)
    assert first is not None
    first.close_door()
    with pytest.raises(AyonAsyncError, match="does not answer"):
        take_or_show_first(tmp_path / "store", tmp_path)
    first.release()


def test_who_does_not_know_the_word_raises_nothing(tmp_path: Path) -> None:
    import json
    import socket

    shown = threading.Event()
    instance = Instance.take(tmp_path / "store", tmp_path)
    assert instance is not None
    instance.show_with(shown.set)
    [door] = (tmp_path / "instances").glob("*.json")
    with socket.create_connection(("127.0.0.1", json.loads(door.read_text())["port"])) as asking:
        asking.sendall(b"0" * 64)
        assert asking.recv(16) == b""
    assert raise_first(tmp_path / "store", tmp_path), "it still answers"
    assert shown.is_set()
    instance.release()


def test_another_process_is_seen(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from ayon_async.watch.single import Instance, raise_first\n"
    code += "p = Path(sys.argv[1]); print(Instance.take(p / 'store', p), raise_first(p / 'store', p))"
    instance = Instance.take(tmp_path / "store", tmp_path)
    assert instance is not None
    shown = threading.Event()
    instance.show_with(shown.set)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None True"
    assert shown.is_set()
    instance.release()


@pytest.mark.skipif(sys.platform != "linux", reason="writes what this platform reads")
def test_start_at_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert not autostart.is_enabled()
    autostart.enable(["/opt/my tools/python", "-m", "ayon_async", "tray"])
    assert autostart.is_enabled()
    entry = (tmp_path / "autostart" / "ayon-async.desktop").read_text()
    assert 'Exec="/opt/my tools/python" "-m" "ayon_async" "tray"\n' in entry
    with (tmp_path / "autostart" / "ayon-async.desktop").open("a") as file:
        file.write("Hidden=true\n")
    assert not autostart.is_enabled(), "the desktop's own settings switched it off"
    autostart.disable()
    autostart.disable()
    assert not (tmp_path / "autostart" / "ayon-async.desktop").exists()


def test_the_launch_agent_names_the_command() -> None:
    assert plistlib.loads(autostart.launch_agent(["/opt/a b", "&<"]))["ProgramArguments"] == ["/opt/a b", "&<"]


def test_the_tray_is_started_by_absolute_paths() -> None:
    assert Path(autostart.tray_command()[0]).is_absolute()


def test_the_unit_quotes_what_systemd_would_read() -> None:
    text = unit_text(["/opt/my py/python", "-m", "x", "50%", "$HOME", 'a"b\\c'], {"AYON_CA_FILE": "/etc/a 100%.pem"})
    assert 'ExecStart="/opt/my py/python" -m x "50%%" "$$HOME" "a\\"b\\\\c"\n' in text
    assert 'Environment="AYON_CA_FILE=/etc/a 100%%.pem"\n' in text


def test_the_unit_knows_no_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"AYON_CA_FILE": "ca.pem", "AYON_ADDONS_DIR": "~/addons", "AYON_BUNDLE_NAME": "b", "AYON_API_KEY": "s3cret"}
    assert unit_environment({**given, "AYON_HEADLESS_MODE": "1", "AYON_CERT_FILE": " "}) == {
        "AYON_CA_FILE": str(tmp_path / "ca.pem"),
        "AYON_ADDONS_DIR": str(Path.home() / "addons"),
        "AYON_BUNDLE_NAME": "b",
    }
