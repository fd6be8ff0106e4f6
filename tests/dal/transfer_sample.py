"""A web2py-like application of ten tables with rows of every field type, and a folder of uploads, as large as asked."""

import datetime
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydal import DAL, Field

MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 59)
TABLES = 10
MODULE = """\
from tests.dal.transfer_sample import define
"""


def define(db: Any) -> None:
    """Define ten tables that refer to one another; a person refers to persons that come later, too."""
    db.define_table(
        "person",
        Field("firstName", length=80),
        Field("email", unique=True, notnull=True, length=128),
        Field("password", "password"),
        Field("chief", "reference person"),
        Field("tags", "list:string"),
        Field("scores", "list:integer"),
    )
    db.define_table("club", Field("title", notnull=True), Field("members", "list:reference person"))
    db.define_table(
        "thing",
        Field("name"),
        Field("owner", "reference person"),
        Field("price", "decimal(10,2)"),
        Field("long_number", "decimal(30,6)"),
        Field("weight", "double"),
        Field("picture", "upload"),
    )
    db.define_table("note", Field("body", "text"), Field("thing", "reference thing"), Field("shown", "boolean"))
    db.define_table("event", Field("day", "date"), Field("at", "time"), Field("moment", "datetime"))
    db.define_table("raw", Field("content", "blob"), Field("about", "json"), Field("large", "bigint"))
    for number in range(4):
        db.define_table(f"log{number}", Field("person", "reference person"), Field("what"), Field("count_", "integer"))


def person(number: int, rows: int, some: random.Random) -> dict[str, Any]:
    return {
        "firstName": some.choice(["Ann", "Ûna", "", None, "O'Neil", 'a "b" \\ c|d']),
        "email": f"p{number}@example.com",
        "password": "pbkdf2(1000,20,sha512)$a$b",
        "chief": some.choice([None, some.randint(1, rows)]),
        "tags": some.choice([[], ["a"], ["b|c", "ü", "x" * 40], None]),
        "scores": some.choice([[], [3, 1, -2], None]),
    }


def row_of(table: str, number: int, rows: int, some: random.Random) -> dict[str, Any]:
    """Return the values of a row; references point to any of the rows 1 to `rows`."""
    if table == "person":
        return person(number, rows, some)
    moment = MOMENT + datetime.timedelta(seconds=some.randint(0, 10**8))
    makers: dict[str, Any] = {
        "club": lambda: {"title": f"club {number}", "members": [some.randint(1, rows) for _ in range(number % 4)]},
        "thing": lambda: {
            "name": f"thing {number}",
            "owner": some.randint(1, rows),
            "price": Decimal(some.randint(-(10**7), 10**7)) / 100,
            "long_number": Decimal(some.randint(0, 10**8)) / 1000,
            "weight": some.uniform(-1e9, 1e9),
            "picture": f"thing.picture.{number:06x}.txt",
        },
        "note": lambda: {
            "body": "line\n" * (number % 400) + "ж",
            "thing": some.randint(1, rows),
            "shown": some.choice([True, False, None]),
        },
        "event": lambda: {"day": moment.date(), "at": moment.time(), "moment": some.choice([moment, None])},
        "raw": lambda: {
            "content": some.choice([b"\0\xff" + bytes([number % 256]) * 5, b"text", None]),
            "about": some.choice([{"b": [1, None, "ü"], "a": 0.5}, [], None]),
            "large": some.randint(-(2**62), 2**62),
        },
    }
    log = {"person": some.randint(1, rows), "what": f"did {number % 50}", "count_": some.randint(-5, 5)}
    found: dict[str, Any] = makers.get(table, lambda: log)()
    return found


def make_application(folder: Path, rows: int, uploads: int, uri: str = "sqlite://storage.sqlite") -> Path:
    """Make a web2py application's databases and uploads.

    Args:
        folder: the application's folder.
        rows: of each table.
        uploads: how many files; some of 40 kB, some in folders of their own.
        uri: the database.
    """
    (folder / "databases").mkdir(parents=True)
    db = DAL(uri, folder=str(folder / "databases"), adapter_args={"foreign_keys": False})
    define(db)
    fill(db, rows)
    db.close()
    make_uploads(folder / "uploads", uploads)
    return folder


def fill(db: Any, rows: int) -> None:
    """Insert rows, references to later ones included: as a database has them that has been changed since."""
    some = random.Random(7)
    for name in list(db.tables):
        table = db[name]
        values = [row_of(name, number, rows, some) for number in range(1, rows + 1)]
        late = [value.pop("chief", None) for value in values]
        for value in values:
            db._adapter.insert(table, [(table[field], item) for field, item in value.items()])
        for number, chief in enumerate(late, 1):
            if chief is not None:
                db._adapter.update(table, table.id == number, [(table.chief, chief)])
        db.commit()


def make_uploads(folder: Path, count: int) -> None:
    some = random.Random(11)
    for number in range(count):
        below = folder / f"thing.picture/{number % 7}" if number % 3 == 0 else folder
        below.mkdir(parents=True, exist_ok=True)
        size = 40_000 if number % 50 == 0 else some.randint(0, 3_000)
        (below / f"thing.picture.{number:06x}.txt").write_bytes(some.randbytes(size))
