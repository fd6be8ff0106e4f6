"""`[dal]`: which connection strings open pyDAL's adapter for Datastore."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check

_TARGET = "datastore://"


@dataclass(frozen=True, slots=True)
class DalSettings:
    """The `[dal]` table of gaeport.toml.

    Attributes:
        map: patterns of connection strings (`sqlite://*`), in order, and the `datastore://` one that each stands for.
    """

    map: Mapping[str, str] = field(default_factory=dict)


def dal_settings(table: object, place: str) -> DalSettings:
    """Check a `[dal]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "dal", place)
    check(given, DalSettings, place, "[dal]")
    mapping = given.get("map", {})
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f'{place}: [dal]: map must be a table: map = {{"sqlite://*" = "datastore://"}}')
    for pattern, target in mapping.items():
        if not isinstance(target, str) or not target.startswith(_TARGET):
            raise ConfigurationError(
                f"{place}: [dal]: map: {pattern!r} = {target!r} must be a connection string that begins with {_TARGET}"
            )
    return DalSettings(map=dict(mapping))
