"""Random queries, and what Google's own algorithm says of the composite indexes that they need.

The algorithm is `google.appengine.datastore.datastore_index` of the package appengine-python-standard. It is not among
the development dependencies, since it pins urllib3 below 2, brings Pillow and grpcio-tools along, and a .pth file of it
imports `google` at every start of the interpreter. So its answers are recorded in `index_oracle.json` (version 3.1.0)
and compared everywhere; where the package is installed, it is asked itself. To record anew:

    python -m tests.datastore.index_oracle > tests/datastore/index_oracle.json
"""

import json
import random
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.indexes import Index
from tests.datastore.build import both, query, where

RECORDED = Path(__file__).with_name("index_oracle.json")
KINDS = ("A", "B")
PROPERTIES = ("p", "q", "r", "s", "t")
KEY = "__key__"
_COUNT = 600


@dataclass
class Case:
    """A query and the indexes that exist, by names alone.

    Attributes:
        kind, ancestor: the query's; the kind is None for a query of all kinds.
        equal: properties with an equality filter.
        unequal: the property with an inequality, if there is one.
        orders, project, distinct: as `build.query` takes them.
        existing: indexes as (kind, ancestor, [(name, direction)]).
        best: the best index that Google's algorithm names for the query, or None when none is needed.
        minimal: what it names when `existing` are there: None when they serve.
    """

    kind: str | None
    ancestor: bool
    equal: list[str]
    unequal: str | None
    orders: list[str]
    project: list[str]
    distinct: list[str]
    existing: list[Any]
    best: Any = None
    minimal: Any = None

    def message(self) -> Any:
        """Return the query as a `wire.Query`."""
        parent = wire.Key(path=[wire.PathElement(kind="P", id=1)])
        filters = [where(name, "=", parent if name == KEY else 1) for name in self.equal]
        if self.unequal:
            filters.append(where(self.unequal, ">", parent if self.unequal == KEY else 1))
        if self.ancestor:
            filters.append(where(KEY, "ancestor", parent))
        random.Random(str(self.existing)).shuffle(filters)
        return query(
            self.kind,
            both(*filters) if filters else None,
            order=tuple(self.orders),
            project=tuple(self.project),
            distinct=tuple(self.distinct),
        )

    def indexes(self) -> list[Index]:
        """Return the existing indexes."""
        return [index(item) for item in self.existing]


def index(item: Any) -> Index:
    """Return the Index of (kind, ancestor, [(name, direction)])."""
    kind, ancestor, properties = item
    return Index(kind, ancestor, tuple((name, direction) for name, direction in properties))


def make_case(chance: random.Random) -> Case:
    """Return a random query that Google's algorithm takes: one inequality at most, which comes first in the orders."""
    names = list(PROPERTIES)
    chance.shuffle(names)
    equal = names[: chance.choice((0, 0, 1, 1, 2, 3))]
    free = names[len(equal) :]
    if chance.random() < 0.08:
        equal.append(KEY)
    unequal = chance.choice((None, None, free[0], KEY if KEY not in equal else None))
    orders = [*free[1:], *equal, *([KEY] if KEY not in equal else []) * 2]
    chance.shuffle(orders)
    orders = list(dict.fromkeys(orders))[: chance.choice((0, 0, 1, 1, 2, 3))]
    if orders and unequal:
        orders = [unequal, *(name for name in orders if name != unequal)]
    project = [name for name in free if chance.random() < 0.4] if chance.random() < 0.25 else []
    distinct = [name for name in project if chance.random() < 0.5]
    signed = [f"-{name}" if chance.random() < 0.4 else name for name in orders]
    kind = None if chance.random() < 0.03 else chance.choice(KINDS)
    case = Case(kind, chance.random() < 0.3, equal, unequal, signed, project, distinct, [])
    case.existing = [_index_near(case, chance) for _ in range(chance.choice((0, 1, 2, 3, 4)))]
    return case


def _index_near(case: Case, chance: random.Random) -> Any:
    """Return an index that might well serve a part of the query."""
    ending = [(name.removeprefix("-"), "desc" if name.startswith("-") else "asc") for name in case.orders]
    named = [name for name, _ in ending]
    more = [case.unequal] if case.unequal and case.unequal not in named else []
    more += [name for name in case.project if name not in (*named, *more)]
    chance.shuffle(more)
    ending = [item for item in ending if item[0] not in case.equal and item != (KEY, "asc")]
    ending += [(name, chance.choice(("asc", "desc"))) for name in more]
    start = [(name, chance.choice(("asc", "desc"))) for name in case.equal if chance.random() < 0.6]
    chance.shuffle(start)
    if chance.random() < 0.1:
        chance.shuffle(ending)
    properties = list(dict.fromkeys(start + ending))
    kind = case.kind if case.kind and chance.random() < 0.95 else chance.choice(KINDS)
    return [kind, chance.random() < (0.7 if case.ancestor else 0.1), properties or [("p", "asc")]]


class Oracle:
    """Google's algorithm. Raises ImportError where appengine-python-standard is not installed."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from google.appengine.datastore import datastore_index, datastore_pb
        self._algorithm: Any = datastore_index
        self._messages: Any = datastore_pb

    def answer(self, case: Case) -> None:
        """Put Google's answers into a case."""
        required, kind, ancestor, properties = self._algorithm.CompositeIndexForQuery(self._query(case))
        case.best = self._index(kind, ancestor, properties) if required else None
        case.minimal = self.minimal(case, case.indexes())

    def minimal(self, case: Case, existing: list[Index]) -> Any:
        """Return the smallest index that is missing when `existing` are there, or None."""
        definitions = [
            self._algorithm.Index(
                kind=item.kind,
                ancestor=item.ancestor,
                properties=[self._algorithm.Property(name=name, direction=way) for name, way in item.properties],
            )
            for item in existing
        ]
        found = self._algorithm.MinimalCompositeIndexForQuery(self._query(case), definitions)
        return None if found is None else self._index(*found[1:])

    def _index(self, kind: str, ancestor: bool, properties: Any) -> Any:
        descending = self._algorithm.DESCENDING
        found = self._algorithm.GetRecommendedIndexProperties(properties)
        return [kind, ancestor, [[p.name, "desc" if p.direction == descending else "asc"] for p in found]]

    def _query(self, case: Case) -> Any:
        made = self._messages.Query(app="x", kind=case.kind or "")
        if case.ancestor:
            made.ancestor.app = "x"
            made.ancestor.path.SetInParent()
        filters = [(name, made.Filter.EQUAL) for name in case.equal]
        filters += [(case.unequal, made.Filter.GREATER_THAN)] if case.unequal else []
        for name, operator in filters:
            part = made.filter.add(op=operator)
            part.property.add(name=name, multiple=False).value.int64Value = 1
        for name in case.orders:
            way = made.Order.DESCENDING if name.startswith("-") else made.Order.ASCENDING
            made.order.add(property=name.removeprefix("-"), direction=way)
        made.property_name.extend(case.project)
        made.group_by_property_name.extend(case.distinct)
        return made


def recorded() -> list[Case]:
    """Return the recorded cases."""
    return [Case(**item) for item in json.loads(RECORDED.read_text("utf-8"))]


def main() -> None:
    """Write recorded cases to standard output, one a line."""
    oracle, chance = Oracle(), random.Random(3)
    cases = [make_case(chance) for _ in range(_COUNT)]
    for case in cases:
        oracle.answer(case)
    sys.stdout.write("[\n" + ",\n".join(json.dumps(asdict(case), separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
