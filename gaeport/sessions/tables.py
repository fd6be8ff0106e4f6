"""web2py's own sessions in memcache or Redis: what `session.connect(request, response, db=…)` takes for a database.

It offers the few calls of a database that web2py's sessions make, on a key-value store.
"""

import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any

from gaeport import codec, settings
from gaeport.errors import DamagedValue
from gaeport.kv import KV, connect

IDLE = 86_400.0  # seconds, a day: what an ordinary session lives without being written
_MAX_ID = 2**53  # as exact in JavaScript and in a float as every other id


def web2py(url: str | None = None, *, idle: float = IDLE) -> "Database":
    """Return what web2py keeps sessions in: `session.connect(request, response, db=gaeport.sessions.web2py(url))`.

    Args:
        url: as `gaeport.kv.connect` takes it; None: the url under [cache] in gaeport.toml.
        idle: seconds after which a session that is not written is forgotten; the store may forget it earlier.

    Raises:
        ConfigurationError: the URL is unknown.
        MissingExtraError: the store's client library is not installed.
    """
    return _database(url or settings.current().cache.url, idle)


@cache
def _database(url: str, idle: float) -> "Database":
    """Return the one database of a URL: models, which name it, run on every request."""
    return Database(connect(url).namespace("web2py"), idle)


class Database:
    """The part of a pyDAL database that web2py's sessions use."""

    def __init__(self, kv: KV, idle: float) -> None:
        self._kv, self._idle = kv, idle
        self._tables: dict[str, Table] = {}

    def Field(self, name: str, *_: Any, **__: Any) -> str:  # noqa: N802 - pyDAL's name
        """Return a field's name; the store keeps values as they are."""
        return name

    def define_table(self, name: str, *_: Any, **__: Any) -> "Table":
        """Return the table of that name; its fields need no declaration."""
        return self._tables.setdefault(name, Table(self, name))

    def get(self, name: str, default: Any = None) -> Any:
        """Return a table that was defined, or `default`."""
        return self._tables.get(name, default)

    def __getitem__(self, name: str) -> "Table":
        return self._tables[name]

    def __call__(self, chosen: "Chosen") -> "Rows":
        """Return what `table.id == number` chooses."""
        return Rows(chosen.table, chosen.number)

    @property
    def store(self) -> KV:
        """The key-value store."""
        return self._kv

    @property
    def idle(self) -> float:
        """Seconds that a row lives."""
        return self._idle


@dataclass(frozen=True, slots=True)
class Chosen:
    """The condition `table.id == number`."""

    table: "Table"
    number: int


class Id:
    """A table's id, to be compared."""

    __hash__ = None  # type: ignore[assignment]  # == makes a condition

    def __init__(self, table: "Table") -> None:
        self._table = table

    def __eq__(self, number: object) -> Any:
        return Chosen(self._table, int(str(number)))


class Table:
    """The sessions of one application."""

    def __init__(self, db: Database, name: str) -> None:
        self._db, self._name = db, name
        self.id = Id(self)

    def __call__(self, number: object, **wanted: Any) -> dict[str, Any] | None:
        """Return the row of an id, if it is there and its fields have the values wanted."""
        item = self._db.store.get(self.key(number))
        row = _row(item) if item is not None else None
        if row is None or any(row.get(name) != value for name, value in wanted.items()):
            return None
        return row

    def insert(self, **fields: Any) -> int:
        """Store a row under a new id, which cannot be guessed, and return the id; 0 where the store does not answer."""
        for _ in range(3):
            number = 1 + secrets.randbelow(_MAX_ID)
            if self._db.store.add(self.key(number), codec.dumps(fields), self._db.idle):
                return number
        return 0

    def change(self, number: object, fields: dict[str, Any]) -> int:
        """Change a row, if it is there; one that was deleted meanwhile stays deleted. Return how many rows changed."""
        key, store = self.key(number), self._db.store
        while True:
            item = store.gets(key)
            row = _row(item.value) if item is not None else None
            if item is None or row is None:
                return 0
            if store.cas(key, codec.dumps({**row, **fields}), item.token, self._db.idle):
                return 1

    def remove(self, number: object) -> int:
        """Delete a row, and return how many."""
        return int(self._db.store.delete(self.key(number)))

    def key(self, number: object) -> str:
        """Return the store's key of a row."""
        return f"{self._name}:{number}"


class Rows:
    """The one row, or none, that a condition chooses."""

    def __init__(self, table: Table, number: int) -> None:
        self._table, self._number = table, number

    def update(self, **fields: Any) -> int:
        """Change it, if it is there; return how many changed."""
        return self._table.change(self._number, fields)

    def delete(self) -> int:
        """Delete it; return how many."""
        return self._table.remove(self._number)


def _row(value: bytes) -> dict[str, Any] | None:
    try:
        row = codec.loads(value)
    except DamagedValue:
        return None
    return row if isinstance(row, dict) else None
