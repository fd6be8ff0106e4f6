"""Both sides of a transfer read again and compared: counts, checksums, and which rows differ."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gaeport.dal.columns import columns_of
from gaeport.dal.conditions import Everything
from gaeport.dal.transfer.incoming import Tell
from gaeport.dal.transfer.rows import batches, digest

BATCH = 300  # rows; what one query of Datastore returns at most
SHOWN = 10  # ids of each kind of difference


@dataclass(slots=True)
class Comparison:
    """How a table looks on both sides.

    Attributes:
        table: its name.
        rows: how many rows the source has.
        checksum: of the source's rows, in hexadecimal.
        rows_there: how many rows the target has.
        checksum_there: of those of them whose ids the source has too.
        missing: ids that only the source has, the first ten.
        extra: ids that only the target has, the first ten.
        different: ids of rows that differ, the first ten.
    """

    table: str
    rows: int = 0
    checksum: str = ""
    rows_there: int = 0
    checksum_there: str = ""
    missing: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    different: list[int] = field(default_factory=list)

    def equal(self, *, merged: bool) -> bool:
        """Return whether nothing was lost; `merged` allows the target rows of its own."""
        same = self.checksum == self.checksum_there and not self.missing and not self.different
        return same and (merged or self.rows == self.rows_there)

    def differences(self) -> str:
        """Return in words which rows differ; "" for none."""
        parts = (("missing", self.missing), ("different", self.different), ("only in the target", self.extra))
        return "; ".join(f"{what}: {', '.join(map(str, ids))}" for what, ids in parts if ids)


def compare(source: Any, target: Any, tell: Tell, *, seconds: bool) -> Comparison:
    """Read a table on both sides.

    Args:
        source: the pyDAL table that was read.
        target: the one that was written.
        tell: is told how many rows have been compared.
        seconds: whether fractions of seconds count for nothing.
    """
    found = Comparison(source._tablename)
    here, there = _digests(source, seconds), _digests(target, seconds)
    sums = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if one is not None and (other is None or one[0] <= other[0]):
            found.rows += 1
            sums[0].update(one[1])
            tell(found.table, found.rows)
        if other is not None and (one is None or other[0] <= one[0]):
            found.rows_there += 1
        if one is not None and other is not None and one[0] == other[0]:
            sums[1].update(other[1])
            _note(found.different, one[0], one[1] != other[1])
            one, other = next(here, None), next(there, None)
        elif other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            _note(found.missing, one[0], True)
            one = next(here, None)
        else:
            _note(found.extra, other[0], True)
            other = next(there, None)
    found.checksum, found.checksum_there = (made.hexdigest() for made in sums)
    return found


def undefined(table: Any, tell: Tell) -> dict[str, int]:
    """Return the properties that rows on Datastore have and the table has no field for, with the number of rows.

    Args:
        table: a pyDAL table on Datastore.
        tell: is told how many rows have been looked at.
    """
    store, columns = table._db._adapter.store, columns_of(table)
    known = {column.prop for column in columns.columns.values()}
    known |= {column.folded.prop for column in columns.folding if column.folded is not None}
    counts: dict[str, int] = {}
    for number, found in enumerate(store.client.query(store.query(columns, Everything())), 1):
        for name in found.entity.properties.keys() - known:
            counts[name] = counts.get(name, 0) + 1
        if number % BATCH == 0:
            tell(table._tablename, number)
    return counts


def _note(ids: list[int], number: int, differs: bool) -> None:
    if differs and len(ids) < SHOWN:
        ids.append(number)


def _digests(table: Any, seconds: bool) -> Iterator[tuple[int, bytes]]:
    for batch in batches(table, 0, BATCH):
        for row in batch:
            yield int(row[table._id.name]), digest(table, row, seconds=seconds)
