"""pyDAL on Datastore beside the same work in plain NDB, on the same embedded engine."""

import datetime
from typing import Any

from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section
from tests.benchmarks.timing import Work, least, nanoseconds

_ROUNDS, _BUDGET = 30, 0.6
_ROW = {
    "name": "Ada Lovelace",
    "age": 36,
    "score": 2.5,
    "active": True,
    "born": datetime.date(1815, 12, 10),
    "seen": datetime.datetime(2020, 1, 2, 3, 4, 5),
    "tags": ["poet", "engine"],
    "body": "x" * 300,
    "boss": 7,
}
_TYPES = ("string", "integer", "double", "boolean", "date", "datetime", "list:string", "text", "reference person")


def measure(options: Options) -> Section:
    """Time the DAL and NDB by turns."""
    from gaeport import datastore

    section = Section(
        f"Rows of ten fields by pyDAL and by NDB, {_ROUNDS} rounds by turns, the best of each",
        ("work", "NDB, µs", "gaeport.dal, µs", "ratio"),
    )
    with application("memory"), datastore.ndb_client().context() as context:
        context.set_cache_policy(False)  # what a request reads first is in no cache
        dal, ndb = _by_dal(), _by_ndb()
        for name, calls in (("insert", 20), ("get by id", 20), ("update by id", 20), ("select of 100", 2)):
            _add(section, name, ndb[name], dal[name], calls)
    section.notes.append("A select reads every field of every row. NDB's context cache is off; the DAL has none.")
    return section


def _add(section: Section, name: str, base: Work, other: Work, calls: int) -> None:
    timings: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS):
        for which in (0, 1) if number % 2 else (1, 0):
            timings[which].append(nanoseconds((base, other)[which], calls))
    found = least(*timings)
    cells = (f"{found.base / 1000:.0f}", f"{found.other / 1000:.0f}", f"{found.ratio:.2f}")
    section.add(name, *cells, budget=f"≤ {_BUDGET}", kept=found.ratio <= _BUDGET)


def _by_dal() -> dict[str, Work]:
    from gaeport.dal import DAL, Field

    db = DAL("datastore://")
    fields = [Field(name, kind) for name, kind in zip(_ROW, _TYPES, strict=True)]
    person = db.define_table("person", *fields)
    sample = db.define_table("sample", *[field.clone() for field in fields])
    sample.bulk_insert([_ROW] * 100)
    first = int(person.insert(**_ROW))

    def select() -> Any:
        rows = db(sample).select(limitby=(0, 100))
        return [_fields(row) for row in rows]

    return {
        "insert": lambda: person.insert(**_ROW),
        "get by id": lambda: _fields(person(first)),
        "update by id": lambda: db(person.id == first).update(age=37, name="Ada"),
        "select of 100": select,
    }


def _by_ndb() -> dict[str, Work]:
    from google.cloud import ndb

    from gaeport.models import model_for

    fields = list(zip(_ROW, _TYPES, strict=True))
    person, sample = model_for("ndb_person", fields), model_for("ndb_sample", fields)
    ndb.put_multi([sample(**_ROW) for _ in range(100)])
    first = person(**_ROW).put()

    def update() -> Any:
        entity = first.get()
        entity.age, entity.name = 37, "Ada"
        return entity.put()

    return {
        "insert": lambda: person(**_ROW).put(),
        "get by id": lambda: _values(first.get()),
        "update by id": update,
        "select of 100": lambda: [_values(row) for row in sample.query().fetch(100)],
    }


def _values(entity: Any) -> list[Any]:
    return [getattr(entity, name) for name in _ROW]


def _fields(row: Any) -> list[Any]:
    return [row[name] for name in _ROW]
