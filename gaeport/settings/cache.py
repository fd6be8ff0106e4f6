"""`[cache]`: what keeps the shared cache."""

from dataclasses import dataclass

from gaeport.settings.checking import as_table, check


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The `[cache]` table of gaeport.toml.

    Attributes:
        url: the key-value store of `gaeport.cache.Cache()`, as `gaeport.kv.connect` takes it.
    """

    url: str = "memory://"


def cache_settings(table: object, place: str) -> CacheSettings:
    """Check a `[cache]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "cache", place)
    check(given, CacheSettings, place, "[cache]")
    return CacheSettings(**given)
