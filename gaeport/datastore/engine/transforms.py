"""Property transforms: changes that the server computes from what is stored."""

from collections.abc import Iterable
from typing import Any

from gaeport.datastore import values, wire
from gaeport.errors import InvalidArgument

_MAX, _MIN = (1 << 63) - 1, -(1 << 63)


def apply_transforms(entity: Any, transforms: Iterable[Any], sequence: int) -> list[Any]:
    """Apply transforms to an entity, in order.

    Args:
        entity: the `wire.Entity` to change.
        transforms: `wire.PropertyTransform` messages.
        sequence: the commit's time in microseconds, for REQUEST_TIME.

    Returns:
        The `wire.Value` that results from each.

    Raises:
        InvalidArgument: an operand is not a number, or the transform has no type.
    """
    results = []
    for transform in transforms:
        which = transform.WhichOneof("transform_type")
        if which is None or not transform.property:
            raise InvalidArgument("a property transform has no type or no property")
        stored = entity.properties[transform.property]
        result = wire.Value()
        if which == "set_to_server_value":
            values.set_micros(stored.timestamp_value, sequence // 1000 * 1000)  # millisecond precision
            result.CopyFrom(stored)
        elif which in ("increment", "maximum", "minimum"):
            stored.CopyFrom(_number(which, stored, getattr(transform, which)))
            result.CopyFrom(stored)
        else:
            _change_array(which, stored, getattr(transform, which).values)
            result.null_value = 0
        results.append(result)
    return results


def _number(which: str, stored: Any, operand: Any) -> Any:
    given = _read(operand)
    if given is None:
        raise InvalidArgument(f"the operand of {which} is not a number")
    before = _read(stored)
    if before is None:
        return operand
    if which != "increment":
        better = given > before if which == "maximum" else given < before
        return operand if better or before != before else wire.Value.FromString(stored.SerializeToString())
    total = before + given
    if isinstance(total, float):
        return wire.Value(double_value=total)
    return wire.Value(integer_value=max(_MIN, min(_MAX, total)))


def _read(value: Any) -> int | float | None:
    which = value.WhichOneof("value_type")
    return getattr(value, which) if which in ("integer_value", "double_value") else None


def _change_array(which: str, stored: Any, operands: Iterable[Any]) -> None:
    kept = list(stored.array_value.values) if stored.WhichOneof("value_type") == "array_value" else []
    kept = [wire.Value.FromString(item.SerializeToString()) for item in kept]
    for operand in operands:
        if which == "remove_all_from_array":
            kept = [item for item in kept if item != operand]
        elif operand not in kept:
            kept.append(operand)
    stored.array_value.SetInParent()
    del stored.array_value.values[:]
    stored.array_value.values.extend(kept)
