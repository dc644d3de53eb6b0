"""Settings: which place decides, what each place may say, and what a person reads when it says something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayon_async.choice import BundleChoice
from ayon_async.configuration import load_settings
from ayon_async.errors import SettingsError, UsageError
from ayon_async.settings import BY_KEY, SETTINGS, Place, Settings
from ayon_async.values import age


class Places:
    """Files in a temporary folder, and settings loaded from them."""

    def __init__(self, folder: Path) -> None:
        self.user = folder / "user.toml"
        self.machine = folder / "machine.toml"

    def load(
        self,
        flags: dict[str, object] | None = None,
        environ: dict[str, str] | None = None,
        user: str | None = None,
        machine: str | None = None,
        last_server: str | None = None,
    ) -> Settings:
        for path, text in ((self.user, user), (self.machine, machine)):
            if text is not None:
                path.write_text(text, encoding="utf-8")
        return load_settings(
            flags or {},
            environ=environ or {},
            user_file=self.user,
            machine_file=self.machine,
            last_server=last_server,
        )


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_defaults(places: Places) -> None:
    settings = places.load()
    assert settings.choice == BundleChoice()
    assert (settings.server, settings.api_key, settings.storage_dir) == (None, None, None)
    assert (settings.jobs, settings.connect_timeout, settings.silence_timeout, settings.retries) == (8, 15.0, 30.0, 8)
    assert (settings.headless, settings.launcher_layout) == (False, False)
    assert settings.platform in ("windows", "linux", "darwin")
    assert settings.warnings == ()
    assert {settings.origin(setting.key).place for setting in SETTINGS} == {Place.DEFAULT}


def test_flag_then_environment_then_user_then_machine_then_last_login(places: Places) -> None:
    every: dict[str, Any] = {
        "flags": {"server": "https://flag"},
        "environ": {"AYON_SERVER_URL": "https://environment"},
        "user": 'server = "https://user"',
        "machine": 'server = "https://machine"',
        "last_server": "https://last",
    }
    names = ["--server", "AYON_SERVER_URL", str(places.user), str(places.machine), "last login"]
    for host, name in zip(["flag", "environment", "user", "machine", "last"], names, strict=True):
        settings = places.load(**every)
        assert (settings.server, str(settings.origin("server"))) == (f"https://{host}", name)
        every.pop(next(iter(every)))
        for path in (places.user, places.machine):
            path.unlink(missing_ok=True)


CHOICE_VARIABLES = {
    "AYON_STUDIO_BUNDLE_NAME": "env-bundle",
    "AYON_USE_DEV": "1",
    "AYON_USE_STAGING": "1",
    "AYON_BUNDLE_NAME": "env-project-bundle",
    "AYON_PROJECT_NAME": "env-project",
}


@pytest.mark.parametrize(
    ("flags", "environ", "user", "machine", "choice", "decider"),
    [
        # within one place: bundle > dev > staging
        ({}, ["AYON_STUDIO_BUNDLE_NAME", "AYON_USE_DEV", "AYON_USE_STAGING"], "", "", {"bundle": "env-bundle"}, 2),
        ({}, ["AYON_USE_DEV", "AYON_USE_STAGING"], "", "", {"dev": True}, 2),
        ({}, ["AYON_USE_STAGING"], "", "", {"staging": True}, 2),
        ({}, [], "use_staging = true\nuse_dev = true", "", {"dev": True}, 3),
        ({}, [], "use_staging = true\nbundle = 'B'", "", {"bundle": "B"}, 3),
        # across places the first one that names any decides alone
        ({"use_staging": True}, ["AYON_STUDIO_BUNDLE_NAME", "AYON_USE_DEV"], "", "", {"staging": True}, 1),
        ({"use_dev": True}, ["AYON_STUDIO_BUNDLE_NAME"], "bundle = 'B'", "", {"dev": True}, 1),
        ({"bundle": "F"}, ["AYON_USE_DEV"], "", "", {"bundle": "F"}, 1),
        ({}, ["AYON_USE_STAGING"], "bundle = 'B'", "use_dev = true", {"staging": True}, 2),
        ({}, [], "use_staging = true", "bundle = 'M'", {"staging": True}, 3),
        ({}, [], "", "bundle = 'M'", {"bundle": "M"}, 4),
        # false and empty name nothing
        ({"use_staging": False, "bundle": None}, ["AYON_USE_DEV"], "", "", {"dev": True}, 2),
        ({}, [], "use_staging = false", "use_dev = true", {"dev": True}, 4),
        # the project is a choice of its own
        ({}, ["AYON_BUNDLE_NAME", "AYON_PROJECT_NAME"], "", "", {"project_bundle": "env-project-bundle"}, None),
        ({}, ["AYON_PROJECT_NAME"], "", "", {"project": "env-project"}, None),
        ({"project": "P"}, ["AYON_BUNDLE_NAME", "AYON_PROJECT_NAME"], "", "", {"project": "P"}, None),
        ({"project": "P"}, ["AYON_USE_STAGING"], "", "", {"project": "P", "staging": True}, 2),
        ({"bundle": "F"}, ["AYON_BUNDLE_NAME"], "", "", {"bundle": "F", "project_bundle": "env-project-bundle"}, 1),
        ({}, ["AYON_PROJECT_NAME"], "project_bundle = 'U'", "", {"project": "env-project"}, None),
    ],
)
def test_the_choice_of_a_bundle(
    places: Places,
    flags: dict[str, object],
    environ: list[str],
    user: str,
    machine: str,
    choice: dict[str, Any],
    decider: int | None,
) -> None:
    settings = places.load(flags, {name: CHOICE_VARIABLES[name] for name in environ}, user, machine)
    assert settings.choice == BundleChoice(**choice)
    if decider is not None:
        assert {settings.origin(key).place for key in ("bundle", "use_dev", "use_staging")} == {Place(decider)}


@pytest.mark.parametrize(
    "flags",
    [
        {"bundle": "B", "use_dev": True},
        {"bundle": "B", "use_staging": True},
        {"use_dev": True, "use_staging": True},
    ],
)
def test_contradicting_flags(places: Places, flags: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="contradict") as caught:
        places.load(flags)
    assert caught.value.exit_code == 2
    assert all(str(BY_KEY[key].flag) in caught.value.message for key in flags)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("No", False)])
def test_words_for_yes_and_no(places: Places, text: str, value: bool) -> None:
    assert places.load(environ={"AYON_HEADLESS_MODE": text}).headless is value


def test_an_empty_variable_is_not_set(places: Places) -> None:
    settings = places.load(environ={"AYON_HEADLESS_MODE": "", "AYON_SERVER_URL": " "}, user="headless = true")
    assert (settings.headless, settings.server) == (True, None)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AYON_HEADLESS_MODE", "maybe"),
        ("AYON_USE_STAGING", "2"),
        ("AYON_SERVER_TIMEOUT", "soon"),
        ("AYON_SERVER_TIMEOUT", "0"),
        ("AYON_SERVER_TIMEOUT", "nan"),
        ("AYON_SERVER_RETRIES", "-1"),
        ("AYON_SERVER_RETRIES", "1.5"),
        ("AYON_SERVER_RETRIES", "²"),
        ("AYON_SERVER_URL", "ftp://ayon"),
        ("AYON_BUNDLE_NAME", "a\nb"),
        ("AYON_API_KEY", "two words"),
    ],
)
def test_a_variable_that_cannot_be_used(places: Places, variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} ") as caught:
        places.load(environ={variable: text})
    assert caught.value.exit_code == 2
    assert variable in caught.value.hint
    assert not caught.value.message.endswith("..")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs = 0", "jobs must be a whole number from 1 to 16, not 0."),
        ("jobs = true", "jobs must be a whole number from 1 to 16, not True."),
        ('jobs = "6"', "jobs must be a whole number"),
        ("use_staging = 1", "use_staging must be true or false, not 1."),
        ("silence_timeout = 1e9", "silence_timeout must be a number of seconds"),
        ('platform = "macos"', "platform must be windows, linux or darwin, not 'macos'."),
        ('storage_dir = "here"', "storage_dir must be an absolute path"),
        ('storage_dir = ""', "storage_dir must be a path"),
        ('storage_dir = "/a\\u0000b"', "storage_dir must be a path"),
        ('bundle = ""', "bundle must be a line of text"),
        ("bundle = ['a']", "bundle must be a line of text"),
        ('server = "https://me:s3cret@ayon"', "server can't be used"),
        ('api_key = "s3cret"', "api_key must not stand in a file"),
        ("max_size = 0", "max_size must be bytes, from 1 to"),
        ('max_size = "8388608TiB"', "max_size must be bytes, from 1 to"),
        ('max_size = "99999999999999999999999999"', "max_size must be bytes, from 1 to"),
        ("jobs = ", "not valid TOML"),
    ],
)
def test_a_file_that_cannot_be_used(places: Places, text: str, words: str) -> None:
    for path in (places.user, places.machine):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError) as caught:
            places.load()
        assert str(path) in caught.value.message
        assert words in caught.value.message
        assert "s3cret" not in caught.value.message
        path.unlink()


def test_files_that_cannot_be_read(places: Places) -> None:
    places.user.mkdir()
    with pytest.raises(SettingsError, match=r"can't be read") as caught:
        places.load()
    assert str(places.user) in caught.value.message
    places.user.rmdir()
    places.user.write_bytes(b"bundle = '\xff'")
    with pytest.raises(SettingsError, match="not valid TOML"):
        places.load()


def test_a_file_with_a_byte_order_mark(places: Places) -> None:
    places.user.write_bytes(b"\xef\xbb\xbfjobs = 3\r\n")
    assert places.load().jobs == 3


def test_a_flag_that_cannot_be_used(places: Places) -> None:
    with pytest.raises(UsageError, match="--jobs must be a whole number from 1 to 16, not 99") as caught:
        places.load({"jobs": 99})
    assert not isinstance(caught.value, SettingsError)


def test_unknown_keys_are_named_with_their_nearest(places: Places) -> None:
    settings = places.load(user='storage_dirs = "/x"\nlock = ["server"]', machine="quux = 1")
    storage, lock, quux = settings.warnings
    assert "Did you mean storage_dir?" in storage
    assert str(places.user) in storage
    assert "only the machine's file" in lock
    assert str(places.machine) in quux


def test_locked_keys_win_over_everything_and_say_so(places: Places) -> None:
    settings = places.load(
        {"server": "https://flag", "bundle": "F"},
        {"AYON_SERVER_URL": "https://environment", "AYON_ADDONS_DIR": "/env", "AYON_USE_STAGING": "1"},
        'server = "https://machine"\njobs = 2\nuse_staging = true',
        'lock = ["server", "jobs", "use_dev"]\nserver = "https://machine"\nuse_staging = true',
    )
    assert settings.server == "https://machine"
    assert settings.jobs == 8, "locked and not set is the default"
    assert settings.choice == BundleChoice(staging=True), "one key of a choice locks the choice"
    for key in ("server", "jobs", "bundle", "use_dev", "use_staging"):
        assert settings.origin(key).place is Place.LOCKED
        assert str(settings.origin(key)) == f"{places.machine} (locked)"
    assert settings.addons_dir is not None
    ignored = [warning.split(" is ignored")[0] for warning in settings.warnings]
    assert ignored == ["--bundle", "--server", "AYON_SERVER_URL", str(places.user)]


@pytest.mark.parametrize("lock", ['"server"', '["servr"]', '["api_key"]', "[1]", "true"])
def test_a_lock_that_locks_nothing_is_an_error(places: Places, lock: str) -> None:
    with pytest.raises(SettingsError, match="lock") as caught:
        places.load(machine=f"lock = {lock}")
    assert str(places.machine) in caught.value.message


def test_paths_are_absolute(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = places.load(
        {"storage_dir": Path("here")}, {"AYON_CA_FILE": "certificates/ca.pem"}, 'log_file = "~/ayon.log"'
    )
    assert settings.storage_dir == tmp_path / "here"
    assert settings.ca_file == tmp_path / "certificates/ca.pem"
    assert settings.log_file == Path.home() / "ayon.log"


def test_every_variable_and_every_key_reaches_its_attribute(places: Places) -> None:
    given = {
        "AYON_SERVER_TIMEOUT": "2.5",
        "AYON_SERVER_RETRIES": "0",
        "AYON_API_KEY": "abc",
        "AYON_CERT_FILE": "/c.pem",
    }
    user = 'jobs = 16\nlauncher_layout = true\nplatform = "darwin"\ndependencies_dir = "~/d"'
    settings = places.load(environ=given, user=user)
    assert (settings.connect_timeout, settings.silence_timeout, settings.retries) == (2.5, 2.5, 0)
    assert settings.api_key == "abc"
    assert settings.cert_file == Path("/c.pem").absolute()
    assert (settings.jobs, settings.launcher_layout, settings.platform) == (16, True, "darwin")
    assert settings.dependencies_dir == Path.home() / "d"


def test_what_people_are_shown_holds_no_secret(places: Places) -> None:
    settings = places.load({"use_dev": True, "project": "P"}, {"AYON_API_KEY": "s3cret"})
    shown = {setting.key: settings.shown(setting.key) for setting in SETTINGS}
    assert "s3cret" not in repr(settings) + repr(shown)
    assert (shown["api_key"], shown["use_dev"], shown["use_staging"], shown["bundle"]) == ("***", "true", "false", "")
    assert (shown["project"], shown["jobs"], shown["server"]) == ("P", "8", "")


def test_the_table_is_complete() -> None:
    assert len(BY_KEY) == len(SETTINGS)
    attributes = set(Settings.__dataclass_fields__) - {"choice", "origins", "warnings"}
    choices = {"bundle", "use_dev", "use_staging", "project", "project_bundle"}
    assert {setting.key for setting in SETTINGS} == attributes | choices
    assert all(setting.help for setting in SETTINGS)


def test_ages() -> None:
    assert [age(text) for text in ("14", "12h", 2, "1w")] == [14 * 86400, 12 * 3600, 2 * 86400, 7 * 86400]
    assert datetime.now(UTC) - timedelta(seconds=age("99999999999999999999w")) < datetime(1100, 1, 1, tzinfo=UTC)
    for wrong in ("soon", "-1d", True):
        with pytest.raises(ValueError, match="must be a time"):
            age(wrong)
