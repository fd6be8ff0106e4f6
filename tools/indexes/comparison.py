"""Recorded queries held against the indexes of index.yaml."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gaeport.datastore import index_yaml
from gaeport.datastore.index_needs import KEY
from gaeport.datastore.indexes import Index, missing, serves
from gaeport.datastore.limits import MAX_INDEX_ENTRIES

from ..findings import Finding
from .entries import Entry
from .recordings import Asked, Recorded, Shape
from .wording import index_text, query_text

_MANY_ENTRIES = 1_000  # of one entity in one index: a twentieth of what it may have in all
_SHOWN = 3  # places and tests of a query


@dataclass(frozen=True, slots=True)
class Comparison:
    """What queries need and index.yaml lacks, and the other way round.

    Attributes:
        lacking: indexes to add, each with the queries that need it.
        unused: entries that no recorded query can use.
        redundant: entries that queries use, but that others serve without them, merged or alone.
        repeated: entries that an earlier one says already.
        exploding: indexes under which a recorded entity has many entries, with their number.
    """

    lacking: dict[Index, list[Asked]]
    unused: list[Entry]
    redundant: list[Entry]
    repeated: list[Entry]
    exploding: dict[Index, int]

    @property
    def removable(self) -> list[Entry]:
        """The entries that can go together."""
        return [*self.unused, *self.redundant, *self.repeated]


def compare(entries: Sequence[Entry], recorded: Recorded) -> Comparison:
    """Hold recorded queries against the entries of an index.yaml.

    Args:
        entries: the entries, in the file's order.
        recorded: what was recorded.
    """
    first = {entry.index: entry for entry in reversed(entries)}
    repeated = [entry for entry in entries if first[entry.index] is not entry]
    present = [entry for entry in entries if first[entry.index] is entry]
    lacking = _lacking([entry.index for entry in present], recorded.queries)
    unused = [entry for entry in present if not any(_usable(entry.index, asked) for asked in recorded.queries)]
    kept = [entry for entry in present if entry not in unused]
    redundant = _redundant(kept, list(lacking), recorded.queries)
    indexes = [*(entry.index for entry in present), *lacking]
    counted = {index: most_entries(index, recorded.shapes.get(index.kind, set())) for index in indexes}
    exploding = {index: count for index, count in counted.items() if count > _MANY_ENTRIES}
    return Comparison(lacking, unused, redundant, repeated, exploding)


def most_entries(index: Index, shapes: set[Shape]) -> int:
    """Return the largest number of entries that a recorded entity has in an index; 0 where none was recorded."""
    names = [name for name, _ in index.properties if name != KEY]
    counts = (
        prod(dict(values).get(name, 0) for name in names) * (depth if index.ancestor else 1) for depth, values in shapes
    )
    return max(counts, default=0)


def findings(found: Comparison, root: Path) -> list[Finding]:
    """Return a comparison as findings, with the queries, the code and the tests behind each.

    Args:
        found: the comparison.
        root: the application's folder; places in it are told from there.
    """
    result = [_lacking_finding(index, asked, root) for index, asked in found.lacking.items()]
    for code, entries, what, fix in (
        ("unused", found.unused, "no recorded query can use it", "gaeport indexes prune, if the recording is complete"),
        ("redundant", found.redundant, "other indexes serve its queries without it", "gaeport indexes prune"),
        ("repeated", found.repeated, "an earlier entry says the same", "gaeport indexes prune"),
    ):
        for entry in entries:
            message = f"{index_text(entry.index)}: {what}; each write of an entity pays for it"
            result.append(Finding(f"indexes.{code}", "warning", message, fix, index_yaml.FILE_NAME, entry.line))
    for index, count in found.exploding.items():
        result.append(_exploding_finding(index, count))
    return result


def _lacking(present: list[Index], queries: list[Asked]) -> dict[Index, list[Asked]]:
    found: dict[Index, list[Asked]] = {}
    for asked in queries:
        for index in missing(present, asked.query):
            found.setdefault(index, []).append(asked)
    # One that merges or covers others may make them needless: keep what the queries need in the end.
    for index in sorted(found, key=lambda index: len(index.properties)):
        others = [*present, *(other for other in found if other != index)]
        if all(serves(others, asked.query) for asked in queries):
            del found[index]
    return found


def _usable(index: Index, asked: Asked) -> bool:
    """Whether a query that has nothing but the built-in indexes lacks less with an index than without it."""
    before = missing((), asked.query)
    return bool(before) and _helps(index, asked, before)


def _helps(index: Index, asked: Asked, before: tuple[Index, ...]) -> bool:
    from gaeport.datastore.indexes import minimal

    after = minimal((index,), asked.query)
    return not after or _size(after) < _size(before)


def _size(indexes: Sequence[Index]) -> int:
    return sum(len(index.properties) + index.ancestor for index in indexes)


def _redundant(kept: list[Entry], lacking: list[Index], queries: list[Asked]) -> list[Entry]:
    """Return entries without which every query is served as before, one after the other, the widest first."""
    found: list[Entry] = []
    served = [asked for asked in queries if serves([*(entry.index for entry in kept), *lacking], asked.query)]
    for entry in sorted(kept, key=lambda entry: -len(entry.index.properties)):
        others = [other.index for other in kept if other is not entry and other not in found]
        if all(serves([*others, *lacking], asked.query) for asked in served):
            found.append(entry)
    return found


def _lacking_finding(index: Index, asked: list[Asked], root: Path) -> Finding:
    places = sorted({_short(place, root) for one in asked for place in one.places})
    tests = sorted({test for one in asked for test in one.tests})
    texts = list(dict.fromkeys(query_text(one.query) for one in asked))
    lines = [f"asked:    {text}" for text in texts[:_SHOWN]]
    lines += [f"by:       {', '.join(places[:_SHOWN])}{' …' if len(places) > _SHOWN else ''}"] if places else []
    lines += [f"in test:  {', '.join(tests[:_SHOWN])}{' …' if len(tests) > _SHOWN else ''}"] if tests else []
    lines += ["gaeport indexes update adds:", *index_yaml.render([index]).splitlines()]
    return Finding(
        "indexes.missing",
        "error",
        f"{index_text(index)}: production refuses {len(texts)} recorded quer{'y' if len(texts) == 1 else 'ies'}",
        "\n".join(lines),
        index_yaml.FILE_NAME,
    )


def _exploding_finding(index: Index, count: int) -> Finding:
    over = count > MAX_INDEX_ENTRIES
    return Finding(
        "indexes.exploding",
        "error" if over else "warning",
        f"{index_text(index)}: one recorded entity has {count:,} entries in it; all indexes of an entity together may "
        f"have {MAX_INDEX_ENTRIES:,}, and each is paid for",
        "index one list a query, and filter the other in the program; or store the pairs that are asked for",
        index_yaml.FILE_NAME,
    )


def _short(place: str, root: Path) -> str:
    path, _, line = place.rpartition(":")
    return f"{os.path.relpath(path, root)}:{line}" if Path(path).is_relative_to(root) else place
