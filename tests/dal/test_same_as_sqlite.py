"""Random tables and calls give the same rows on `sqlite:memory` and on `datastore://`, with a buffer too."""

import datetime
import random
from collections.abc import Callable
from decimal import Decimal
from functools import partial
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
    "decimal(24,3)",
    "date",
    "time",
    "datetime",
    "json",
    "password",
    "upload",
    "blob",
    "list:string",
    "list:integer",
    "list:reference t",
    "reference t",
    "big-reference t",
]
WORDY = ("string", "text", "password", "upload")
NUMERIC = ("integer", "bigint", "double", "decimal(8,2)")


def value_of(rng: random.Random, kind: str, ids: list[int]) -> Any:
    """Return a random value of a field type; None now and then."""
    if rng.random() < 0.2:
        return None
    number = rng.randrange(-4, 5)
    makers: dict[str, Callable[[], Any]] = {
        **dict.fromkeys(WORDY, lambda: rng.choice(WORDS)),
        "blob": lambda: rng.choice(WORDS[1:]).encode() * 3,
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
        "decimal(24,3)": lambda: Decimal(number * 10**14 + 125).scaleb(-3),
        "list:reference t": lambda: rng.sample(ids, min(len(ids), rng.randrange(3))),
        **dict.fromkeys(("reference t", "big-reference t"), lambda: rng.choice(ids) if ids else None),
    }
    return makers[kind]()


class Calls:
    """One random sequence of calls, made on two databases at once."""

    def __init__(self, rng: random.Random, databases: list[Any], *, commits: bool = False) -> None:
        self.rng, self.databases, self.commits = rng, databases, commits
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
            element = rng.choice(WORDS[1:]) if kind == "list:string" else rng.randrange(1, 5)
            return rng.choice([lambda t: t[name].contains(element), lambda t: t[name] == None])  # noqa: E711
        if kind in ("json", "blob"):
            return lambda t: t[name] == None  # noqa: E711
        if kind in ("date", "datetime") and rng.random() < 0.4:
            year, part = rng.choice([2019, 2020]), rng.choice(["year", "month", "day"])
            number = year if part == "year" else rng.choice([1, 12, 31])
            operator = rng.choice(["==", "!=", "<", ">="])
            return lambda t: compared(getattr(t[name], part)(), operator, number)
        if kind in WORDY and kind != "password" and rng.random() < 0.5:
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
        sortable = [name for name, kind in self.kinds.items() if kind not in ("json", "blob") and "list:" not in kind]
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
        if kind in ("json", "blob") or kind.startswith("list:"):
            return

        def grouped(db: Any) -> Any:
            count = db.t.id.count()
            rows = db(where(db.t)).select(db.t[name], count, groupby=db.t[name], orderby=db.t[name])
            return [(row.t[name], row[count]) for row in rows]

        self.both(grouped)
        self.both(lambda db: db(where(db.t)).count(distinct=db.t[name]))
        self.both(lambda db: {row[name] for row in db(where(db.t)).select(db.t[name], distinct=True)})
        for method in ["max", "min", *(["sum", "avg"] if kind in NUMERIC else [])]:
            self.both(partial(aggregate, where, name, method))

    def join(self) -> None:
        """Join the table with itself along a reference."""
        names = [name for name, kind in self.kinds.items() if "reference t" in kind and "list:" not in kind]
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

    def commit(self) -> None:
        """Keep what was written."""
        for db in self.databases:
            db.commit()

    def rollback(self) -> None:
        """Drop what was written since the last commit."""
        for db in self.databases:
            db.rollback()
        self.ids = [row.id for row in self.databases[0](self.databases[0].t).select()]

    def transaction(self) -> None:
        """Make some calls in a transaction, which fails now and then."""
        sqlite, datastore = self.databases
        sqlite.commit()
        calls = [self.insert, self.select, self.group, self.join, self.update, self.delete]
        try:
            with datastore.transaction():
                for _ in range(self.rng.randrange(1, 6)):
                    self.rng.choice(calls)()
                if self.rng.random() < 0.3:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            sqlite.rollback()
            self.ids = [row.id for row in sqlite(sqlite.t).select()]
        self.both(lambda db: db(db.t).select(orderby=db.t.id).as_list())

    def run(self) -> None:
        """Make the calls."""
        calls = [self.insert, self.select, self.select, self.group, self.join, self.update, self.delete]
        if self.commits:
            self.commit()  # SQLite's tables
            calls += [self.commit, self.rollback]
        for _ in range(8):
            self.insert()
        for _ in range(12):
            self.rng.choice(calls)()
        if self.commits:
            self.commit()
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


def aggregate(where: Callable[[Any], Any], name: str, method: str, db: Any) -> Any:
    """Return the one value of an aggregate."""
    expression = getattr(db.t[name], method)()
    return db(where(db.t)).select(expression).first()[expression]


def compare(connect: Callable[..., Any], seed: str, options: str = "") -> None:
    """Make one random sequence of calls on SQLite and on a namespace of its own."""
    sqlite, datastore = connect("sqlite:memory"), connect(f"datastore:///n{seed}{options}")
    sqlite.executesql("PRAGMA case_sensitive_like = ON")
    Calls(random.Random(seed), [sqlite, datastore], commits=bool(options)).run()


@pytest.mark.parametrize("part", range(6))
def test_random_tables_and_calls_give_the_rows_that_sqlite_gives(connect: Callable[..., Any], part: int) -> None:
    for number in range(5):
        compare(connect, f"{part}-{number}")


@pytest.mark.parametrize("part", range(4))
def test_random_calls_between_commits_and_rollbacks_give_the_rows_that_sqlite_gives(
    connect: Callable[..., Any], part: int
) -> None:
    for number in range(4):
        compare(connect, f"{part}-{number}", "?buffer=request")


def test_random_calls_in_transactions_give_the_rows_that_sqlite_gives(connect: Callable[..., Any]) -> None:
    for number in range(6):
        databases = [connect("sqlite:memory"), connect(f"datastore:///n{number}")]
        databases[0].executesql("PRAGMA case_sensitive_like = ON")
        calls = Calls(random.Random(f"transactions-{number}"), databases)
        for _ in range(5):
            calls.insert()
        for _ in range(4):
            calls.transaction()


@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_two_hundred_random_tables_give_the_rows_that_sqlite_gives(connect: Callable[..., Any], part: int) -> None:
    for number in range(20):
        compare(connect, f"long-{part}-{number}", "?buffer=request" if number % 4 == 3 else "")


@pytest.mark.emulator
def test_the_firestore_emulator_gives_the_same_rows(
    connect: Callable[..., Any], firestore_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    for number in range(5):
        sqlite, datastore = connect("sqlite:memory"), connect(f"datastore://gaeport-dal/n{random.randrange(2**32)}")
        sqlite.executesql("PRAGMA case_sensitive_like = ON")
        Calls(random.Random(f"emulator/{number}"), [sqlite, datastore]).run()
