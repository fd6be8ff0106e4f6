"""What is stored of a session, and what a request changes of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from gaeport import codec, formats, settings
from gaeport.errors import DamagedValue


@dataclass(frozen=True, slots=True)
class Record:
    """A session as it is stored.

    Attributes:
        created: seconds since 1970.
        touched: when it was last written or used, in seconds since 1970; up to a tenth of `idle` late.
        idle: seconds without use after which it ends, unless it is permanent.
        lifetime: seconds after `created` at which it ends in any case; 0 for never.
        permanent: whether the browser keeps it when it is closed; then `lifetime` counts alone.
        user: whose session it is, for listing and revoking.
        values: each key's value as `codec.dumps` encoded it.
    """

    created: float
    touched: float
    idle: int
    lifetime: int = 0
    permanent: bool = False
    user: str | None = None
    values: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def patience(self) -> int:
        """Seconds without use after which the session ends."""
        return self.lifetime if self.permanent and self.lifetime else self.idle

    @property
    def expires(self) -> float:
        """When the session ends, in seconds since 1970, if nobody uses it before."""
        end = self.created + self.lifetime if self.lifetime else math.inf
        return min(self.touched + self.patience, end)

    def expired(self, now: float) -> bool:
        """Tell whether it has ended. A `touched` in the future (a clock set back) counts as now."""
        return now >= self.expires

    def touch_due(self, now: float) -> bool:
        """Tell whether its use is to be noted: at most once in a tenth of the idle time."""
        return now - self.touched >= self.patience / 10


@dataclass(frozen=True, slots=True)
class Change:
    """What one request changes of a session; keys that it does not name are left as others wrote them.

    Attributes:
        touched: when, in seconds since 1970.
        put: keys with their new values, encoded.
        removed: keys that go.
        about: new values of the record's own fields (`user`, `permanent`, `idle`, `lifetime`).
    """

    touched: float
    put: Mapping[str, bytes] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def only_touches(self) -> bool:
        """Whether it notes the use and nothing else."""
        return not (self.put or self.removed or self.about)

    def applied_to(self, record: Record) -> Record:
        """Return the record with this change, key by key."""
        values = {**record.values, **self.put}
        for key in self.removed:
            values.pop(key, None)
        touched = max(record.touched, self.touched)
        # Not dataclasses.replace, which costs five times as much: this is done at every write.
        changed = Record(record.created, touched, record.idle, record.lifetime, record.permanent, record.user, values)
        return replace(changed, **self.about) if self.about else changed


def encode(record: Record) -> bytes:
    """Return a record as bytes, for stores that keep it whole."""
    about = [record.created, record.touched, record.idle, record.lifetime, record.permanent, record.user]
    fields = [settings.current().format, *about, dict(record.values)]
    try:
        return _encoder()(fields)  # all of MessagePack's own types, so that codec's look at each item can be spared
    except UnicodeEncodeError:
        return codec.dumps(fields, "session")  # half a surrogate pair in a key


@cache
def _encoder() -> Callable[[object], bytes]:
    import msgspec

    return msgspec.msgpack.Encoder().encode


def decode(data: bytes) -> Record:
    """Return the record that `encode` made. Raises DamagedValue."""
    fields = codec.loads(data)
    if not isinstance(fields, list) or len(fields) != 8 or fields[0] not in range(formats.OLDEST, formats.NEWEST + 1):
        raise DamagedValue(f"{len(data):,} bytes are not a session that this release reads")
    return Record(*fields[1:])
