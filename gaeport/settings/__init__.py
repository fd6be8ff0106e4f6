"""What gaeport.toml and the environment say, read once, checked, frozen.

`current()` gives the settings in force; `configure()` replaces the file's (for tests and scripts). A module here for
each table of the file declares its keys and checks them; `application` puts the tables together.
"""

import os
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaeport.errors import ConfigurationError
from gaeport.settings.application import MEMORY, NOT_IN_FILE, Environment, Settings, Synchronous, parse
from gaeport.settings.bundle import BundleSettings
from gaeport.settings.cache import CacheSettings
from gaeport.settings.console import ConsoleSettings
from gaeport.settings.dal import DalSettings
from gaeport.settings.mounts import INLINE_LIMIT, MAX_INLINE_LIMIT, MountSettings, StoreName
from gaeport.settings.prices import PriceSettings
from gaeport.settings.sessions import MIN_SESSION_KEY, SameSite, SessionSettings, SessionStore, session_settings
from gaeport.settings.stats import LimitsSettings, StatsSettings
from gaeport.settings.tickets import TicketSettings

__all__ = [
    "FILE_NAME",
    "INLINE_LIMIT",
    "MAX_INLINE_LIMIT",
    "MEMORY",
    "MIN_SESSION_KEY",
    "NOT_IN_FILE",
    "BundleSettings",
    "CacheSettings",
    "ConsoleSettings",
    "DalSettings",
    "Environment",
    "LimitsSettings",
    "MountSettings",
    "PriceSettings",
    "SameSite",
    "SessionSettings",
    "SessionStore",
    "Settings",
    "StatsSettings",
    "StoreName",
    "Synchronous",
    "TicketSettings",
    "beside",
    "configure",
    "current",
    "find",
    "in_force",
    "load",
    "on_change",
    "parse",
    "session_settings",
    "use",
]

FILE_NAME = "gaeport.toml"

_current: Settings | None = None
_listeners: list[Callable[[], None]] = []
_early_listeners: list[Callable[[], None]] = []


def current() -> Settings:
    """Return the settings in force, reading gaeport.toml on the first call.

    Raises:
        ConfigurationError: the file has an unknown key, a wrong type or an impossible value.
    """
    global _current
    if _current is None:
        _current = load(find())
    return _current


def in_force() -> Settings | None:
    """Return the settings in force, or None where none were read or configured yet."""
    return _current


def beside(script: str) -> Settings:
    """Return the settings in force; where there are none yet, put those of the gaeport.toml beside a script in force.

    Args:
        script: the script's path, as its `__file__` gives it; folders above it are searched too, and where there is
            no gaeport.toml at all the script's folder is the root. $GAEPORT_CONFIG comes first.

    Raises:
        ConfigurationError: the file has an unknown key, a wrong type or an impossible value.
    """
    if _current is None:
        folder = Path(script).absolute().parent
        use(load(find(folder), root=folder))
    return current()


def use(settings: Settings | None) -> None:
    """Put `settings` in force; every connection made under the former ones is dropped.

    Args:
        settings: None lets the next use read gaeport.toml.
    """
    global _current
    for listener in _early_listeners:
        listener()
    _current = settings
    for listener in _listeners:
        listener()


def configure(**values: Any) -> Settings:
    """Put settings in force from Python instead of gaeport.toml.

    Args:
        **values: the top-level keys of gaeport.toml; also `root` (a folder, by default the working directory) and
            `mounts` (a list of tables as under `[[mount]]`). `data=":memory:"` keeps nothing.

    Returns:
        The settings, which are now in force.

    Raises:
        ConfigurationError: a key is unknown or a value impossible.
    """
    root = Path(values.pop("root", os.getcwd())).absolute()
    latency = values.pop("latency_ms", 0.0)
    table = dict(values)
    table["mount"] = table.pop("mounts", [])
    settings = parse(table, root=root, place="configure()")
    use(replace(settings, latency_ms=float(latency)))
    return current()


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` whenever other settings are put in force (to drop what was built from the old ones)."""
    _listeners.append(listener)


def before_change(listener: Callable[[], None]) -> None:
    """Call `listener` before other settings are put in force (to finish what began under the old ones)."""
    _early_listeners.append(listener)


def find(start: Path | None = None) -> Path | None:
    """Return the path of gaeport.toml: $GAEPORT_CONFIG, or the first one in `start` or a folder above it.

    Args:
        start: where to begin; by default the working directory.
    """
    named = os.environ.get("GAEPORT_CONFIG")
    if named:
        return Path(named).absolute()
    folder = (start or Path.cwd()).absolute()
    for candidate in (folder, *folder.parents):
        if (candidate / FILE_NAME).is_file():
            return candidate / FILE_NAME
    return None


def load(path: Path | None, *, root: Path | None = None) -> Settings:
    """Read and check one gaeport.toml.

    Args:
        path: the file, or None for the defaults.
        root: the root where there is no file; by default the working directory.

    Raises:
        ConfigurationError: the file is missing, is not TOML, or has a wrong key, type or value.
    """
    if path is None:
        return parse({}, root=root or Path.cwd(), place="the environment")
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error
    return replace(parse(table, root=path.parent, place=str(path)), source=path)
