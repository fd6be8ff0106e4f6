"""Tables with a `primarykey` of their own behave as on SQLite, and NDB finds their entities by the key."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from gaeport import datastore
from gaeport.dal import Field, IntegrityError
from gaeport.errors import FieldValueError
from gaeport.models import model_for


@pytest.fixture(params=["sqlite:memory", "datastore://", "datastore://?buffer=request"])
def shops(request: pytest.FixtureRequest, connect: Callable[..., Any]) -> Any:
    """A database with keyed tables, one of them with two fields in its key."""
    db = connect(request.param)
    db.define_table("land", Field("code", length=10), Field("name"), primarykey=["code"])
    db.define_table(
        "shop",
        Field("land", db.land.code),
        Field("number", "integer"),
        Field("name", unique=True),
        Field("opened", "date"),
        primarykey=["land", "number"],
    )
    db.commit()
    assert db.land.insert(code="de", name="Germany") == {"code": "de"}
    db.land.bulk_insert([{"code": "fr", "name": "France"}, {"code": "at", "name": "Austria"}])
    for land, number, name in (("de", 2, "b"), ("de", 1, "a"), ("fr", 1, "c")):
        db.shop.insert(land=land, number=number, name=name, opened=datetime.date(2020, 1, number))
    return db


def names(db: Any, query: Any, **attributes: Any) -> list[str]:
    return [row.name for row in db(query).select(db.shop.name, **attributes)]


def test_rows_are_read_by_their_keys(shops: Any) -> None:
    shop = shops.shop
    assert shop[{"land": "de", "number": 2}].name == "b"
    assert shops.land(code="de").name == "Germany"
    assert shops.land(code="xx") is None
    assert names(shops, (shop.land == "de") & (shop.number < 2)) == ["a"]
    assert names(shops, shop, limitby=(1, 3)) == ["b", "c"]
    assert names(shops, shop, orderby=~shop.name, limitby=(0, 2)) == ["c", "b"]
    assert names(shops, shop.name.endswith("c")) == ["c"]
    assert (shops(shop).count(), shops(shop.land == "at").isempty()) == (3, True)


def test_rows_are_joined_by_their_keys(shops: Any) -> None:
    shop, land = shops.shop, shops.land
    rows = shops((shop.land == land.code) & (land.name == "Germany")).select(shop.name, land.name, orderby=shop.name)
    assert [(row.shop.name, row.land.name) for row in rows] == [("a", "Germany"), ("b", "Germany")]
    rows = shops(land).select(land.code, shop.name, left=shop.on(shop.land == land.code), orderby=land.code | shop.name)
    assert [(row.land.code, row.shop.name) for row in rows] == [("at", None), ("de", "a"), ("de", "b"), ("fr", "c")]


def test_rows_and_their_keys_are_changed(shops: Any) -> None:
    shop = shops.shop
    assert shops(shop.land == "de").update(opened=None) == 2
    assert shops((shop.land == "de") & (shop.number == 1)).update(number=7) == 1
    assert shop[{"land": "de", "number": 7}].name == "a"
    shops((shop.land == "de") & (shop.number == 7)).update(name="a")
    assert shops(shop.name == "b").update(number=shop.number + 1) == 1
    assert sorted((row.land, row.number, row.name) for row in shops(shop).select()) == [
        ("de", 3, "b"),
        ("de", 7, "a"),
        ("fr", 1, "c"),
    ]


def test_a_taken_or_missing_key_is_refused(shops: Any) -> None:
    shop = shops.shop
    refusal = shops._adapter.driver.IntegrityError
    for row in ({"land": "de", "number": 1}, {"land": "de"}, {"land": "fr", "number": 9, "name": "a"}):
        with pytest.raises(refusal):
            shop.insert(**row)
    with pytest.raises(refusal):
        shops((shop.land == "de") & (shop.number == 1)).update(number=2)


# pyDAL's adapter for SQLite deletes from no table with two fields in its key.
@pytest.mark.parametrize("shops", ["datastore://", "datastore://?buffer=request"], indirect=True)
def test_deletes_follow_the_references(shops: Any) -> None:
    assert shops(shops.shop.number == 2).delete() == 1
    shop_rows = shops(shops.shop).count()
    assert (shop_rows, shops(shops.land.code == "fr").delete()) == (2, 1)
    assert names(shops, shops.shop) == ["a"]
    assert shops.shop.insert(land="de", number=2, name="c") == {"land": "de", "number": 2}


def test_ndb_finds_an_entity_by_its_key(db: Any) -> None:
    table = db.define_table("land", Field("code", length=10), Field("name"), primarykey=["code"])
    table.insert(code="de", name="Germany")
    pair = db.define_table("pair", Field("a"), Field("b", "integer"), Field("c"), primarykey=["a", "b"])
    pair.insert(a="x|y", b=2, c="z")
    shop = db.define_table("shop", Field("land", table.code), Field("name"))
    with datastore.ndb_client().context():
        model = model_for("shop", shop)
        model(land="de", name="a").put()
        assert [entity.name for entity in model.query(model.land == "de")] == ["a"]
        assert model_for("land", table).get_by_id("de").name == "Germany"
        assert model_for("pair", pair).get_by_id("x\\|y|2").c == "z"
    assert db((shop.land == table.code) & (table.name == "Germany")).count() == 1


def test_a_unique_value_stays_with_a_row_whose_key_changes(db: Any) -> None:
    table = db.define_table("t", Field("code"), Field("name", unique=True), primarykey=["code"])
    table.insert(code="a", name="x")
    db(table.code == "a").update(code="b")
    with pytest.raises(IntegrityError, match=r"t\.name"):
        table.insert(code="c", name="x")
    db(table.code == "b").delete()
    assert table.insert(code="c", name="x")


def test_what_cannot_be_a_key_is_refused(db: Any) -> None:
    table = db.define_table("t", Field("code", length=2000), Field("n"), primarykey=["code"])
    for code in ("", "__x__", "x" * 1501):
        with pytest.raises(FieldValueError, match=r"t\.code"):
            table.insert(code=code)
    with pytest.raises(IntegrityError):
        table.insert(n="x")
