"""Field types as NDB properties."""

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from google.cloud import ndb

from gaeport import datastore, settings
from gaeport.datastore.field_types import FieldType, decimal_from_stored, decimal_to_stored, parse_type
from gaeport.errors import FieldError, FieldValueError
from gaeport.models import model_for, property_for


class Custom:
    """What a pyDAL SQLCustomType has of interest."""

    type = "integer"

    @staticmethod
    def encoder(value: str) -> int:
        return len(value)

    @staticmethod
    def decoder(value: int) -> str:
        return "x" * value


@pytest.fixture
def context() -> Iterator[Any]:
    settings.configure(data=":memory:")
    with datastore.ndb_client().context() as entered:
        yield entered


@pytest.mark.parametrize(
    ("field_type", "expected", "indexed", "repeated"),
    [
        ("string", ndb.StringProperty, True, False),
        ("text", ndb.TextProperty, False, False),
        ("password", ndb.TextProperty, False, False),
        ("upload", ndb.TextProperty, False, False),
        ("blob", ndb.BlobProperty, False, False),
        ("json", ndb.JsonProperty, False, False),
        ("jsonb", ndb.JsonProperty, False, False),
        ("boolean", ndb.BooleanProperty, True, False),
        ("integer", ndb.IntegerProperty, True, False),
        ("bigint", ndb.IntegerProperty, True, False),
        ("double", ndb.FloatProperty, True, False),
        ("float", ndb.FloatProperty, True, False),
        ("decimal(10,2)", ndb.IntegerProperty, True, False),
        ("decimal(30,5)", ndb.StringProperty, True, False),
        ("date", ndb.DateProperty, True, False),
        ("time", ndb.TimeProperty, True, False),
        ("datetime", ndb.DateTimeProperty, True, False),
        ("reference person", ndb.IntegerProperty, True, False),
        ("big-reference person", ndb.IntegerProperty, True, False),
        ("list:string", ndb.StringProperty, True, True),
        ("list:integer", ndb.IntegerProperty, True, True),
        ("list:reference person", ndb.IntegerProperty, True, True),
    ],
)
def test_each_field_type_has_its_property(field_type: str, expected: type, indexed: bool, repeated: bool) -> None:
    made = property_for(field_type)
    assert isinstance(made, expected)
    assert made._indexed is indexed
    assert made._repeated is repeated


def test_a_string_too_long_for_an_index_is_unindexed_by_its_length_or_by_choice() -> None:
    assert not property_for("string", length=5000)._indexed
    assert not property_for("string", indexed=False)._indexed
    assert not property_for("list:string", indexed=False)._indexed
    assert property_for("upload", indexed=True)._indexed
    assert not property_for("integer", indexed=False)._indexed


@pytest.mark.parametrize("field_type", ["geometry()", "geography", "strin", "decimal", "decimal(2,4)", "decimal(0,0)"])
def test_a_type_without_a_place_in_datastore_is_refused_by_name(field_type: str) -> None:
    with pytest.raises(FieldError, match=field_type.split("(")[0]):
        property_for(field_type)


def test_a_blob_cannot_be_indexed() -> None:
    with pytest.raises(FieldError, match="blob"):
        property_for("blob", indexed=True)


def test_ndb_options_pass_through(context: Any) -> None:
    model = model_for("Thing", [("name", "string", {"required": True}), ("size", "integer", {"default": 3})])
    assert model(name="a").size == 3
    with pytest.raises(Exception, match="name"):
        model().put()


def test_a_custom_type_is_stored_as_its_encoder_says(context: Any) -> None:
    model = model_for("Thing", [("name", Custom)])
    key = model(name="abc").put()
    context.cache.clear()
    assert key.get().name == "xxx"
    assert model.query(model.name == "abc").count() == 1


def test_the_id_is_readable_settable_and_comparable(context: Any) -> None:
    model = model_for("Thing", [("number", "id"), ("name", "string")])
    thing = model(name="a")
    assert thing.number is None
    thing.number = 7
    thing.put()
    model(id=8, name="b").put()
    assert [found.name for found in model.query(model.number == 7)] == ["a"]
    assert [found.name for found in model.query(model.number > 7)] == ["b"]
    assert model.query(model.number.IN([7, 8, 9])).count() == 2
    assert set(model._properties) == {"name"}


def test_lists_keep_their_order_and_an_empty_list_is_stored(context: Any) -> None:
    model = model_for("Thing", [("tags", "list:string"), ("numbers", "list:integer")])
    key = model(tags=["b", "a", "", "b"], numbers=[]).put()
    context.cache.clear()
    assert key.get().tags == ["b", "a", "", "b"]
    client = datastore.client()
    stored = client.lookup([client.key("Thing", key.id())])[0]
    assert stored is not None
    assert stored.entity.properties["numbers"].WhichOneof("value_type") == "array_value"


def test_a_string_over_1500_bytes_is_refused_where_it_is_indexed(context: Any) -> None:
    model = model_for("Thing", [("short", "string"), ("long", "string", {"length": 2000})])
    with pytest.raises(ndb.exceptions.BadValueError, match="1500"):
        model(short="ü" * 751)
    assert model(long="ü" * 751).put()


def test_a_field_called_as_an_attribute_of_models_gets_an_underscore(context: Any) -> None:
    model = model_for("Thing", [("key", "string")])
    entity = model(key_="a").put().get()
    assert entity.key_ == "a"
    assert model.query(model.key_ == "a").count() == 1


def test_dates_and_times_are_compared_in_queries(context: Any) -> None:
    model = model_for("Thing", [("day", "date"), ("hour", "time"), ("moment", "datetime")])
    model(
        day=datetime.date(1, 1, 1), hour=datetime.time(23, 59, 59, 999999), moment=datetime.datetime(9999, 12, 31)
    ).put()
    assert model.query(model.day == datetime.date(1, 1, 1)).count() == 1
    assert model.query(model.hour > datetime.time(23)).count() == 1
    assert model.query(model.moment == datetime.datetime(9999, 12, 31)).count() == 1


@pytest.mark.parametrize("precision", [6, 18, 19, 40])
def test_the_stored_form_of_decimals_sorts_as_the_numbers_do_and_gives_them_back(precision: int) -> None:
    kind = parse_type(f"decimal({precision},3)")
    largest = Decimal("9" * (precision - 3) + ".999")
    numbers = [
        largest.copy_negate(),
        Decimal("-1.5"),
        Decimal("-0.001"),
        Decimal(0),
        Decimal("0.001"),
        Decimal("1.5"),
        largest,
    ]
    stored: list[Any] = [decimal_to_stored(number, kind, "f") for number in numbers]
    assert stored == sorted(stored)
    assert [decimal_from_stored(form, kind) for form in stored] == numbers


@pytest.mark.parametrize("value", ["1000", "-1000", "999.995", "nan", "inf", "x", "1e99"])
def test_a_decimal_out_of_range_is_refused_not_truncated(value: str) -> None:
    with pytest.raises(FieldValueError, match="the field f"):
        decimal_to_stored(value, FieldType("decimal", precision=5, scale=2), "f")


def test_digits_beyond_the_scale_are_rounded_half_away_from_zero() -> None:
    kind = parse_type("decimal(5,2)")
    assert [decimal_to_stored(text, kind, "f") for text in ("0.125", "-0.125", "0.124")] == [13, -13, 12]


def test_decimals_are_queried_by_equality_and_order(context: Any) -> None:
    model = model_for("Thing", [("price", "decimal(6,2)"), ("mass", "decimal(30,2)")])
    for text in ("-2.5", "10", "9.99"):
        model(price=Decimal(text), mass=text).put()
    assert [thing.price for thing in model.query().order(model.price)] == [Decimal("-2.50"), Decimal("9.99"), 10]
    assert [thing.mass for thing in model.query().order(-model.mass)] == [10, Decimal("9.99"), Decimal("-2.50")]
    assert model.query(model.mass == Decimal("9.99")).count() == 1
