"""Random tables and calls give the same rows on `sqlite:memory` and on `datastore://`."""

import datetime
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from gaeport.dal import Field

WORDS = ["", "a", "ab", "abc", "b", "b%c", "b_c", "ü", "zz", "a\\b", "q'q"]
DAY = datetime.date(2019, 12, 30)
TYPES = [
    "string",
    "text",
    "integer",
    "bigint",
    "double",
    "boolean",
    "decimal(8,2)",
    "date",
    "time",
    "datetime",
    "json",
    "list:string",
    "list:integer",
    "reference t",
]


def value_of(rng: random.Random, kind: str, ids: list[int]) -> Any:
    """Return a random value of a field type; None now and then."""
    if rng.random() < 0.2:
        return None
    number = rng.randrange(-4, 5)
    makers: dict[str, Callable[[], Any]] = {
        "string": lambda: rng.choice(WORDS),
        "text": lambda: rng.choice(WORDS),
        "integer": lambda: number,
        "bigint": lambda: number * 2**40,
        "double": lambda: number / 2,
        "boolean": lambda: number > 0,
        "decimal(8,2)": lambda: Decimal(number * 25).scaleb(-2),
        "date": lambda: DAY + datetime.timedelta(days=number),
        "time": lambda: datetime.time(12 + number, 30),
        "datetime": lambda: datetime.datetime(2019, 12, 31, 12) + datetime.timedelta(hours=9 * number),
        "json": lambda: {"n": number},
        "list:string": lambda: rng.sample(WORDS[1:], rng.randrange(3)),
        "list:integer": lambda: [rng.randrange(4) for _ in range(rng.randrange(3))],
        "reference t": lambda: rng.choice(ids) if ids else None,
    }
    return makers[kind]()


class Calls:
    """One random sequence of calls, made on two databases at once."""

    def __init__(self, rng: random.Random, databases: list[Any]) -> None:
        self.rng, self.databases = rng, databases
        kinds = [rng.choice(TYPES) for _ in range(rng.randrange(2, 7))]
        self.kinds = {f"f{number}": kind for number, kind in enumerate(kinds)}
        for db in databases:
            db.define_table("t", *[Field(name, kind) for name, kind in self.kinds.items()])
        self.ids: list[int] = []
        self.last = 0

    def both(self, call: Callable[[Any], Any]) -> None:
        """Make a call on both databases, and compare what they give."""
        expected, found = (call(db) for db in self.databases)
        assert found == expected, (self.kinds, self.databases[1]._lastplan)

    def insert(self) -> None:
        """Insert a row under the same id."""
        self.last += 1
        row = {name: value_of(self.rng, kind, self.ids) for name, kind in self.kinds.items() if self.rng.random() < 0.9}
        self.both(lambda db: int(db.t.insert(id=self.last, **row)))
        self.ids.append(self.last)

    def leaf(self) -> Callable[[Any], Any]:
        """Return a function from a table to a random condition."""
        rng = self.rng
        name, kind = rng.choice([*self.kinds.items(), ("id", "integer")])
        value = value_of(rng, kind, self.ids)
        if kind.startswith("list:"):
            element = rng.choice(WORDS[1:]) if kind == "list:string" else rng.randrange(4)
            return rng.choice([lambda t: t[name].contains(element), lambda t: t[name] == None])  # noqa: E711
        if kind == "json":
            return lambda t: t[name] == None  # noqa: E711
        if kind in ("date", "datetime") and rng.random() < 0.4:
            year, part = rng.choice([2019, 2020]), rng.choice(["year", "month", "day"])
            number = year if part == "year" else rng.choice([1, 12, 31])
            operator = rng.choice(["==", "!=", "<", ">="])
            return lambda t: compared(getattr(t[name], part)(), operator, number)
        if kind in ("string", "text") and rng.random() < 0.5:
            word = rng.choice(WORDS)
            method = rng.choice(["startswith", "endswith", "contains", "like"])
            pattern = word + "%" if method == "like" else word
            return lambda t: getattr(t[name], method)(pattern)
        if rng.random() < 0.3:
            values = [value_of(rng, kind, self.ids) for _ in range(rng.randrange(4))]
            values = [item for item in values if item is not None]
            return lambda t: t[name].belongs(values)
        operator = rng.choice(
            ["==", "!="] if value is None or kind == "boolean" else ["==", "!=", "<", "<=", ">", ">="]
        )
        return lambda t: compared(t[name], operator, value)

    def condition(self, depth: int = 0) -> Callable[[Any], Any]:
        """Return a function from a table to a random query."""
        kind = self.rng.random()
        if depth > 2 or kind < 0.45:
            return self.leaf()
        first, second = self.condition(depth + 1), self.condition(depth + 1)
        if kind < 0.7:
            return lambda t: first(t) & second(t)
        if kind < 0.9:
            return lambda t: first(t) | second(t)
        return lambda t: ~first(t)

    def select(self) -> None:
        """Select, in one of the ways there are."""
        rng, where = self.rng, self.condition()
        sortable = [name for name, kind in self.kinds.items() if kind != "json" and not kind.startswith("list:")]
        name, down = rng.choice([*sortable, "id"]), rng.random() < 0.5
        limit = (rng.randrange(3), rng.randrange(3, 8)) if rng.random() < 0.5 else None

        def rows(db: Any) -> Any:
            order = (~db.t[name] if down else db.t[name]) | db.t.id
            return db(where(db.t)).select(orderby=order, limitby=limit).as_list()

        self.both(rows)
        self.both(lambda db: db(where(db.t)).count())
        self.both(lambda db: db(where(db.t)).isempty())
        self.both(lambda db: [row.id for row in db(where(db.t)).select(db.t.id, limitby=limit)])

    def group(self) -> None:
        """Aggregate and group."""
        where, name = self.condition(), self.rng.choice(list(self.kinds))
        kind = self.kinds[name]
        if kind in ("json", "list:string", "list:integer"):
            return

        def grouped(db: Any) -> Any:
            count = db.t.id.count()
            rows = db(where(db.t)).select(db.t[name], count, groupby=db.t[name], orderby=db.t[name])
            return [(row.t[name], row[count]) for row in rows]

        self.both(grouped)
        self.both(lambda db: db(where(db.t)).count(distinct=db.t[name]))
        self.both(lambda db: {row[name] for row in db(where(db.t)).select(db.t[name], distinct=True)})
        numeric = kind in ("integer", "bigint", "double", "decimal(8,2)")
        for method in ["max", "min", *(["sum", "avg"] if numeric else [])]:
            self.both(lambda db, method=method: aggregate(db(where(db.t)), getattr(db.t[name], method)()))  # type: ignore[misc]

    def join(self) -> None:
        """Join the table with itself along a reference."""
        names = [name for name, kind in self.kinds.items() if kind.startswith("reference")]
        where = self.condition()
        for name in names:

            def joined(db: Any, name: str = name) -> Any:
                other = db.t.with_alias("o")
                rows = db(where(db.t)).select(db.t.id, other.id, left=other.on(other.id == db.t[name]), orderby=db.t.id)
                inner = db(where(db.t) & (other.id == db.t[name])).select(db.t.id, other.ALL, orderby=db.t.id)
                return rows.as_list(), inner.as_list()

            self.both(joined)

    def update(self) -> None:
        """Change some rows."""
        where, name = self.condition(), self.rng.choice(list(self.kinds))
        kind = self.kinds[name]
        value = value_of(self.rng, kind, self.ids)
        if kind == "integer" and self.rng.random() < 0.5:
            self.both(lambda db: db(where(db.t)).update(**{name: db.t[name] + 1}))
        else:
            self.both(lambda db: db(where(db.t)).update(**{name: value}))

    def delete(self) -> None:
        """Delete some rows, and what refers to them."""
        where = self.condition()
        for db in self.databases:  # what SQLite counts leaves out rows that another row's cascade deleted before
            db((db.t.id % 3 == 0) & where(db.t)).delete()
        self.ids = [row.id for row in self.databases[0](self.databases[0].t).select()]

    def run(self) -> None:
        """Make the calls."""
        for _ in range(8):
            self.insert()
        for _ in range(12):
            call = self.rng.choice(
                [self.insert, self.select, self.select, self.group, self.join, self.update, self.delete]
            )
            call()
        self.both(lambda db: db(db.t).select(orderby=db.t.id).as_list())


def compared(first: Any, operator: str, value: Any) -> Any:
    """Return a comparison."""
    return {
        "==": lambda: first == value,
        "!=": lambda: first != value,
        "<": lambda: first < value,
        "<=": lambda: first <= value,
        ">": lambda: first > value,
        ">=": lambda: first >= value,
    }[operator]()


def aggregate(rows: Any, expression: Any) -> Any:
    """Return the one value of an aggregate."""
    return rows.select(expression).first()[expression]


@pytest.mark.parametrize("part", range(6))
def test_random_tables_and_calls_give_the_rows_that_sqlite_gives(connect: Callable[..., Any], part: int) -> None:
    for number in range(10):
        sqlite, datastore = connect("sqlite:memory"), connect(f"datastore:///n{number}")
        sqlite.executesql("PRAGMA case_sensitive_like = ON")
        Calls(random.Random(f"{part}/{number}"), [sqlite, datastore]).run()


@pytest.mark.emulator
def test_the_firestore_emulator_gives_the_same_rows(
    connect: Callable[..., Any], firestore_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    for number in range(5):
        sqlite, datastore = connect("sqlite:memory"), connect(f"datastore://gaeport-dal/n{random.randrange(2**32)}")
        sqlite.executesql("PRAGMA case_sensitive_like = ON")
        Calls(random.Random(f"emulator/{number}"), [sqlite, datastore]).run()
