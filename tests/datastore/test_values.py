"""Stored keys and values sort as Datastore sorts them, and come back as they were."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaeport.datastore import wire
from gaeport.datastore.client import Client
from gaeport.datastore.engine import positions
from gaeport.datastore.keys import AFTER_DESCENDANTS, decode_key, encode_key, escape, unescape
from gaeport.datastore.values import AFTER_ALL, decode_value, encode_value
from gaeport.errors import InvalidArgument
from tests.datastore.build import value

CLIENT = Client(None, project="project", namespace="n")  # type: ignore[arg-type]  # makes keys, calls nothing

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(lambda text: text and not (text.startswith("__") and text.endswith("__")))
integers = st.integers(-(2**63), 2**63 - 1)
ids = integers.filter(bool)
paths = st.lists(st.tuples(names, ids | names), min_size=1, max_size=3).map(lambda steps: sum(steps, ()))
scalars = (
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | texts | st.binary(max_size=20)
)  # fmt: skip


def stored(path: Any) -> bytes:
    return encode_key(CLIENT.key(*path), "project", "")


def indexed(content: Any) -> bytes:
    return encode_value(value(content), "project", "")


def rank(content: Any) -> tuple[Any, ...]:
    """The documented order: null, numbers, booleans, bytes, floats."""
    if content is None:
        return (0,)
    if isinstance(content, bool):
        return (2, content)
    if isinstance(content, int):
        return (1, content)
    if isinstance(content, float):
        return (4, content, math.copysign(1, content))
    return (3, content.encode() if isinstance(content, str) else content)


def path_rank(path: Any) -> list[tuple[Any, ...]]:
    steps = zip(path[::2], path[1::2], strict=True)
    return [(kind.encode(), isinstance(name, str), name.encode() if isinstance(name, str) else name)
            for kind, name in steps]  # fmt: skip


@given(paths)
def test_a_key_comes_back_as_it_was(path: Any) -> None:
    assert decode_key(stored(path)) == CLIENT.key(*path)


@given(paths, paths)
def test_keys_sort_element_by_element_ids_before_names(one: Any, other: Any) -> None:
    assert (stored(one) < stored(other)) == (path_rank(one) < path_rank(other))


@given(paths, paths)
def test_the_range_of_an_ancestor_holds_its_descendants_and_no_others(one: Any, other: Any) -> None:
    ancestor = stored(one)
    inside = ancestor <= stored(other) < ancestor + AFTER_DESCENDANTS
    assert inside == (other[: len(one)] == one)
    assert ancestor <= stored(one + other) < ancestor + AFTER_DESCENDANTS


@given(scalars, scalars)
def test_values_sort_by_type_and_then_by_size(one: Any, other: Any) -> None:
    assert (indexed(one) < indexed(other)) == (rank(one) < rank(other))
    assert indexed(one) < AFTER_ALL


def test_dates_sort_among_the_integers_as_microseconds() -> None:
    assert indexed(wire.Timestamp(seconds=1, nanos=5_000)) == indexed(1_000_005)


def test_nan_is_the_greatest_float_and_points_and_keys_come_last() -> None:
    order = [math.inf, math.nan, wire.LatLng(latitude=-1), wire.LatLng(latitude=1), CLIENT.key("A", 1)]
    found = [indexed(content) for content in order]
    assert found == sorted(found)


@given(scalars)
def test_a_projection_shows_the_value(content: Any) -> None:
    shown = decode_value(indexed(content))
    assert encode_value(shown, "project", "") == indexed(content)
    assert shown.meaning == 18


@given(st.binary(), st.binary())
def test_escaped_bytes_sort_as_plain_ones_and_come_back(one: bytes, other: bytes) -> None:
    assert (escape(one) < escape(other)) == (one < other)
    assert unescape(escape(one)[:-1]) == one
    assert escape(one).index(b"\x00") == len(escape(one)) - 1


@given(st.lists(st.tuples(st.binary(), st.booleans()), min_size=1, max_size=4))
def test_positions_come_apart_again(parts: list[tuple[bytes, bool]]) -> None:
    raw, descending = zip(*parts, strict=True)
    whole = positions.position(raw, descending)
    assert positions.split(whole, descending) == list(raw)


@pytest.mark.parametrize("cursor", [b"junk", b"g1", b"g1abc", b"g1a\x00b\x00c\x00"])
def test_a_wrong_cursor_is_refused(cursor: bytes) -> None:
    with pytest.raises(InvalidArgument):
        positions.from_cursor(cursor, [False])


def test_a_key_of_another_project_or_database_is_refused() -> None:
    for project, database in (("other", ""), ("project", "other")):
        with pytest.raises(InvalidArgument):
            encode_key(CLIENT.key("A", 1), project, database)
