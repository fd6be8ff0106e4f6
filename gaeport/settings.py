"""What gaeport.toml and the environment say, read once, checked, frozen.

`current()` gives the settings in force; `configure()` replaces the file's (for tests and scripts).
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from gaeport.errors import ConfigurationError

FILE_NAME = "gaeport.toml"
MEMORY = ":memory:"
INLINE_LIMIT = 524_288  # bytes; half an entity, so that a rewrite and its index rows always fit the 1,048,572 B limit
MIN_SESSION_KEY = 32  # characters; half of the 256 bits of an HMAC-SHA256 key, written in hexadecimal
MAX_INLINE_LIMIT = 917_504  # bytes; leaves 128 KiB of an entity for everything else in it

Environment = Literal["production", "emulator", "embedded"]
StoreName = Literal["datastore"]
Synchronous = Literal["normal", "full"]
SessionStore = Literal["cookie", "datastore", "memcache", "redis", "memcache+datastore"]
SameSite = Literal["Lax", "Strict", "None"]

_NAMESPACE = re.compile(r"[0-9A-Za-z._-]{0,92}")  # Datastore allows 100 characters; "gaeport." is put before


@dataclass(frozen=True, slots=True)
class MountSettings:
    """One `[[mount]]` of gaeport.toml.

    Attributes:
        path: the directory, relative to gaeport.toml's folder or absolute.
        name: its name in the store; by default its path as written in gaeport.toml.
        store: what keeps the files.
        bucket: the Cloud Storage bucket for large content; by default the top-level `bucket`.
        prefix: put before the names of this mount's objects in the bucket.
        overlay: whether files deployed in this directory are visible until written or removed.
        inline_limit: bytes; content up to this size lives in the file's own entity.
    """

    path: str
    name: str = ""
    store: StoreName = "datastore"
    bucket: str | None = None
    prefix: str = ""
    overlay: bool = True
    inline_limit: int = INLINE_LIMIT


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The `[sessions]` table of gaeport.toml.

    Attributes:
        store: what keeps the sessions.
        url: the key-value store of "memcache", "redis" and "memcache+datastore", as `gaeport.kv.connect` takes it.
        cookie: the cookie's name; under HTTPS "__Host-" is put before it.
        samesite: whether the cookie goes along with requests that other sites cause.
        secure: whether the cookie is for HTTPS only; None: as the request came.
        idle: seconds without use after which a session ends.
        lifetime: seconds after its beginning at which a session ends in any case; 0 for never. A permanent session
            ("remember me") ends only then.
        cache_ttl: seconds that the cache of "memcache+datastore" is trusted.
        keys: signing keys of the cookie store; the first signs, all count. None: made once and kept in Datastore.
        user_key: the session's key whose value says whose session it is.
    """

    store: SessionStore = "datastore"
    url: str | None = None
    cookie: str = "session"
    samesite: SameSite = "Lax"
    secure: bool | None = None
    idle: int = 86_400
    lifetime: int = 2_592_000
    cache_ttl: int = 60
    keys: tuple[str, ...] = ()
    user_key: str | None = None


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The `[cache]` table of gaeport.toml.

    Attributes:
        url: the key-value store of `gaeport.cache.Cache()`, as `gaeport.kv.connect` takes it.
    """

    url: str = "memory://"


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
        require_indexes: refuse queries that lack their composite index in index.yaml, as production does (embedded
            only; the others do so, or cannot).
        latency_ms: milliseconds added to each call, to feel production's distance (`gaeport serve --latency`).
        production: reach production from outside App Engine (`gaeport --project`), unless an emulator is configured.
        mounts: the mounted directories.
        sessions: the `[sessions]` table; None where there is none, and `wrap` then adds no sessions.
        cache: the `[cache]` table.
    """

    root: Path
    source: Path | None = None
    app: str | None = None
    project: str = "gaeport-local"
    database: str = ""
    namespace: str = ""
    bucket: str | None = None
    data: str = MEMORY
    synchronous: Synchronous = "normal"
    require_indexes: bool = False
    latency_ms: float = 0.0
    production: bool = False
    mounts: tuple[MountSettings, ...] = field(default=())
    sessions: SessionSettings | None = None
    cache: CacheSettings = CacheSettings()

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
        """Whether a setting names App Engine's bundled memcache, which needs a request's context around each call."""
        urls = (self.cache.url, self.sessions.url if self.sessions is not None else None)
        return any(url is not None and url.startswith("appengine:") for url in urls)

    @property
    def data_path(self) -> Path:
        """The embedded data folder. Raises ConfigurationError when data is ":memory:"."""
        if self.in_memory:
            raise ConfigurationError(f'data = "{MEMORY}" has no folder')
        return self.root / self.data


_NOT_IN_FILE = {"root", "source", "mounts", "latency_ms", "production", "sessions", "cache"}
_EXPECTED: dict[str, tuple[type, str]] = {
    "app": (str, 'a string "module:callable"'),
    "project": (str, "a string"),
    "database": (str, "a string"),
    "namespace": (str, "a string"),
    "bucket": (str, "a string"),
    "data": (str, "a string"),
    "synchronous": (str, '"normal" or "full"'),
    "require_indexes": (bool, "true or false"),
    "latency_ms": (float, "a number of milliseconds"),
    "path": (str, "a string"),
    "name": (str, "a string"),
    "store": (str, "a string"),
    "prefix": (str, "a string"),
    "overlay": (bool, "true or false"),
    "inline_limit": (int, "a whole number of bytes"),
    "url": (str, "a string"),
    "cookie": (str, "a string"),
    "samesite": (str, '"Lax", "Strict" or "None"'),
    "secure": (bool, "true or false"),
    "idle": (int, "a whole number of seconds"),
    "lifetime": (int, "a whole number of seconds"),
    "cache_ttl": (int, "a whole number of seconds"),
    "keys": (list, "a list of strings"),
    "user_key": (str, "a string"),
}

_EXAMPLE_URLS = {"memcache": "memcached://10.0.0.3:11211", "redis": "redis://10.0.0.3:6379/0"}

_current: Settings | None = None
_listeners: list[Callable[[], None]] = []


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
    sessions, cache = values.pop("sessions", None), values.pop("cache", {})
    if not isinstance(mounts, list) or not all(isinstance(item, Mapping) for item in mounts):
        raise ConfigurationError(f"{place}: mount must be written as [[mount]] tables")
    valid = [f.name for f in fields(Settings) if f.name not in _NOT_IN_FILE]
    _check(values, [*valid, "cache", "mount", "sessions"], place, "")
    parsed = tuple(_mount(item, f"[[mount]] number {i}", place) for i, item in enumerate(mounts, 1))
    found = None if sessions is None else session_settings(sessions, place=place)
    others = _defaults_from_environment(root, values)
    settings = Settings(root=root, mounts=parsed, sessions=found, cache=_cache(cache, place), **others)
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


def _mount(item: Mapping[str, Any], where: str, place: str) -> MountSettings:
    _check(item, [f.name for f in fields(MountSettings)], place, where)
    for needed in (f.name for f in fields(MountSettings) if f.default is MISSING):
        if not item.get(needed):
            raise ConfigurationError(f'{place}: {where}: {needed} is missing; write e.g. {needed} = "uploads"')
    settings = MountSettings(**item)
    if settings.store not in get_args(StoreName):
        raise ConfigurationError(
            f'{place}: {where}: store = "{settings.store}" is unknown; valid: {_listed(get_args(StoreName))}'
        )
    if not 0 <= settings.inline_limit <= MAX_INLINE_LIMIT:
        raise ConfigurationError(
            f"{place}: {where}: inline_limit = {settings.inline_limit} is outside 0 to {MAX_INLINE_LIMIT:,} bytes "
            "(an entity holds 1,048,572)"
        )
    path = os.path.normpath(settings.path)
    if not settings.name:
        settings = replace(settings, name=path)
    return replace(settings, path=path)


def session_settings(table: object, *, place: str = "sessions") -> SessionSettings:
    """Check a `[sessions]` table, or the keyword arguments of a session middleware, and return it frozen.

    Args:
        table: the keys of `[sessions]`; those that are None count as not given.
        place: where the table came from, for messages.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{place}: sessions must be written as a [sessions] table")
    values = {key: value for key, value in table.items() if value is not None}
    if isinstance(values.get("keys"), tuple):
        values["keys"] = list(values["keys"])
    _check(values, [f.name for f in fields(SessionSettings)], place, "[sessions]")
    keys = values.pop("keys", None) or _listed_keys(os.environ.get("GAEPORT_SESSION_KEYS", ""))
    settings = SessionSettings(keys=tuple(keys), **values)
    problem = _session_problem(settings)
    if problem:
        raise ConfigurationError(f"{place}: [sessions]: {problem}")
    return settings


def _cache(table: object, place: str) -> CacheSettings:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{place}: cache must be written as a [cache] table")
    _check(table, [f.name for f in fields(CacheSettings)], place, "[cache]")
    return CacheSettings(**table)


def _listed_keys(text: str) -> list[str]:
    return [key.strip() for key in text.split(",") if key.strip()]


def _session_problem(settings: SessionSettings) -> str | None:
    """Return what is wrong with a session's settings, in words, or None."""
    if settings.store not in get_args(SessionStore):
        return f'store = "{settings.store}" is unknown; valid: {_listed(get_args(SessionStore))}'
    if settings.samesite not in get_args(SameSite):
        return f'samesite = "{settings.samesite}" is unknown; valid: {_listed(get_args(SameSite))}'
    if settings.samesite == "None" and settings.secure is False:
        return 'samesite = "None" needs HTTPS; browsers refuse it beside secure = false'
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", settings.cookie) or settings.cookie.startswith("__"):
        return f'cookie = {settings.cookie!r} must be a name of letters, digits, "-" and "_" ("__Host-" is added)'
    for name, least in (("idle", 1), ("lifetime", 0), ("cache_ttl", 1)):
        if getattr(settings, name) < least:
            return f"{name} = {getattr(settings, name)} must be at least {least} seconds"
    if settings.url is None and settings.store in ("memcache", "redis"):
        return f'store = "{settings.store}" needs url, e.g. url = "{_EXAMPLE_URLS[settings.store]}"'
    if any(not isinstance(key, str) or len(key) < MIN_SESSION_KEY for key in settings.keys):
        return (
            f"keys must be strings of at least {MIN_SESSION_KEY} characters; make one with "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return None


def _check(values: Mapping[str, Any], valid: list[str], place: str, where: str) -> None:
    lead = f"{place}: {where}: " if where else f"{place}: "
    for key, value in values.items():
        if key not in valid:
            raise ConfigurationError(f"{lead}unknown key {key!r}; valid: {_listed(valid)}")
        if key not in _EXPECTED:
            continue
        wanted, words = _EXPECTED[key]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise ConfigurationError(f"{lead}{key} = {value!r} must be {words}")


def _check_values(settings: Settings, place: str) -> None:
    if settings.app is not None and not re.fullmatch(r"[\w.]+:[\w.]+(\(.*\))?", settings.app):
        raise ConfigurationError(f'{place}: app = {settings.app!r} must be "module:callable", e.g. "shop.web:app"')
    if not _NAMESPACE.fullmatch(settings.namespace):
        raise ConfigurationError(
            f"{place}: namespace = {settings.namespace!r} must be at most 92 of the characters 0-9 A-Z a-z . _ -"
        )
    if settings.synchronous not in get_args(Synchronous):
        raise ConfigurationError(
            f"{place}: synchronous = {settings.synchronous!r} is unknown; valid: {_listed(get_args(Synchronous))}"
        )
    names = [mount.name for mount in settings.mounts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{place}: two [[mount]]s have the name {name!r}; give one another name")


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
