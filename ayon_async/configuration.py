"""Reads the settings from all places that may name them, and decides."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ayon_async.choice import BundleChoice
from ayon_async.errors import SettingsError, UsageError
from ayon_async.settings import BY_KEY, CHOICES, CHOSEN, SETTINGS, Origin, Place, Setting, Settings, this_platform


@dataclass(frozen=True, slots=True)
class _Given:
    value: Any
    origin: Origin


_Layer = Mapping[str, _Given]


def load_settings(
    flags: Mapping[str, object] = MappingProxyType({}),
    *,
    environ: Mapping[str, str] = os.environ,
    user_file: Path | None = None,
    machine_file: Path | None = None,
    last_server: str | None = None,
) -> Settings:
    """Read every place and decide.

    Args:
        flags: Values of options by key; None, and False for a switch, mean not given.
        environ: Environment variables.
        user_file: The user's ``config.toml``, which may be missing.
        machine_file: The machine's, which may be missing and may lock keys.
        last_server: URL of the server to use where no place names one.

    Raises:
        SettingsError: A file or a variable holds something that can't be used; the message names file and key.
        UsageError: A flag's value can't be used, or two flags contradict each other.
    """
    warnings: list[str] = []
    machine = _load_toml(machine_file)
    locked = _read_lock(machine.pop("lock", []), machine_file)
    layers = [
        _read_flags(flags),
        _read_environment(environ),
        _read_file(_load_toml(user_file), Origin(Place.USER_FILE, str(user_file)), warnings),
        _read_file(machine, Origin(Place.MACHINE_FILE, str(machine_file)), warnings),
    ]
    default = {setting.key: _Given(setting.default, Origin(Place.DEFAULT, "default")) for setting in SETTINGS}
    default["platform"] = _Given(this_platform(), Origin(Place.DEFAULT, "this machine"))
    if last_server is not None:
        default["server"] = _Given(last_server, Origin(Place.DEFAULT, "last login"))

    lock = Origin(Place.LOCKED, str(machine_file))
    decided: dict[str, _Given] = {}
    for keys in (*CHOICES, *((key,) for key in BY_KEY if key not in CHOSEN)):
        decided |= _decide(keys, layers, default, None if locked.isdisjoint(keys) else lock, warnings)
    values = {key: given.value for key, given in decided.items()}
    choice = BundleChoice(
        bundle=values.pop("bundle"),
        dev=values.pop("use_dev"),
        staging=values.pop("use_staging"),
        project=values.pop("project"),
        project_bundle=values.pop("project_bundle"),
    )
    origins = MappingProxyType({key: decided[key].origin for key in BY_KEY})
    return Settings(**values, choice=choice, origins=origins, warnings=tuple(warnings))


def _decide(
    keys: tuple[str, ...], layers: list[_Layer], default: _Layer, lock: Origin | None, warnings: list[str]
) -> _Layer:
    """The values of keys that are decided together: the first that is named has its way, the others their default."""
    named = [(key, layer[key]) for layer in layers for key in keys if key in layer]
    ignored = []
    if lock is not None:
        ignored = [(key, given) for key, given in named if given.origin.place is not Place.MACHINE_FILE]
        named = [(key, _Given(given.value, lock)) for key, given in named if (key, given) not in ignored]
    winner, origin = (named[0][0], named[0][1].origin) if named else (None, lock)
    decided = {
        key: named[0][1] if key == winner else _Given(default[key].value, origin or default[key].origin) for key in keys
    }
    for key, given in ignored:
        if given.value != decided[key].value:
            warnings.append(f"{given.origin} is ignored: {origin} does not let {key} be chosen.")
    return decided


def _read_flags(flags: Mapping[str, object]) -> _Layer:
    layer = {}
    for key, value in flags.items():
        setting = BY_KEY[key]
        if value is None or value is False or value in ([], ()):
            continue
        name = setting.flag or key
        try:
            layer[key] = _Given(_absolute(setting.read(value)), Origin(Place.FLAG, name))
        except ValueError as error:
            raise UsageError(f"{name} {error}{_instead(setting, value)}") from error
    for choice in CHOICES:
        given = [layer[key].origin.name for key in choice if key in layer]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} contradict each other.", "Give only one of them.")
    return layer


def _read_environment(environ: Mapping[str, str]) -> _Layer:
    layer = {}
    for setting in SETTINGS:
        text = environ.get(setting.variable, "").strip() if setting.variable else ""
        if not text:
            continue
        try:
            value = _absolute(setting.read(setting.from_text(text)))
        except ValueError as error:
            hint = f"Change or remove the environment variable {setting.variable}."
            raise SettingsError(f"{setting.variable} {error}{_instead(setting, text)}", hint) from error
        if _names(setting.key, value):
            layer[setting.key] = _Given(value, Origin(Place.ENVIRONMENT, str(setting.variable)))
    return layer


def _load_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # Windows' editors write a byte order mark
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(
            f"The settings file {path} can't be read: {error.strerror}.", "Look at its rights."
        ) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"The settings file {path} is not valid TOML: {error}.", "Correct it.") from error


def _read_lock(lock: object, path: Path | None) -> frozenset[str]:
    """The keys that the machine's file locks. A lock that locks nothing would be silent: unknown keys are errors."""
    if not isinstance(lock, list) or not all(isinstance(key, str) for key in lock):
        raise SettingsError(f"{path}: lock must be a list of keys.", 'Write it as lock = ["server"].')
    for key in lock:
        if key not in BY_KEY or not BY_KEY[key].in_files:
            raise SettingsError(f"{path}: lock names {key!r}, which can't be locked.", _nearest(key))
    return frozenset(lock)


def _read_file(table: Mapping[str, Any], origin: Origin, warnings: list[str]) -> _Layer:
    layer = {}
    for key, value in table.items():
        setting = BY_KEY.get(key)
        if setting is None:
            reason = "only the machine's file locks keys" if key == "lock" else "there is no such setting"
            warnings.append(f"{origin}: {key} is ignored, {reason}. {_nearest(key)}".rstrip())
            continue
        if not setting.in_files:
            hint = f"Remove it there; set {setting.variable} or use 'ayon-async login'."
            raise SettingsError(f"{origin}: {key} must not stand in a file.", hint)
        try:
            value = setting.read(value)
            if not all(path.is_absolute() for path in _paths(value)):
                raise ValueError("must be an absolute path or start with ~")
        except ValueError as error:
            raise SettingsError(
                f"{origin}: {key} {error}{_instead(setting, table[key])}", "Correct the file."
            ) from error
        if _names(key, value):
            layer[key] = _Given(value, origin)
    return layer


def _names(key: str, value: object) -> bool:
    """Whether a value says anything: in a choice, ``use_staging = false`` leaves the choice to others."""
    return not (key in CHOSEN and value is False)


def _absolute(value: object) -> object:
    try:
        paths = tuple(path.absolute() for path in _paths(value))
    except OSError as error:
        raise ValueError("must be an absolute path, as the current folder is gone") from error
    return value if not paths else paths if isinstance(value, tuple) else paths[0]


def _paths(value: object) -> tuple[Path, ...]:
    """The paths that a value is, or consists of."""
    return tuple(one for one in (value if isinstance(value, tuple) else [value]) if isinstance(one, Path))


def _instead(setting: Setting, value: object) -> str:
    """The end of the sentence that says what a value must be; `normalize_url` repeats no passwords, nor do we."""
    return "." if setting.key in ("server", "api_key") else f", not {value!r}."


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, [setting.key for setting in SETTINGS if setting.in_files], n=1)
    return f"Did you mean {near[0]}?" if near else ""
