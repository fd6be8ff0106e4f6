"""The NDB properties that NDB itself does not have. Imported only where NDB is in use."""

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from google.cloud import ndb

from gaeport.datastore.field_types import FieldType, decimal_from_stored, decimal_of, decimal_to_stored


class IdProperty(ndb.ModelKey):  # type: ignore[misc]  # shipped without types
    """The entity's own id under a name of its own: readable, settable, and comparable in queries. Nothing is stored."""

    _model: Any = None

    def __get__(self, entity: Any, model: Any = None) -> Any:
        """Return the id of an entity (None before it has one); on the class, the property for use in a query."""
        if entity is not None:
            return entity._entity_key.id() if entity._entity_key is not None else None
        bound = copy.copy(self)
        bound._model = model
        return bound

    def __set__(self, entity: Any, value: int | str | None) -> None:
        """Give the entity a key with this id."""
        entity._key = None if value is None else ndb.Key(type(entity)._get_kind(), value)

    def _comparison(self, op: str, value: Any) -> Any:
        return super()._comparison(op, self._key_of(value))

    def _IN(self, values: Any) -> Any:  # noqa: N802  # NDB's own name
        return super()._IN([self._key_of(value) for value in values])

    IN = _IN

    def _key_of(self, value: Any) -> Any:
        return ndb.Key(self._model._get_kind(), value) if isinstance(value, int | str) else value


class _Decimal:
    """What both decimal properties share."""

    _field_type: FieldType
    _name: Any

    def _validate(self, value: Any) -> Decimal:
        return decimal_of(value, self._field_type, str(self._name))

    def _to_base_type(self, value: Decimal) -> int | str:
        return decimal_to_stored(value, self._field_type, str(self._name))

    def _from_base_type(self, value: int | str) -> Decimal:
        return decimal_from_stored(value, self._field_type)


class DecimalProperty(_Decimal, ndb.IntegerProperty):  # type: ignore[misc]  # shipped without types
    """A decimal of up to 18 digits, stored as the integer value·10^scale."""

    def __init__(self, field_type: FieldType, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._field_type = field_type


class LongDecimalProperty(_Decimal, ndb.StringProperty):  # type: ignore[misc]  # shipped without types
    """A decimal of more than 18 digits, stored as text that sorts as the numbers do."""

    def __init__(self, field_type: FieldType, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._field_type = field_type


def customized(base: Any, encoder: Callable[[Any], Any], decoder: Callable[[Any], Any]) -> Any:
    """Return a class derived from a property class that passes values through a pair of functions.

    Args:
        base: the property class that stores what `encoder` returns.
        encoder: from the application's value to the stored one.
        decoder: the other way round.
    """

    class CustomProperty(base):  # type: ignore[misc]  # a class known only when running
        def _to_base_type(self, value: Any) -> Any:
            return encoder(value)

        def _from_base_type(self, value: Any) -> Any:
            return decoder(value)

    CustomProperty.__name__ = f"Custom{base.__name__}"
    return CustomProperty
