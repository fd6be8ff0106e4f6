"""What runs of a program recorded: the queries that it asked, and how many values its entities have."""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.recording import SUFFIX
from gaeport.errors import ConfigurationError

Shape = tuple[int, frozenset[tuple[str, int]]]  # length of the key's path; property and its number of values


@dataclass(slots=True)
class Asked:
    """One query, whatever its values, and where it came from.

    Attributes:
        query: a `wire.Query` or `wire.AggregationQuery`, without values.
        places: "file:line" of the code that asked.
        tests: the tests that ran it, as pytest names them.
    """

    query: Any
    places: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Recorded:
    """Recordings put together.

    Attributes:
        queries: each distinct query, in the order of their first appearance.
        shapes: by kind, how many values the properties of its entities have.
    """

    queries: list[Asked] = field(default_factory=list)
    shapes: dict[str, set[Shape]] = field(default_factory=dict)


def load(folders: Iterable[Path]) -> Recorded:
    """Read every recording in folders.

    Raises:
        ConfigurationError: a folder is missing, or a line is not what `gaeport indexes` writes; an unfinished last
            line, of a process that was killed, is left out.
    """
    found: dict[str, Asked] = {}
    shapes: dict[str, set[Shape]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder}: there are no recordings; run: gaeport indexes verify -- COMMAND")
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            for record in _records(path):
                if "query" in record:
                    _add_query(found, record)
                else:
                    shape = (record["depth"], frozenset(record["values"].items()))
                    shapes.setdefault(record["kind"], set()).add(shape)
    return Recorded(list(found.values()), shapes)


def _records(path: Path) -> Iterable[dict[str, Any]]:
    lines = path.read_text("utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):  # what stands after the last line's end is unfinished, or nothing
        try:
            record = json.loads(line)
            complete = isinstance(record, dict) and ("query" in record or "values" in record)
        except ValueError:
            complete = False
        if not complete:
            raise ConfigurationError(
                f"{path}:{number}: is not a line of a recording; remove the file, and record again"
            )
        yield record


def _add_query(found: dict[str, Asked], record: dict[str, Any]) -> None:
    asked = found.get(record["query"])
    if asked is None:
        kind = wire.AggregationQuery if record["type"] == "AggregationQuery" else wire.Query
        asked = found[record["query"]] = Asked(kind.FromString(base64.b64decode(record["query"])))
    if record["place"]:
        asked.places.add(record["place"])
    if record["test"]:
        asked.tests.add(record["test"])
