"""Small numbers for indexes: one for each namespace, kind and property, given when first used."""

import sqlite3

from gaeport.datastore.keys import escape

BY_KIND = ""  # the index of a kind's entities by key; no property has an empty name


class Names:
    """The numbers that this process has seen. Numbers never change, so what was committed may be kept."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def find(self, db: sqlite3.Connection, partition: bytes, kind: str, prop: str) -> int | None:
        """Return the number of an index, or None when nothing was ever stored in it. Only for committed reads."""
        name = _name(partition, kind, prop)
        number = self._known.get(name)
        if number is None:
            found = db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
            if found is None:
                return None
            number = self._known[name] = found[0]
        return number

    def make(self, db: sqlite3.Connection, prefix: bytes, prop: str, fresh: dict[bytes, int]) -> int:
        """Return the number of an index, giving it one inside the present write transaction.

        Args:
            db: the connection.
            prefix: the bytes of project, database, namespace and kind, as `keys.kind_prefix` gives them.
            prop: the property's name.
            fresh: collects what must be passed to `keep` once the transaction is committed.
        """
        name = prefix + prop.encode()
        number = self._known.get(name) or fresh.get(name)
        if number is None:
            db.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (name,))
            number = db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()[0]
            fresh[name] = number
        return number

    def keep(self, fresh: dict[bytes, int]) -> None:
        """Remember numbers that were committed."""
        self._known.update(fresh)


def _name(partition: bytes, kind: str, prop: str) -> bytes:
    return partition + escape(kind.encode()) + prop.encode()
