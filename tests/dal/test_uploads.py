"""Uploads where the folder cannot be written: their content goes into entities, and comes back."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaeport import datastore
from gaeport.dal import DAL, Field
from gaeport.dal.uploads import KIND, PART


@pytest.fixture
def photos(connect: Callable[..., Any], tmp_path: Path) -> Any:
    """A database whose upload folder is read-only until a test changes that."""
    db = connect("datastore://", folder=str(tmp_path / "databases"))
    define(db, tmp_path / "uploads")
    return db


def define(db: Any, folder: Path | None) -> None:
    """Define a table with an upload field."""
    place = {"uploadfolder": str(folder)} if folder else {}
    db.define_table("photo", Field("title"), Field("picture", "upload", autodelete=True, **place))


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make every folder refuse files, as on App Engine."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.makedirs", refuse)


def upload(db: Any, content: bytes, name: str = "sea.png") -> Any:
    """Insert a row with a file, as a form does."""
    stored = db.photo.picture.store(io.BytesIO(content), name, db.photo.picture.uploadfolder)
    return db.photo(db.photo.insert(title="x", picture=stored))


def contents(db: Any, kind: str = KIND) -> int:
    """Return how many entities hold content."""
    from gaeport.datastore import wire

    query = wire.Query()
    query.kind.add(name=kind)
    return sum(1 for _ in datastore.own_client().query(query))


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize("size", [0, 5, 900_000, 900_001, 5_000_000])
def test_content_is_kept_in_an_entity_where_the_folder_is_read_only(photos: Any, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    row = upload(photos, content)
    for nameonly in (False, True):
        name, file = photos.photo.picture.retrieve(row.picture, nameonly=nameonly)
        assert (name, file.read() == content) == ("sea.png", True)
    assert (contents(photos), contents(photos, PART)) == (1, max(0, -(-size // 900_000) - 1))


@pytest.mark.usefixtures("read_only")
def test_content_goes_with_its_row(photos: Any) -> None:
    row = upload(photos, b"x" * 2_000_000)
    row.delete_record()
    assert (contents(photos), contents(photos, PART)) == (0, 0)
    with pytest.raises(FileNotFoundError):
        photos.photo.picture.retrieve(row.picture)
    row = upload(photos, b"old")
    new = photos.photo.picture.store(io.BytesIO(b"new"), "b.png")
    row.update_record(picture=new)
    assert (contents(photos), photos.photo.picture.retrieve(new)[1].read()) == (1, b"new")


def test_a_folder_that_can_be_written_is_used(photos: Any, tmp_path: Path) -> None:
    row = upload(photos, b"abc")
    assert (tmp_path / "uploads" / row.picture).read_bytes() == b"abc"
    assert contents(photos) == 0
    assert photos.photo.picture.retrieve(row.picture, nameonly=True) == (
        "sea.png",
        str(tmp_path / "uploads" / row.picture),
    )
    row.delete_record()
    assert list((tmp_path / "uploads").iterdir()) == []


def test_files_of_before_are_still_found(photos: Any, request: pytest.FixtureRequest) -> None:
    row = upload(photos, b"deployed")
    request.getfixturevalue("read_only")
    _, file = photos.photo.picture.retrieve(row.picture)
    with file:
        assert file.read() == b"deployed"


def test_a_field_without_any_folder_needs_none(connect: Callable[..., Any]) -> None:
    DAL.set_folder("")
    db = connect("datastore://", lazy_tables=True, migrate_enabled=False)
    define(db, None)
    row = upload(db, b"abc")
    assert db.photo.picture.retrieve(row.picture)[1].read() == b"abc"
    number = db.photo.insert(picture={"filename": "b.txt", "data": b"from a dict"})
    assert db.photo.picture.retrieve(db.photo(number).picture)[1].read() == b"from a dict"


@pytest.mark.usefixtures("read_only")
def test_content_is_written_at_once_whatever_becomes_of_the_transaction(photos: Any) -> None:
    def fail() -> None:
        with photos.transaction():
            assert photos(photos.photo).isempty()
            upload(photos, b"abc")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (contents(photos), photos(photos.photo).count()) == (1, 0)


def test_fields_with_a_place_of_their_own_are_left_alone(db: Any) -> None:
    db.define_table("t", Field("a", "upload", uploadfield="b"), Field("b", "blob"))
    name = db.t.a.store(io.BytesIO(b"abc"), "x.png")
    number = db.t.insert(a=name, b=b"abc")
    assert db.t.a.retrieve(db.t(number).a)[1].read() == b"abc"
