"""Icon, menu and window as functions of a watch's state; without Qt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ayon_async.errors import UsageError
from ayon_async.progress import Phase, Snapshot
from ayon_async.tray.mark import RING_STEPS, Mark, mark_of, share_of
from ayon_async.tray.menu import Circumstances, Entry, menu_of
from ayon_async.tray.page import page_of, rows_of
from ayon_async.tray.ready import need_tray
from ayon_async.watch import Followed, Mood, WatchState
from tray_states import (
    ARRIVING,
    EVERY,
    FAILED,
    FAILING,
    IDLE,
    INSTALLED,
    OFFLINE,
    PAUSED,
    PRESENT,
    QUEUED,
    SERVER,
    SIGNED_OUT,
    WORKING,
    item,
    run,
)

# --- the icon -------------------------------------------------------------------------------------------------------


def test_every_mood_has_an_icon_of_its_own() -> None:
    shapes = {name: mark_of(state).shape for name, state in EVERY.items()}
    assert shapes == {name: "checking" if name == "starting" else name for name in EVERY}
    assert {state.mood for state in EVERY.values()} == set(Mood)


@pytest.mark.parametrize(
    ("doubt", "shape"),
    [
        ({"snapshot": run(PRESENT, QUEUED)}, "checking"),
        ({"snapshot": run(PRESENT, ARRIVING)}, "checking"),
        ({"snapshot": run(PRESENT, FAILED)}, "attention"),
        ({"report": FAILING.report}, "attention"),
        ({"checked": None}, "checking"),
    ],
)
def test_the_icon_is_never_idle_while_anything_is_open(doubt: dict[str, object], shape: str) -> None:
    assert mark_of(replace(IDLE, **doubt)).shape == shape  # type: ignore[arg-type]
    assert page_of(replace(IDLE, **doubt)).title != "Everything is up to date"  # type: ignore[arg-type]


@pytest.mark.parametrize("follows", ["production", "staging", "dev"])
def test_the_bundle_is_a_colour_in_every_mood(follows: Followed) -> None:
    assert {mark_of(replace(state, follows=follows)).colour for state in EVERY.values()} == {follows}


@pytest.mark.parametrize(
    ("snapshot", "share"),
    [
        (run(), 0.0),
        (run(PRESENT), 0.0),
        (run(PRESENT, QUEUED), 0.0),
        (run(PRESENT, INSTALLED), 1.0),
        (run(item("a 1", Phase.DOWNLOADING, size=100, bytes_done=50)), 0.45),
        (run(item("a 1", Phase.UNPACKING, size=100, bytes_done=100, unpacked=0.5)), 0.95),
        (run(item("a 1", Phase.DOWNLOADING, size=None, bytes_done=50)), 0.0),
        (run(INSTALLED, item("a 1", size=3_000_000)), 0.25),
        (run(INSTALLED, item("a 1", size=None)), 0.5),
        (run(FAILED, item("a 1", size=100)), 0.5),
    ],
)
def test_the_share_of_the_work(snapshot: Snapshot, share: float) -> None:
    assert share_of(snapshot) == pytest.approx(share)


def test_the_ring_is_full_only_when_all_is_done() -> None:
    nearly = item("a 1", Phase.UNPACKING, size=100, bytes_done=100, unpacked=0.99)
    assert mark_of(replace(WORKING, snapshot=run(nearly))).ring == RING_STEPS - 1
    assert mark_of(IDLE) == Mark("idle", "production", 0)


# --- the menu -------------------------------------------------------------------------------------------------------


def texts(entries: Iterable[Entry]) -> list[str]:
    return [entry.text for entry in entries if entry.text]


def entry(state: WatchState, text: str, around: Circumstances = Circumstances()) -> Entry:  # noqa: B008 - immutable
    entries = menu_of(state, around)
    return next(one for entry in entries for one in (entry, *entry.entries) if one.text == text)


def test_all_entries() -> None:
    assert texts(menu_of(WORKING, Circumstances(autostart=False))) == [
        "AYON production · 1 of 3 · 1.5 MB/s · 10 s left",
        "Show window",
        "Check now",
        "Pause",
        "Production",
        "Staging",
        "Limit speed",
        "Open addons folder",
        "Show log",
        "Sign out",
        "Start at login",
        "About",
        "Quit",
    ]
    assert texts(entry(WORKING, "Limit speed").entries) == ["Off", "1 MB/s", "5 MB/s", "20 MB/s"]


@pytest.mark.parametrize(
    ("state", "text", "enabled", "checked"),
    [
        (IDLE, "Production", True, True),
        (IDLE, "Staging", True, False),
        (replace(IDLE, has_dev_bundle=True), "Dev", True, False),
        (replace(IDLE, follows="dev"), "Dev", True, True),
        (IDLE, "Check now", True, None),
        (SIGNED_OUT, "Check now", False, None),
        (SIGNED_OUT, "Sign in…", True, None),
        (OFFLINE, "Sign out", True, None),
        (PAUSED, "Resume", True, None),
        (PAUSED, "Check now", False, None),
        (IDLE, "Off", True, True),
        (replace(IDLE, limit=5e6), "5 MB/s", True, True),
        (replace(IDLE, limit=5e6), "Off", True, False),
        (replace(IDLE, limit=2.5e6), "2.5 MB/s", True, True),
    ],
)
def test_entries_follow_the_state(state: WatchState, text: str, enabled: bool, checked: bool | None) -> None:
    found = entry(state, text)
    assert (found.enabled, found.checked) == (enabled, checked)


def test_what_is_locked_cant_be_chosen() -> None:
    locked = Circumstances(frozenset({"use_staging", "limit_rate"}))
    assert not any(entry(IDLE, text, locked).enabled for text in ("Production", "Staging", "Limit speed"))


def test_what_cant_be_arranged_is_not_offered() -> None:
    assert "Start at login" not in texts(menu_of(IDLE, Circumstances(autostart=None)))
    assert "Dev" not in texts(menu_of(IDLE, Circumstances()))


# --- the window -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(EVERY))
def test_every_state_says_what_it_is_and_whose(name: str) -> None:
    page = page_of(EVERY[name])
    assert page.title
    assert SERVER in page.account
    assert (page.share is not None) == (name == "working")
    assert (page.trouble is not None) == (name in ("attention", "offline", "signed_out", "error"))


def test_titles_differ() -> None:
    titles = [page_of(state).title for state in EVERY.values()]
    assert len(set(titles)) == len(titles)


def test_the_head_of_a_run() -> None:
    page = page_of(WORKING)
    assert page.progress == "1 of 3 items · 5.5 MB of 20.0 MB · 1.5 MB/s · 10 s left"
    assert page.subtitle == "Production · prod-1 · 4 items"
    assert page.share == pytest.approx((1.0 + 9.0 * 0.45) / 20)


def test_rows_stand_in_the_order_of_what_matters() -> None:
    rows = rows_of(run(PRESENT, INSTALLED, QUEUED, ARRIVING, FAILED, item("pack.zip", Phase.UNPACKING, unpacked=0.5)))
    assert [(row.name, row.version, row.phase, row.tone) for row in rows] == [
        ("maya", "3.0.0", "Failed", "bad"),
        ("maya", "3.0.0", "Downloading", "busy"),
        ("Dependency package", "pack.zip", "Unpacking", "busy"),
        ("blender", "4.0.0", "Queued", "quiet"),
        ("core", "1.0.0", "Installed", "good"),
        ("nuke", "2.0.0", "Up to date", "good"),
    ]
    assert [row.share for row in rows] == [None, pytest.approx(0.45), pytest.approx(0.05), None, None, None]


def test_a_retry_says_why_and_which_try_it_is() -> None:
    url = "https://ayon.example.com/maya.zip"
    why = f"{url}: the connection broke."
    [row] = rows_of(run(item("maya 1", Phase.DOWNLOADING, attempt=3, reason=why, source=url, size=10)))
    assert (row.phase, row.reason, row.details) == ("Downloading, try 3", "The connection broke.", "")


def test_a_failure_has_its_reason_what_to_do_and_details_to_copy(tmp_path: Path) -> None:
    [row] = rows_of(run(replace(FAILED, source="https://x.example.com/a.zip")), tmp_path / "tray.log")
    assert row.reason == "The archive is no zip. Upload it again."
    assert row.spoken == "maya 3.0.0, Failed, The archive is no zip. Upload it again."
    for fact in ("maya 3.0.0", "prod-1", SERVER, "Upload it again.", "https://x.example.com/a.zip", "tray.log"):
        assert fact in row.details


@pytest.mark.parametrize(
    ("state", "remedy"), [(SIGNED_OUT, "sign_in"), (OFFLINE, "retry"), (FAILING, "retry"), (IDLE, None)]
)
def test_what_is_wrong_comes_with_what_helps(state: WatchState, remedy: str | None) -> None:
    trouble = page_of(state).trouble
    assert (trouble and trouble.remedy) == remedy


def test_a_row_is_spoken_whole() -> None:
    [row] = rows_of(run(ARRIVING))
    assert row.spoken == "maya 3.0.0, Downloading"


# --- where there can be no tray ---------------------------------------------------------------------------------------


def test_python_3_14_is_told_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"does not run on Python 3\.14 yet"):
        need_tray({"DISPLAY": ":0"}, (3, 14))


def test_a_missing_extra_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayon_async.tray.ready.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="PySide6 and qasync") as caught:
        need_tray({"DISPLAY": ":0"})
    assert "pip install 'ayon-async[tray]'" in caught.value.hint
    assert caught.value.exit_code == 2


# --- what may not be imported -----------------------------------------------------------------------------------------


def test_the_core_and_the_views_import_no_qt() -> None:
    code = """
import sys
import ayon_async, ayon_async.syncing, ayon_async.watch, ayon_async.cli.app, ayon_async.cli.tray
import ayon_async.watch.sso, ayon_async.watch.single, ayon_async.watch.autostart
import ayon_async.tray.mark, ayon_async.tray.menu, ayon_async.tray.page, ayon_async.tray.ready
found = sorted({name.partition(".")[0] for name in sys.modules} & {"PySide6", "shiboken6", "qasync"})
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code], check=True)
