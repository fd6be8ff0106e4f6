"""Tables with a `primarykey` of their own: the entity's key name is made of the fields' values."""

from collections.abc import Sequence
from typing import Any

from gaeport.dal.errors import IntegrityError
from gaeport.datastore.limits import MAX_INDEXED
from gaeport.errors import FieldValueError


def key_name(columns: Sequence[Any], values: Sequence[Any]) -> str:
    """Return the key name for the values of a primary key.

    A single value is the name as it stands, so that NDB finds the entity by it; several are joined by bars.

    Args:
        columns: the key's columns.
        values: their stored `wire.Value`s.

    Raises:
        IntegrityError: a value is missing.
        FieldValueError: the values make no key name.
    """
    texts = []
    for column, stored in zip(columns, values, strict=True):
        value = column.from_wire(stored)
        if value is None:
            raise IntegrityError(f"NOT NULL constraint failed: {column.label}")
        texts.append(str(value))
    name = texts[0] if len(texts) == 1 else "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)
    if not name or len(name.encode()) > MAX_INDEXED or (name.startswith("__") and name.endswith("__")):
        raise FieldValueError(
            columns[0].label,
            f"{name!r} cannot be a key in Datastore: 1 to {MAX_INDEXED:,} bytes, not like __this__",
        )
    return name
