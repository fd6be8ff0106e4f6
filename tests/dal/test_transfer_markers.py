"""`gaeport data unique`: rows from before a field became unique get their markers, and duplicates are named."""

from collections.abc import Iterator
from typing import Any

import pytest

from gaeport import cli, meter, settings
from gaeport.dal import DAL, Field, IntegrityError

_open: list[Any] = []


@pytest.fixture(autouse=True)
def _data(tmp_path: Any) -> Iterator[None]:
    settings.configure(data=str(tmp_path / "data"), root=str(tmp_path))
    yield
    while _open:
        _open.pop().close()


def people(*, unique: bool) -> Any:
    db = DAL("datastore://")
    _open.append(db)
    db.define_table("person", Field("email", unique=unique), Field("age", "integer", unique=unique))
    return db


def test_rows_written_before_hold_their_values_afterwards(capsys: Any) -> None:
    old = people(unique=False)
    for number in range(350):
        old.person.insert(email=f"p{number}@example.com" if number else None, age=number)
    with meter.measure() as counted:
        assert cli.main(["data", "unique", "person.email"]) == 0
    assert counted.calls == {"RunQuery": 2, "Commit": 2}
    assert "350 rows, 0 with a value that another row has" in capsys.readouterr().out
    new = people(unique=True)
    with pytest.raises(IntegrityError):
        new.person.insert(email="p7@example.com")
    assert new.person.insert(email="new@example.com")


def test_the_same_again_finds_all_markers_in_place() -> None:
    old = people(unique=False)
    old.person.bulk_insert([{"email": "a"}, {"email": "b"}])
    assert cli.main(["data", "unique", "person.email"]) == 0
    assert cli.main(["data", "unique", "person.email"]) == 0


def test_duplicates_are_named_with_both_rows(capsys: Any) -> None:
    old = people(unique=False)
    ids = sorted(int(old.person.insert(age=age)) for age in (5, 5, 6, None, None))
    assert cli.main(["data", "unique", "person.age"]) == 1
    said = capsys.readouterr()
    twice = sorted(number for number in ids if old.person[number].age == 5)
    assert f"person.age: the row {twice[1]} has 5, as the row {twice[0]} has" in said.err
    assert "5 rows, 1 with a value that another row has" in said.out


def test_a_check_names_duplicates_and_writes_nothing(capsys: Any) -> None:
    old = people(unique=False)
    old.person.bulk_insert([{"email": "a"}, {"email": "a"}, {"email": "b"}])
    with meter.measure() as counted:
        assert cli.main(["data", "unique", "person.email", "--check"]) == 1
    assert counted.calls == {"RunQuery": 1}
    assert "has 'a', as the row" in capsys.readouterr().err
    assert people(unique=True).person.insert(email="b")


def test_a_marker_whose_row_is_gone_is_taken_over() -> None:
    new = people(unique=True)
    gone = new.person.insert(email="a")
    store = new._adapter.store
    from gaeport.datastore import wire

    store.client.commit([wire.Mutation(delete=store.client.key("person", int(gone)))])  # not through the DAL
    people(unique=False).person.insert(email="a")
    assert cli.main(["data", "unique", "person.email"]) == 0
    with pytest.raises(IntegrityError):
        new.person.insert(email="a")


@pytest.mark.parametrize("name", ["person", "person."])
def test_a_field_has_to_be_named(name: str, capsys: Any) -> None:
    assert cli.main(["data", "unique", name]) == 2
    assert "TABLE.FIELD" in capsys.readouterr().err
