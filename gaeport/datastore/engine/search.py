"""Running a query: choosing a range to scan, testing entities, ordering and batching the results."""

import sqlite3
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from gaeport.datastore import values, wire
from gaeport.datastore.engine import merge, positions, rows
from gaeport.datastore.engine.kept import KeptLists, identity_of
from gaeport.datastore.engine.names import BY_KIND, Names
from gaeport.datastore.engine.plan import KEY, Alternative, Condition, Order, Plan, make_plan
from gaeport.datastore.engine.transactions import Transaction
from gaeport.datastore.keys import decode_key

MAX_BATCH = 300  # entities in one answer, as in production
MAX_BATCH_BYTES = 3_500_000  # of one answer, so that it fits gRPC's default of 4 MiB a message


_NO_ROW = rows.Row(0, 0, 0, b"")


@dataclass(slots=True)
class Hit:
    """A result before it is read: where it stands, its key, and the values that a projection shows."""

    position: bytes
    key: bytes
    shown: dict[str, bytes] | None = None


@dataclass(slots=True)
class Result:
    """A result with its entity's row."""

    hit: Hit
    row: rows.Row


def fill(result: Any, row: rows.Row, mask: set[str] | None) -> None:
    """Fill an EntityResult from a row, keeping only the properties of `mask` if there is one."""
    result.entity.MergeFromString(row.data)
    if mask is not None:
        for name in [name for name in result.entity.properties if name not in mask]:
            del result.entity.properties[name]
    _fill_versions(result, row)


def _fill_versions(result: Any, row: rows.Row) -> None:
    result.version = row.version
    values.set_micros(result.create_time, row.created)
    values.set_micros(result.update_time, row.version)


class Searcher:
    """One query of one request."""

    def __init__(self, names: Names, kept: KeptLists, request: Any, query: Any) -> None:
        self._names = names
        self._kept = kept
        self._request = request
        self._query = query
        self._plan = make_plan(query, request)
        directions = self._plan.directions
        self._start = positions.from_cursor(query.start_cursor, directions) if query.start_cursor else b""
        self._end = positions.from_cursor(query.end_cursor, directions) if query.end_cursor else None

    @property
    def plan(self) -> Plan:
        """The query in the shape in which it is executed."""
        return self._plan

    def results(
        self, db: sqlite3.Connection, transaction: Transaction | None, at: int | None, *, with_rows: bool
    ) -> Iterator[Result]:
        """Yield the results in order, offset and limit applied, cursors too; without rows, they are empty."""
        limit = self._query.limit.value if self._query.HasField("limit") else None
        count = -self._query.offset
        run = self._run(db, transaction, at)
        for hit in self._within(run.hits(self._start)):
            count += 1
            if limit is not None and count > limit:
                return
            if count > 0:
                yield Result(hit, run.row(hit.key) if with_rows else _NO_ROW)

    def count(
        self, db: sqlite3.Connection, transaction: Transaction | None, at: int | None, most: int | None
    ) -> int | None:
        """Return the number of results, at most `most`, where index entries alone tell it; else None."""
        if self._start or self._end is not None:
            return None
        if self._query.HasField("limit"):
            most = self._query.limit.value if most is None else min(most, self._query.limit.value)
        offset = self._query.offset
        found = self._run(db, transaction, at).count(None if most is None else most + offset)
        return None if found is None else max(0, found - offset)

    def _run(self, db: sqlite3.Connection, transaction: Transaction | None, at: int | None) -> "_Run":
        return _Run(db, self._plan, self._names, self._request, transaction, at, self._kept, self._query)

    def _within(self, hits: Iterable[Hit]) -> Iterator[Hit]:
        for hit in hits:
            if self._end is not None and hit.position > self._end:
                return
            yield hit

    def fill_batch(self, db: sqlite3.Connection, batch: Any, transaction: Transaction | None, at: int | None) -> None:
        """Fill a QueryResultBatch with as many results as one answer holds."""
        plan, query = self._plan, self._query
        batch.entity_result_type = (
            wire.PROJECTION if plan.projection else wire.KEY_ONLY if plan.keys_only else wire.FULL
        )
        limit = query.limit.value if query.HasField("limit") else None
        room = MAX_BATCH if limit is None else min(limit, MAX_BATCH)
        batch.end_cursor = query.start_cursor
        batch.more_results = wire.NO_MORE_RESULTS
        if limit == 0:
            batch.more_results = wire.MORE_RESULTS_AFTER_LIMIT
            return
        run = self._run(db, transaction, at)
        with closing(run.hits(self._start)) as hits:
            self._fill(batch, hits, run, room)

    def _fill(self, batch: Any, hits: Iterable[Hit], run: "_Run", room: int) -> None:
        size = 0
        for hit in hits:
            if self._end is not None and hit.position > self._end:
                batch.more_results = wire.MORE_RESULTS_AFTER_CURSOR
                return
            if batch.skipped_results < self._query.offset:
                batch.skipped_results += 1
                batch.skipped_cursor = batch.end_cursor = positions.to_cursor(hit.position)
                continue
            if len(batch.entity_results) == room or size > MAX_BATCH_BYTES:
                full = self._query.HasField("limit") and len(batch.entity_results) == self._query.limit.value
                batch.more_results = wire.MORE_RESULTS_AFTER_LIMIT if full else wire.NOT_FINISHED
                return
            size += self._add(batch, hit, run.row(hit.key))

    def _add(self, batch: Any, hit: Hit, row: rows.Row) -> int:
        """Add one result and return its size in bytes."""
        result = batch.entity_results.add()
        result.cursor = batch.end_cursor = positions.to_cursor(hit.position)
        if hit.shown is None and not self._plan.keys_only:
            mask = set(self._request.property_mask.paths) if self._request.HasField("property_mask") else None
            fill(result, row, mask)
            return len(row.data)
        result.entity.key.CopyFrom(decode_key(hit.key))
        for name, encoded in (hit.shown or {}).items():
            result.entity.properties[name].CopyFrom(values.decode_value(encoded))
        _fill_versions(result, row)
        return 200 + len(hit.key)


class _Run:
    """One execution of a plan inside one SQLite transaction."""

    def __init__(
        self,
        db: sqlite3.Connection,
        plan: Plan,
        names: Names,
        request: Any,
        transaction: Transaction | None,
        at: int | None,
        kept: KeptLists,
        query: Any,
    ) -> None:
        self._kept = kept
        self._query = query
        self._db = db
        self._plan = plan
        self._names = names
        self._project = request.project_id
        self._database = request.database_id
        self._transaction = transaction
        self._at = at
        self._last: tuple[bytes, rows.Row | None] = (b"", None)

    def row(self, key: bytes) -> rows.Row:
        """Return the row of a hit."""
        row = self._read(key)
        assert row is not None, "an index entry without its entity"
        return row

    def _read(self, key: bytes) -> rows.Row | None:
        if self._last[0] != key:
            self._last = (key, rows.row_at(self._db, key, self._at))
            if self._transaction is not None:
                self._transaction.keys.add(key)
        return self._last[1]

    def hits(self, start: bytes) -> Generator[Hit, None, None]:
        """Yield all hits after a position, in order."""
        found = self._streamed(start) if self._streams() else self._walked(start) or self._sorted(start)
        return _distinct(found, self._plan, start) if self._plan.distinct else found

    def count(self, most: int | None) -> int | None:
        """Return the number of hits, at most `most`, where one index has it; else None."""
        plan, alternative = self._plan, self._plan.alternatives[0]
        names = {*alternative.properties, *(order.name for order in plan.ordering)}
        if len(plan.alternatives) > 1 or plan.kind is None or plan.projection or plan.distinct or len(names) > 1:
            return None
        condition = next(iter(alternative.properties.values()), Condition())
        one_value = condition.only_equal and len(condition.equal) == 1
        if names and not one_value and (condition.equal or plan.orders[0].name not in names):
            return None
        scans = self._scans(alternative)
        if not scans:
            return 0
        left_out = (condition.excluded, alternative.key.excluded)
        return rows.count(self._db, scans[0], self._at, *left_out, most=most)

    def _streams(self) -> bool:
        """Whether one scan gives the hits in their order."""
        orders = self._plan.orders
        if len(self._plan.alternatives) != 1 or orders[-1].name != KEY or len(orders) > 2:
            return False
        if len(orders) == 1:
            return True
        selective = any(condition.equal for condition in self._plan.alternatives[0].properties.values())
        return orders[0].descending == orders[1].descending and not selective

    def _streamed(self, start: bytes) -> Generator[Hit, None, None]:
        plan, alternative = self._plan, self._plan.alternatives[0]
        scans = self._scans(alternative)
        if not scans:
            return
        after = None
        if start:
            parts = positions.split(start, plan.directions)
            after = (parts[0] if plan.ordering else scans[0].low, parts[-1])
        down = plan.orders[-1].descending
        reached: tuple[bytes, bytes] | None = None
        try:
            for value, key in self._candidates(scans, down=down, after=after):
                reached = (value, key)
                yield from self._at_its_place(alternative, value, key)
            reached = None
        finally:
            if reached is not None:
                self._narrow(scans, *reached, down=down)

    def _at_its_place(self, alternative: Alternative, value: bytes, key: bytes) -> Iterator[Hit]:
        """Yield what `_test` finds. An entity with several values of the ordering property stands at one of them only,
        unless projected."""
        ordering = self._plan.ordering
        for hit in self._test(alternative, key):
            if not ordering or hit.position == self._place({ordering[0].name: value}, key):
                yield hit

    def _candidates(
        self, scans: list[rows.Scan], *, down: bool = False, after: tuple[bytes, bytes] | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (value, key) of what stands in all ranges."""
        if len(scans) == 1:
            return rows.entries(self._db, scans[0], self._at, descending=down, after=after)
        last = after[1] if after else None
        keys = merge.common_keys(self._db, scans, self._at, descending=down, after=last)
        return ((scans[0].low, key) for key in keys)

    def _walked(self, start: bytes) -> Generator[Hit, None, None] | None:
        """Yield the hits along the index of the one order, where equality filters leave too many to be sorted; None
        where sorting is better, or needed."""
        plan = self._plan
        orders, alternatives = plan.orders, plan.alternatives
        if self._transaction is not None or self._at is not None or len(alternatives) != 1 or len(orders) != 2:
            return None
        name, down = orders[0].name, orders[0].descending
        if orders[1] != Order(KEY, down) or plan.kind is None:
            return None
        condition = alternatives[0].properties.get(name, Condition())
        number = self._names.find(self._db, plan.partition, plan.kind, name)
        others = self._scans(alternatives[0])
        if condition.equal or number is None or not others or any(merge.is_small(self._db, scan) for scan in others):
            return None
        keys = alternatives[0].key
        scan = rows.Scan(number, condition.low, condition.high, keys.low, keys.high)
        after = None
        if start:
            value, key = positions.split(start, plan.directions)
            after = (value, key)
        found = merge.entries_also_in(self._db, scan, others, descending=down, after=after)
        return (hit for value, key in found for hit in self._at_its_place(alternatives[0], value, key))

    def _narrow(self, noted: list[rows.Scan], value: bytes, key: bytes, *, down: bool) -> None:
        """Note that a scan ended early: what lies beyond was not read, so its changes are no conflict."""
        if self._transaction is None:
            return
        scans = self._transaction.scans
        for scan in noted:
            if self._plan.ordering:
                read = replace(scan, low=value) if down else replace(scan, high=value + b"\x00")
            else:
                read = replace(scan, key_low=key) if down else replace(scan, key_high=key + b"\x00")
            scans[scans.index(scan)] = read

    def _sorted(self, start: bytes) -> Generator[Hit, None, None]:
        settled = self._at is None or self._at <= rows.sequence(self._db)
        hits = self._sorted_once() if settled and self._transaction is None else self._sort()
        yield from islice(hits, bisect_right(hits, start, key=lambda hit: hit.position), None)

    def _sorted_once(self) -> list[Hit]:
        """Sort, or take what an earlier batch of the same query has sorted."""
        identity = identity_of(self._query, self._plan.partition)
        sequence = rows.sequence(self._db) if self._at is None else self._at
        hits = self._kept.get(identity, sequence)
        if hits is None:
            hits = self._sort()
            if len(hits) > MAX_BATCH:
                self._kept.keep(identity, sequence, hits)
        return hits

    def _sort(self) -> list[Hit]:
        best: dict[tuple[bytes, bytes], Hit] = {}
        for alternative in self._plan.alternatives:
            scans = self._scans(alternative)
            if not scans:
                continue
            seen: set[bytes] = set()
            for _, key in self._candidates(scans):
                if key in seen:
                    continue
                seen.add(key)
                for hit in self._test(alternative, key):
                    # Without a projection an entity is one result, at the first of its places.
                    identity = (key, hit.position if self._plan.projection else b"")
                    known = best.get(identity)
                    if known is None or hit.position < known.position:
                        best[identity] = hit
        return sorted(best.values(), key=lambda hit: hit.position)

    def _scans(self, alternative: Alternative) -> list[rows.Scan]:
        """Choose the ranges whose common keys are tested: of each equality, or else of the order, or of the kind; none
        when one of them must be empty."""
        plan, keys = self._plan, alternative.key
        if plan.kind is None:
            return [self._noted(rows.Scan(None, b"", b"", keys.low, keys.high))]
        ranges = [
            (prop, value, value + b"\x00")
            for prop, condition in alternative.properties.items()
            for value in sorted(condition.equal)
        ]
        if not ranges and plan.orders[0].name != KEY:
            condition = alternative.properties.get(plan.orders[0].name, Condition())
            ranges = [(plan.orders[0].name, condition.low, condition.high)]
        elif not ranges:
            ranges = [(BY_KIND, b"", b"\x00")]
        scans = []
        for name, low, high in ranges:
            number = self._names.find(self._db, plan.partition, plan.kind, name)
            if number is None:
                # Nothing was ever stored there. A transaction watches the kind instead.
                self._watch_unknown(keys)
                return []
            scans.append(rows.Scan(number, low, high, keys.low, keys.high))
        return [self._noted(scan) for scan in scans]

    def _watch_unknown(self, keys: Condition) -> None:
        assert self._plan.kind is not None
        number = self._names.find(self._db, self._plan.partition, self._plan.kind, BY_KIND)
        if number is None:
            self._noted(rows.Scan(None, b"", b"", keys.low, keys.high))
            return
        scan = self._noted(rows.Scan(number, b"", b"\x00", keys.low, keys.high))
        if self._transaction is not None:
            self._transaction.keys.update(key for _, key in rows.entries(self._db, scan, self._at, after=None))

    def _noted(self, scan: rows.Scan) -> rows.Scan:
        if self._transaction is not None:
            self._transaction.scans.append(scan)
        return scan

    def _test(self, alternative: Alternative, key: bytes) -> list[Hit]:
        """Return the hits of an entity: none, one, or with a projection one for each combination of values."""
        plan = self._plan
        if key in alternative.key.excluded or not alternative.key.low <= key < alternative.key.high:
            return []
        if not plan.ordering and all(condition.only_equal for condition in alternative.properties.values()):
            # The index entries that led here say all; a query that counts reads no entity.
            return [Hit(self._place({}, key), key)]
        row = self._read(key)
        assert row is not None, "an index entry without its entity"
        entity = wire.Entity.FromString(row.data)
        satisfied: dict[str, list[bytes]] = {}
        for name in {*alternative.properties, *(order.name for order in plan.ordering)}:
            found = values.values_of(entity, name, self._project, self._database)
            good = alternative.properties.get(name, Condition()).satisfied(found)
            if not good:
                return []
            satisfied[name] = good
        return self._placed(satisfied, key)

    def _placed(self, satisfied: dict[str, list[bytes]], key: bytes) -> list[Hit]:
        plan = self._plan
        chosen = {
            order.name: max(satisfied[order.name]) if order.descending else min(satisfied[order.name])
            for order in plan.ordering
        }
        if not plan.projection:
            return [Hit(self._place(chosen, key), key)]
        hits = []
        for combination in product(*(satisfied[name] for name in plan.projection)):
            shown = dict(zip(plan.projection, combination, strict=True))
            hits.append(Hit(self._place(chosen | shown, key), key, shown))
        return hits

    def _place(self, ordered: dict[str, bytes], key: bytes) -> bytes:
        parts = [key if order.name == KEY else ordered[order.name] for order in self._plan.orders]
        return positions.position(parts, self._plan.directions)


def _distinct(hits: Iterable[Hit], plan: Plan, start: bytes) -> Generator[Hit, None, None]:
    """Keep the first hit of each combination of the distinct properties; one that the cursor had seen is seen."""
    places = [index for name in plan.distinct for index, order in enumerate(plan.orders) if order.name == name]
    seen: set[tuple[bytes, ...]] = set()
    if start:
        seen.add(_combination(start, plan, places))
    for hit in hits:
        combination = _combination(hit.position, plan, places)
        if combination not in seen:
            seen.add(combination)
            yield hit


def _combination(position: bytes, plan: Plan, places: list[int]) -> tuple[bytes, ...]:
    parts = positions.split(position, plan.directions)
    return tuple(parts[index] for index in places)
