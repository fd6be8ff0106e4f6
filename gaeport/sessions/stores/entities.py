"""How a session looks as an entity: kind Session, one property a key, only `user` indexed."""

import re
from dataclasses import dataclass
from typing import Any

from gaeport import formats, settings
from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found
from gaeport.sessions.record import Record

KIND = "Session"
MAX_NAME = 1500  # bytes of a property's name; "Limits" page
MAX_ENTITY = 1_000_000  # bytes for keys and values; leaves 48 KB of an entity's 1,048,572 for everything else

ABOUT = ("format", "created", "touched", "expires", "idle", "lifetime", "permanent", "user", "nonce")
_KEY = "k_"
_PLAIN = re.compile(rb"[0-9A-Za-z_-]")


@dataclass(frozen=True, slots=True)
class Version:
    """Which state of an entity was read: its version, and the nonce of the Commit that wrote it."""

    number: int
    nonce: bytes


def entity_key(client: Client, name: str) -> Any:
    """Return the key of a session."""
    return client.key(KIND, name)


def encode(key: Any, record: Record, nonce: bytes) -> Any:
    """Return a record as an entity."""
    entity = wire.Entity(key=key)
    _unindexed(entity, "format").integer_value = settings.current().format
    _unindexed(entity, "created").double_value = record.created
    _unindexed(entity, "touched").double_value = record.touched
    _unindexed(entity, "idle").integer_value = record.idle
    _unindexed(entity, "lifetime").integer_value = record.lifetime
    _unindexed(entity, "permanent").boolean_value = record.permanent
    _unindexed(entity, "nonce").blob_value = nonce
    # A timestamp, since Datastore's TTL policy wants one; unindexed, since a growing index would be a hot spot.
    _unindexed(entity, "expires").timestamp_value.FromMilliseconds(int(record.expires * 1000))
    if record.user is not None:
        entity.properties["user"].string_value = record.user
    for name, value in record.values.items():
        _unindexed(entity, property_name(name)).blob_value = value
    return entity


def decode(found: Found) -> Record:
    """Return the record that an entity holds.

    Raises:
        DataLoss: the entity was written in a format that this release does not know.
    """
    properties = found.entity.properties
    formats.check(properties["format"].integer_value if "format" in properties else None, "a session")
    values = {_key_name(name): value.blob_value for name, value in properties.items() if name.startswith(_KEY)}
    return Record(
        created=properties["created"].double_value,
        touched=properties["touched"].double_value,
        idle=properties["idle"].integer_value,
        lifetime=properties["lifetime"].integer_value,
        permanent=properties["permanent"].boolean_value,
        user=properties["user"].string_value if "user" in properties else None,
        values=values,
    )


def recode(found: Found) -> Any:
    """Return a session's entity in the format that is written now."""
    return encode(found.entity.key, decode(found), version_of(found).nonce)


def version_of(found: Found) -> Version:
    """Return the state that was read."""
    return Version(found.version, found.entity.properties["nonce"].blob_value)


def property_name(key: str) -> str:
    """Return the property of a session's key: unusual characters are written as ~XX, a byte each."""
    if key.isascii() and key.isidentifier():
        return _KEY + key
    raw = key.encode("utf-8", "surrogatepass")
    return _KEY + "".join(chr(byte) if _PLAIN.match(bytes([byte])) else f"~{byte:02X}" for byte in raw)


def _key_name(name: str) -> str:
    name = name[len(_KEY) :]
    if "~" not in name:
        return name
    first, *rest = name.split("~")
    raw = first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
    return raw.decode("utf-8", "surrogatepass")


def _unindexed(entity: Any, name: str) -> Any:
    value = entity.properties[name]
    value.exclude_from_indexes = True
    return value
