"""Whether a table of gaeport.toml has the keys and the types that its dataclass declares."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gaeport.errors import ConfigurationError

_WORDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list of strings",
    dict: "a table",
}
_IN_TOML: dict[type, tuple[type, ...]] = {tuple: (list, tuple), float: (int, float), dict: (Mapping,)}


def keys_of(table: type, leave_out: Iterable[str] = ()) -> list[str]:
    """Return the keys that a dataclass of settings takes."""
    return [field.name for field in fields(table) if field.name not in leave_out]


def check(values: Mapping[str, Any], table: type, place: str, where: str, valid: Iterable[str] = ()) -> None:
    """Check the keys and types of a table.

    Args:
        values: the table, as tomllib gives it.
        table: the dataclass; `Annotated[int, "of seconds"]` completes "must be a whole number"; a Literal lists.
        place: where the table came from, for messages.
        where: the table's name in it, such as "[sessions]"; "" for the top level.
        valid: the keys that count, where they are not just the dataclass's fields.

    Raises:
        ConfigurationError: a key is unknown, or a value is of another type or not one of those that are possible.
    """
    known = list(valid) or keys_of(table)
    lead = f"{place}: {where}: " if where else f"{place}: "
    types = _types(table)
    for key, value in values.items():
        if key not in known:
            raise ConfigurationError(f"{lead}unknown key {key!r}; valid: {listed(known)}")
        if key in types:
            _check_type(key, value, *types[key], lead)


def listed(names: Iterable[str]) -> str:
    """Return names for a message, in order."""
    return ", ".join(sorted(names))


def as_table(value: object, name: str, place: str) -> Mapping[str, Any]:
    """Return what must be a table. Raises ConfigurationError."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{place}: {name} must be written as a [{name}] table")
    return value


def _check_type(key: str, value: object, wanted: Any, more: str, lead: str) -> None:
    if get_origin(wanted) is Literal:
        names = get_args(wanted)
        if not isinstance(value, str):
            raise ConfigurationError(f"{lead}{key} = {value!r} must be one of: {listed(names)}")
        if value not in names:
            raise ConfigurationError(f'{lead}{key} = "{value}" is unknown; valid: {listed(names)}')
        return
    plain = get_origin(wanted) or wanted
    if plain not in _WORDS:
        return
    if not isinstance(value, _IN_TOML.get(plain, (plain,))) or (isinstance(value, bool) and plain is not bool):
        raise ConfigurationError(f"{lead}{key} = {value!r} must be {_WORDS[plain]}{f' {more}' if more else ''}")


@cache
def _types(table: type) -> dict[str, tuple[Any, str]]:
    """Return each field's type, None left out of a union, and what messages say after it."""
    found = {}
    for name, hint in get_type_hints(table, include_extras=True).items():
        more = ""
        if get_origin(hint) is Annotated:
            hint, more = get_args(hint)
        if get_origin(hint) in (Union, UnionType):
            hint = next(part for part in get_args(hint) if part is not NoneType)
        found[name] = (hint, more)
    return found
