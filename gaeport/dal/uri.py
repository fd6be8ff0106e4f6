"""datastore://[project][/namespace][?options], parsed."""

from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gaeport.errors import ConfigurationError

SCHEME = "datastore"
SCAN_LIMIT = 1_000  # entities
_CHOICES = {"ids": ("datastore", "time", "counter"), "buffer": ("", "request")}


@dataclass(frozen=True, slots=True)
class Address:
    """What a connection string says.

    Attributes:
        project: the Google Cloud project; "" for that of the settings.
        namespace: the Datastore namespace; None for that of the settings.
        database: the Datastore database; None for that of the settings.
        scan_limit: entities that one query may read for what is filtered, ordered or grouped in memory.
        ids: "datastore" lets Datastore allocate ids; "time" makes them here, increasing with time; "counter"
            counts each table's from 1.
        buffer: "request" keeps writes until `commit()`; "" commits each when it is made.
    """

    project: str = ""
    namespace: str | None = None
    database: str | None = None
    scan_limit: int = SCAN_LIMIT
    ids: str = "datastore"
    buffer: str = ""


def parse(uri: str) -> Address:
    """Parse a connection string.

    Args:
        uri: `datastore://[project][/namespace][?scan_limit=N&ids=time&buffer=request&database=D]`.

    Raises:
        ConfigurationError: an option is unknown or has an impossible value.
    """
    parts = urlsplit(uri)
    namespace = unquote(parts.path.strip("/"))
    if "/" in namespace:
        raise ConfigurationError(f"{uri!r}: expected {SCHEME}://[project][/namespace][?options]")
    values: dict[str, Any] = {"project": parts.netloc, "namespace": namespace or None}
    known = {entry.name for entry in fields(Address)} - {"project", "namespace"}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ConfigurationError(f"{uri!r}: unknown option {name!r}; there are: {', '.join(sorted(known))}")
        values[name] = _option(uri, name, value)
    return Address(**values)


def _option(uri: str, name: str, value: str) -> Any:
    if name == "scan_limit":
        if not value.isdigit() or int(value) < 1:
            raise ConfigurationError(f"{uri!r}: scan_limit is a number of entities, 1 or more")
        return int(value)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ConfigurationError(f"{uri!r}: {name} is one of: {', '.join(filter(None, _CHOICES[name]))}")
    return value
