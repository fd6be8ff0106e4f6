"""web2py's field types, and the form in which Datastore keeps their values.

The DAL adapter and the NDB models share it, so that what one writes the other reads and queries.
"""

import datetime
import json
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from gaeport.datastore.limits import MAX_INDEXED
from gaeport.errors import FieldError, FieldValueError

#: Every field type but the list types and those with arguments.
SIMPLE = (
    "string",
    "text",
    "password",
    "upload",
    "blob",
    "boolean",
    "integer",
    "bigint",
    "double",
    "float",
    "date",
    "time",
    "datetime",
    "json",
    "jsonb",
    "id",
    "big-id",
)
LISTS = ("list:string", "list:integer", "list:reference")
REFERENCES = ("reference", "big-reference")

#: Types that are kept out of the indexes unless the field says `indexed=True`.
UNINDEXED = frozenset({"text", "password", "upload", "blob", "json", "jsonb"})
#: Types whose values are text, so that the limit of an indexed value (1,500 bytes) counts for them.
TEXTS = frozenset({"string", "text", "password", "upload", "list:string"})
#: Types that no index can hold.
NEVER_INDEXED = frozenset({"blob", "json", "jsonb"})

MAX_SCALED = 18  # digits of a decimal that is kept as a 64-bit integer
MAX_DIGITS = 500  # digits of a decimal that is kept as text; far below the 1,500 bytes of an indexed value
EPOCH = datetime.date(1970, 1, 1)
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class FieldType:
    """A parsed field type.

    Attributes:
        name: the type without its arguments: "string", "decimal", "list:reference" …
        referenced: the table that a reference points to; else "".
        precision: digits of a decimal in all; else 0.
        scale: digits of a decimal after the point.
        indexed: whether values get into the indexes.
    """

    name: str
    referenced: str = ""
    precision: int = 0
    scale: int = 0
    indexed: bool = True

    @property
    def is_list(self) -> bool:
        """Whether a value is a list."""
        return self.name.startswith("list:")

    @property
    def is_id(self) -> bool:
        """Whether the value is the entity's own id."""
        return self.name in ("id", "big-id")

    @property
    def scaled(self) -> bool:
        """Whether a decimal is kept as an integer."""
        return self.precision <= MAX_SCALED


def parse_type(field_type: str, *, length: int | None = None, indexed: bool | None = None) -> FieldType:
    """Parse a field type as web2py spells it.

    Args:
        field_type: such as "string", "decimal(10,2)", "reference person", "list:reference person".
        length: characters that the field may hold; a string of more than 1,500 is kept out of the indexes.
        indexed: whether values get into the indexes; None: as the type and the length have it.

    Raises:
        FieldError: the type is unknown or has no place in Datastore, or cannot be indexed.
    """
    head, _, argument = field_type.partition(" ")
    name, bracket, numbers = head.partition("(")
    if name.startswith("geo"):
        raise FieldError(f"{field_type!r}: geometry fields have no form in Datastore; keep two double fields instead")
    if name == "decimal" or name == "numeric":
        return _decimal_type(field_type, (numbers + argument) if bracket else "", indexed)
    if name not in SIMPLE and name not in LISTS and name not in REFERENCES:
        raise FieldError(f"{field_type!r} is no field type; there are: {', '.join((*SIMPLE, *LISTS, *REFERENCES))}")
    if indexed and name in NEVER_INDEXED:
        raise FieldError(f"{field_type!r} cannot be indexed; put what is searched into a field of its own")
    found = indexed
    if found is None:
        too_long = name in TEXTS and length is not None and length > MAX_INDEXED
        found = name not in UNINDEXED and not too_long
    return FieldType(name, argument.strip(), indexed=found)


def folded_name(prop: str) -> str:
    """Return the name of the property that holds a property's value in lower case, for searches that ignore case."""
    return f"{prop}~folded"  # no field has such a name


def _decimal_type(field_type: str, numbers: str, indexed: bool | None) -> FieldType:
    try:
        precision, scale = (int(part) for part in numbers.rstrip(") ").split(","))
    except ValueError:
        raise FieldError(f"{field_type!r}: a decimal is written decimal(n,m)") from None
    if not 0 <= scale <= precision or not 1 <= precision <= MAX_DIGITS:
        raise FieldError(f"{field_type!r}: a decimal has 1 to {MAX_DIGITS} digits, m of them after the point")
    return FieldType("decimal", "", precision, scale, indexed is not False)


def check_length(raw: bytes, field: str) -> None:
    """Refuse text that is too long for an index.

    Raises:
        FieldValueError: naming the size, the limit and the choice.
    """
    if len(raw) > MAX_INDEXED:
        raise FieldValueError(
            field,
            f"the value has {len(raw):,} bytes and the field is indexed; the limit is {MAX_INDEXED:,}. Use the type "
            f"text, a length over {MAX_INDEXED:,}, or indexed=False (the field then cannot be queried by Datastore)",
        )


def integer_of(value: Any, field: str) -> int:
    """Return a value as a 64-bit integer.

    Raises:
        FieldValueError: it is none.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise FieldValueError(field, f"{value!r} is not a whole number") from None
    if not -_INT64 <= number < _INT64:
        raise FieldValueError(field, f"{number} does not fit into 64 bits")
    return number


def decimal_of(value: Any, kind: FieldType, field: str) -> Decimal:
    """Return a value as a Decimal with the field's digits after the point, halves rounded away from zero.

    Raises:
        FieldValueError: it is no number, or has too many digits before the point.
    """
    context = Context(prec=MAX_DIGITS * 2, rounding=ROUND_HALF_UP)
    try:
        number = Decimal(value if isinstance(value, Decimal | int) else str(value))
        rounded = number.quantize(Decimal(1).scaleb(-kind.scale), context=context)
    except (InvalidOperation, ValueError, TypeError):
        raise FieldValueError(field, f"{value!r} is not a decimal number") from None
    if not rounded.is_finite() or rounded.copy_abs() >= Decimal(10) ** (kind.precision - kind.scale):
        raise FieldValueError(field, f"{value} is out of the range of decimal({kind.precision},{kind.scale})")
    return rounded


def decimal_to_stored(value: Any, kind: FieldType, field: str) -> int | str:
    """Return the stored form of a decimal, which compares as the number does.

    Up to 18 digits it is the integer value·10^m. Beyond, it is text: "1" and the digits for zero and above, "0" and
    the nines' complement of the digits below zero.

    Raises:
        FieldValueError: as `decimal_of`.
    """
    number = decimal_of(value, kind, field)
    scaled = int(number.scaleb(kind.scale, Context(prec=MAX_DIGITS * 2)))
    if kind.scaled:
        return scaled
    if scaled >= 0:
        return "1" + str(scaled).zfill(kind.precision)
    return "0" + str(10**kind.precision - 1 + scaled).zfill(kind.precision)


def decimal_from_stored(stored: int | str, kind: FieldType) -> Decimal:
    """Return the number that `decimal_to_stored` was given."""
    if isinstance(stored, str):
        digits = int(stored[1:])
        number = digits if stored[0] == "1" else digits - (10**kind.precision - 1)
    else:
        number = stored
    return Decimal(number).scaleb(-kind.scale, Context(prec=MAX_DIGITS * 2))


def date_of(value: Any, field: str) -> datetime.date:
    """Return a value as a date; text is read as year-month-day.

    Raises:
        FieldValueError: it is none.
    """
    if isinstance(value, datetime.datetime):
        return value.date()
    if isinstance(value, datetime.date):
        return value
    try:
        year, month, day = (int(part) for part in str(value)[:10].strip().split("-"))
        return datetime.date(year, month, day)
    except ValueError:
        raise FieldValueError(field, f"{value!r} is not a date") from None


def time_of(value: Any, field: str) -> datetime.time:
    """Return a value as a time without a zone; text is read as hours:minutes[:seconds[.fraction]].

    Raises:
        FieldValueError: it is none.
    """
    if isinstance(value, datetime.datetime):
        return value.time()
    if isinstance(value, datetime.time):
        return value.replace(tzinfo=None)
    try:
        return datetime.time.fromisoformat(str(value).strip()).replace(tzinfo=None)
    except ValueError:
        raise FieldValueError(field, f"{value!r} is not a time") from None


def datetime_of(value: Any, field: str) -> datetime.datetime:
    """Return a value as a datetime without a zone; one with a zone is turned to UTC, text is read as ISO 8601.

    Raises:
        FieldValueError: it is none.
    """
    if isinstance(value, datetime.datetime):
        found = value
    elif isinstance(value, datetime.date):
        found = datetime.datetime(value.year, value.month, value.day)
    else:
        try:
            found = datetime.datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise FieldValueError(field, f"{value!r} is not a date and time") from None
    return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found


def moment_of(value: Any, kind: FieldType, field: str) -> datetime.datetime:
    """Return the moment that stands for a date (its midnight), a time (on 1970-01-01) or a datetime.

    Raises:
        FieldValueError: the value is none of the kind.
    """
    if kind.name == "date":
        return datetime.datetime.combine(date_of(value, field), datetime.time())
    if kind.name == "time":
        return datetime.datetime.combine(EPOCH, time_of(value, field))
    return datetime_of(value, field)


def json_bytes(value: Any) -> bytes:
    """Return the stored form of a JSON value: what NDB's JsonProperty writes."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii")
