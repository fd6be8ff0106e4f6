"""All of gaeport.toml as one frozen object."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from gaeport import formats
from gaeport.errors import ConfigurationError
from gaeport.settings.bundle import BundleSettings, bundle_settings
from gaeport.settings.cache import CacheSettings, cache_settings
from gaeport.settings.checking import check, keys_of
from gaeport.settings.console import ConsoleSettings, console_settings
from gaeport.settings.dal import DalSettings, dal_settings
from gaeport.settings.mounts import MountSettings, mount_settings
from gaeport.settings.prices import PriceSettings, price_settings
from gaeport.settings.sessions import SessionSettings, session_settings
from gaeport.settings.stats import LimitsSettings, StatsSettings, limits_settings, stats_settings
from gaeport.settings.tickets import TicketSettings, ticket_settings

MEMORY = ":memory:"

Environment = Literal["production", "emulator", "embedded"]
Synchronous = Literal["normal", "full"]

_NAMESPACE = re.compile(r"[0-9A-Za-z._-]{0,92}")  # Datastore allows 100 characters; "gaeport." is put before


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one application.

    Attributes:
        root: the folder of gaeport.toml; relative paths start here.
        source: gaeport.toml itself, or None where there is none.
        app: the WSGI application as "module:callable".
        project: the Google Cloud project; by default GOOGLE_CLOUD_PROJECT.
        database: the Datastore database; "" is the default one.
        namespace: services and stages that name the same one share files, sessions and tickets.
        bucket: the Cloud Storage bucket for large content; without one it goes to chunk entities.
        data: the embedded data folder, or ":memory:".
        synchronous: "normal" survives kill -9, "full" also a loss of power (embedded only).
        format: the format in which gaeport's own entities are written; the former release's until it is set.
        require_indexes: refuse queries that lack their composite index in index.yaml, as production does (embedded
            only; the others do so, or cannot).
        latency_ms: milliseconds added to each call, to feel production's distance (`gaeport serve --latency`).
        production: reach production from outside App Engine (`gaeport --project`), unless an emulator is configured.
        mounts: the mounted directories.
        sessions: the `[sessions]` table; None where there is none, and `wrap` then adds no sessions.
        cache: the `[cache]` table.
        stats: the `[stats]` table.
        limits: the `[limits]` table.
        prices: the `[prices]` table.
        console: the `[console]` table.
        dal: the `[dal]` table.
        tickets: the `[tickets]` table.
        bundle: the `[bundle]` table.
    """

    root: Path
    source: Path | None = None
    app: Annotated[str | None, '"module:callable"'] = None
    project: str = "gaeport-local"
    database: str = ""
    namespace: str = ""
    bucket: str | None = None
    data: str = MEMORY
    synchronous: Synchronous = "normal"
    format: int = field(default_factory=lambda: formats.OLDEST)
    require_indexes: bool = False
    latency_ms: Annotated[float, "of milliseconds"] = 0.0
    production: bool = False
    mounts: tuple[MountSettings, ...] = field(default=())
    sessions: SessionSettings | None = None
    cache: CacheSettings = field(default_factory=CacheSettings)
    stats: StatsSettings = field(default_factory=StatsSettings)
    limits: LimitsSettings = field(default_factory=LimitsSettings)
    prices: PriceSettings = field(default_factory=PriceSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    dal: DalSettings = field(default_factory=DalSettings)
    tickets: TicketSettings = field(default_factory=TicketSettings)
    bundle: BundleSettings = field(default_factory=BundleSettings)

    @property
    def environment(self) -> Environment:
        """Where this process runs: production on App Engine, else the emulator that is configured, else embedded."""
        if os.environ.get("GAE_ENV") == "standard":
            return "production"
        if os.environ.get("DATASTORE_EMULATOR_HOST"):
            return "emulator"
        return "production" if self.production else "embedded"

    @property
    def own_namespace(self) -> str:
        """The Datastore namespace of gaeport's own entities."""
        return f"gaeport.{self.namespace}" if self.namespace else "gaeport"

    @property
    def in_memory(self) -> bool:
        """Whether the embedded store keeps nothing on disk."""
        return self.data == MEMORY

    @property
    def uses_bundled_apis(self) -> bool:
        """Whether the settings name App Engine's bundled memcache, which needs a request's context around each call."""
        found = self.sessions
        if found is not None and found.store == "memcache+datastore" and found.url is None:
            return os.environ.get("GAE_ENV") == "standard"  # it is what stands before Datastore by default there
        urls = (self.cache.url, found.url if found is not None else None)
        return any(url is not None and url.startswith("appengine:") for url in urls)

    @property
    def data_path(self) -> Path:
        """The embedded data folder. Raises ConfigurationError when data is ":memory:"."""
        if self.in_memory:
            raise ConfigurationError(f'data = "{MEMORY}" has no folder')
        return self.root / self.data


#: The tables that have defaults where gaeport.toml has none, with what checks them.
_TABLES: dict[str, Callable[[object, str], Any]] = {
    "bundle": bundle_settings,
    "cache": cache_settings,
    "console": console_settings,
    "dal": dal_settings,
    "limits": limits_settings,
    "prices": price_settings,
    "stats": stats_settings,
    "tickets": ticket_settings,
}

#: Fields of Settings that are not keys at the top of gaeport.toml.
NOT_IN_FILE = frozenset({"root", "source", "mounts", "latency_ms", "production", "sessions", *_TABLES})


def parse(table: Mapping[str, Any], *, root: Path, place: str) -> Settings:
    """Check a table of settings and return it frozen, the environment's variables applied.

    Args:
        table: what gaeport.toml holds, as tomllib gives it.
        root: the folder that relative paths start from.
        place: where the table came from, for messages.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    values = dict(table)
    mounts = values.pop("mount", [])
    sessions = values.pop("sessions", None)
    tables = {name: checked(values.pop(name, {}), place) for name, checked in _TABLES.items()}
    if not isinstance(mounts, list) or not all(isinstance(item, Mapping) for item in mounts):
        raise ConfigurationError(f"{place}: mount must be written as [[mount]] tables")
    check(values, Settings, place, "", (*keys_of(Settings, NOT_IN_FILE), "mount", "sessions", *_TABLES))
    parsed = tuple(mount_settings(item, f"[[mount]] number {i}", place) for i, item in enumerate(mounts, 1))
    found = None if sessions is None else session_settings(sessions, place=place)
    others = _defaults_from_environment(root, values)
    settings = Settings(root=root, mounts=parsed, sessions=found, **tables, **others)
    _check_values(settings, place)
    return settings


def _defaults_from_environment(root: Path, values: dict[str, Any]) -> dict[str, Any]:
    found = dict(values)
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("DATASTORE_PROJECT_ID")
    if project and "project" not in found:
        found["project"] = project
    if os.environ.get("GAEPORT_DATA"):
        found["data"] = os.environ["GAEPORT_DATA"]
    found.setdefault("data", ".gaeport")
    if found["data"] != MEMORY:
        found["data"] = str(root / os.path.expanduser(found["data"]))
    return found


def _check_values(settings: Settings, place: str) -> None:
    if settings.app is not None and not re.fullmatch(r"[\w.]+:[\w.]+(\(.*\))?", settings.app):
        raise ConfigurationError(f'{place}: app = {settings.app!r} must be "module:callable", e.g. "shop.web:app"')
    if not _NAMESPACE.fullmatch(settings.namespace):
        raise ConfigurationError(
            f"{place}: namespace = {settings.namespace!r} must be at most 92 of the characters 0-9 A-Z a-z . _ -"
        )
    if not formats.OLDEST <= settings.format <= formats.NEWEST:
        raise ConfigurationError(
            f"{place}: format = {settings.format}: this release of gaeport writes {formats.OLDEST} to "
            f"{formats.NEWEST}; `gaeport upgrade --finish` sets it"
        )
    names = [mount.name for mount in settings.mounts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{place}: two [[mount]]s have the name {name!r}; give one another name")
