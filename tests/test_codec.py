"""Values of sessions and caches as bytes."""

import datetime as dt
import enum
import uuid
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaeport import codec
from gaeport.errors import DamagedValue, UnsupportedType

VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**64,
    -(10**40),
    1.5,
    float("inf"),
    "",
    "é日\0",
    "half a pair \ud800",
    b"\x00\xff",
    [],
    [1, [2, ()]],
    (),
    (1, ("two", {3})),
    set(),
    {1, (2, 3), frozenset({4})},
    {"a": {"b": [dt.date(2024, 2, 29)]}},
    {1: "int", None: "none", b"x": "bytes", 1.5: "float", uuid.UUID(int=7): "uuid", dt.date(2024, 1, 1): "date"},
    {"\udfff": "\ud800"},
    {(1, "\ud800"): {2**70: 1, frozenset({1}): 2}},
    ("\ud800", {"\ud800"}),
    dt.datetime(2024, 10, 27, 2, 30, 0, 123456, fold=1),
    dt.datetime(1, 1, 1),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30, seconds=7))),
    dt.time(1, 2, 3, 4, tzinfo=dt.UTC),
    dt.timedelta(days=-1, microseconds=1),
    dt.timedelta.max,
    dt.timedelta.min,
    Decimal("1.10"),
    Decimal("-Infinity"),
    Decimal("1E+1000"),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    back = codec.loads(codec.dumps(value))
    assert back == value
    assert repr(back) == repr(value) or isinstance(value, (set, frozenset))


def test_a_time_zone_by_name_is_kept_with_the_fold() -> None:
    value = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    back = codec.loads(codec.dumps(value))
    assert back.tzinfo == ZoneInfo("Europe/Berlin")
    assert (back.fold, back.utcoffset()) == (1, dt.timedelta(hours=1))
    assert codec.loads(codec.dumps(dt.time(5, tzinfo=ZoneInfo("Europe/Berlin")))).tzinfo == ZoneInfo("Europe/Berlin")


def test_subclasses_and_other_mappings_are_kept_as_their_base() -> None:
    class Storage(dict[str, Any]):
        pass

    class Colour(enum.IntEnum):
        RED = 1

    class Text(str):
        __slots__ = ()

    point = namedtuple("point", "x y")
    values = [
        Storage(a=Storage()),
        OrderedDict(a=1),
        defaultdict(int, a=1),
        UserDict(a=1),
        point(1, 2),
        Colour.RED,
        Text("x"),
    ]
    assert codec.loads(codec.dumps(values)) == [{"a": {}}, {"a": 1}, {"a": 1}, {"a": 1}, (1, 2), 1, "x"]
    for loaded in codec.loads(codec.dumps(values)):
        assert type(loaded) in (dict, tuple, int, str)


class Cart:
    pass


@pytest.mark.parametrize(
    "value", [Cart(), Cart, len, 1j, bytearray(b"x"), memoryview(b"x"), range(3), object(), NotImplemented]
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(UnsupportedType):
        codec.dumps(value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Cart(), "session has the type"),
        ({"user": {"carts": [1, Cart()]}}, "session['user']['carts'][1] has the type"),
        ({"a": (1, Cart())}, "session['a'][1] has the type"),
    ],
)
def test_the_refusal_names_type_and_place(value: Any, place: str) -> None:
    for refuse in (codec.dumps, codec.check):
        with pytest.raises(UnsupportedType) as raised:
            refuse(value, "session")
        assert place in str(raised.value)
        assert f"{__name__}.Cart" in str(raised.value)
        assert isinstance(raised.value.value, Cart)


def test_a_value_inside_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnsupportedType, match="contains itself"):
        codec.dumps(value)


def test_the_deepest_value_that_is_taken_can_be_loaded() -> None:
    for wrap in (lambda inner: [inner], lambda inner: (inner,), lambda inner: {"k": inner}):
        value: Any = 1
        for _ in range(codec.MAX_DEPTH):
            value = wrap(value)
        assert codec.loads(codec.dumps(value)) == value


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xd4\x63x", b"\xc7\x03\x02abc", b"\xc7\x03\x06abc"]
)
def test_damaged_bytes_are_refused_by_one_error(data: bytes) -> None:
    with pytest.raises(DamagedValue):
        codec.loads(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_load_or_are_refused_by_one_error(data: bytes) -> None:
    try:
        codec.loads(data)
    except DamagedValue:
        pass


def leaves() -> st.SearchStrategy[Any]:
    texts = st.text(st.characters(exclude_categories=()))
    moments = st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.datetimes(timezones=st.timezones())
    numbers = st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False)
    return st.none() | st.booleans() | numbers | texts | st.binary() | moments | st.uuids()


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, max_size=4)
    return some | some.map(tuple) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaves(), containers, max_leaves=8))
def test_random_values_come_back(value: Any) -> None:
    back = codec.loads(codec.dumps(value))
    assert back == value
    assert type(back) is type(value)
