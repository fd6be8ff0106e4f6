"""Tickets as entities in gaeport's own namespace: one write each, nothing indexed.

`Ticket`: the key is the number, which says group and time, so that lists and charts need keys alone (which are not
billed as reads). `TicketCount`: how often an error happened without being kept, one entity for each group, hour and
process, so that no two processes write the same one.
"""

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gaeport import formats, settings
from gaeport.datastore import own_client, wire
from gaeport.datastore.client import Client, Found, retried
from gaeport.datastore.outcomes import RESENDABLE
from gaeport.tickets.number import NotATicket, Number, parse
from gaeport.tickets.records import Record

TICKET, COUNT = "Ticket", "TicketCount"
HOUR = 3_600  # seconds
BATCH = 100  # tickets in a Commit: a few MB at most
_MAX_COMMIT = 8_000_000  # bytes; a Commit takes 10 MiB
_DELETES = 500  # in a Commit
_TITLE = ("format", "title")


@dataclass(frozen=True, slots=True)
class Count:
    """Errors of one group that were counted in one hour and not kept.

    Attributes:
        group: the group's name.
        hour: the hour's beginning, seconds since 1970.
        process: which process counted.
        count: how many.
        title: the error in a line.
    """

    group: str
    hour: int
    process: str
    count: int
    title: str


class TicketStore:
    """Reads and writes tickets. Every method may raise DatastoreError."""

    def __init__(self, client: Client | None = None) -> None:
        """Prepare; nothing is called yet.

        Args:
            client: the thin client to use; by default the one on gaeport's own namespace.
        """
        self._client = client or own_client()

    def write(self, records: Sequence[Record], *, attempts: int = 1) -> None:
        """Keep tickets: one Commit for about 100. Those that are kept already stay as they are.

        Args:
            records: what `records.build` gave.
            attempts: how often a Commit is tried in all.
        """
        mutations: list[Any] = []
        size = 0
        for record in records:
            mutation = wire.Mutation(upsert=_encoded(self._client.key(TICKET, record["number"]), record))
            size += mutation.ByteSize()
            if mutations and (size > _MAX_COMMIT or len(mutations) == BATCH):
                self._commit(mutations, attempts)
                mutations, size = [], mutation.ByteSize()
            mutations.append(mutation)
        if mutations:
            self._commit(mutations, attempts)

    def write_counts(self, counts: Sequence[Count]) -> None:
        """Keep counts, each replacing what was kept of the same group, hour and process. One Commit a 500."""
        for start in range(0, len(counts), _DELETES):
            batch = counts[start : start + _DELETES]
            self._commit([wire.Mutation(upsert=self._count_entity(count)) for count in batch], 3)

    def read(self, number: str) -> Record | None:
        """Return a ticket's record, or None. One Lookup."""
        found = self._client.lookup([self._client.key(TICKET, number)])[0]
        return None if found is None else _record(found)

    def titles(self, numbers: Sequence[str]) -> dict[str, str]:
        """Return what happened in a line, by number. One Lookup a 1,000."""
        keys = [self._client.key(TICKET, number) for number in numbers]
        found = self._client.lookup(keys, mask=_TITLE) if keys else []
        return {
            number: entity.entity.properties["title"].string_value
            for number, entity in zip(numbers, found, strict=True)
            if entity is not None
        }

    def numbers(self, group: str | None = None) -> Iterator[Number]:
        """Yield the numbers of all tickets, or of one group's, by group and time. One query, keys only, a 300."""
        query = wire.Query()
        query.kind.add(name=TICKET)
        query.projection.add().property.name = "__key__"
        if group is not None:
            conditions = query.filter.composite_filter
            conditions.op = wire.AND
            for operator, name in ((wire.GREATER_THAN_OR_EQUAL, f"{group}-"), (wire.LESS_THAN, f"{group}.")):
                condition = conditions.filters.add().property_filter
                condition.property.name, condition.op = "__key__", operator
                condition.value.key_value.CopyFrom(self._client.key(TICKET, name))
        for found in self._client.query(query):
            try:
                yield parse(found.entity.key.path[-1].name)
            except NotATicket:  # another program's entity of this kind
                continue

    def counts(self) -> Iterator[Count]:
        """Yield all counts. One query a 300."""
        query = wire.Query()
        query.kind.add(name=COUNT)
        for found in self._client.query(query):
            group, hour, process = found.entity.key.path[-1].name.split("-", 2)
            properties = found.entity.properties
            yield Count(group, int(hour), process, properties["count"].integer_value, properties["title"].string_value)

    def remove(self, numbers: Iterable[str], counts: Iterable[Count] = ()) -> int:
        """Remove tickets and counts; returns how many. One Commit a 500."""
        keys = [self._client.key(TICKET, number) for number in numbers]
        keys += [self._client.key(COUNT, _count_name(count)) for count in counts]
        for start in range(0, len(keys), _DELETES):
            self._commit([wire.Mutation(delete=key) for key in keys[start : start + _DELETES]], 6)
        return len(keys)

    def _commit(self, mutations: list[Any], attempts: int) -> None:
        retried(lambda: self._client.commit(mutations), RESENDABLE, attempts)

    def _count_entity(self, count: Count) -> Any:
        entity = wire.Entity(key=self._client.key(COUNT, _count_name(count)))
        _unindexed(entity, "count").integer_value = count.count
        _unindexed(entity, "title").string_value = count.title
        _expire(entity, count.hour)
        return entity


def hour_of(seconds: float | None = None) -> int:
    """Return the beginning of an hour, seconds since 1970; of the present one by default."""
    return int(time.time() if seconds is None else seconds) // HOUR * HOUR


def recode(found: Found) -> Any:
    """Return a ticket's entity in the format that is written now."""
    return _encoded(found.entity.key, {**_record(found), "format": settings.current().format})


def _encoded(key: Any, record: Record) -> Any:
    entity = wire.Entity(key=key)
    _unindexed(entity, "format").integer_value = settings.current().format
    _unindexed(entity, "title").string_value = record["title"]
    raw = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
    _unindexed(entity, "record").blob_value = zlib.compress(raw, 6)
    _expire(entity, record["time"])
    return entity


def _record(found: Found) -> Record:
    properties = found.entity.properties
    formats.check(properties["format"].integer_value if "format" in properties else None, "a ticket")
    record: Record = json.loads(zlib.decompress(properties["record"].blob_value))
    return record


def _count_name(count: Count) -> str:
    return f"{count.group}-{count.hour}-{count.process}"


def _expire(entity: Any, since: float) -> None:
    # A timestamp, since Datastore's TTL policy wants one; unindexed, since a growing index would be a hot spot.
    end = since + settings.current().tickets.keep_days * 86_400
    _unindexed(entity, "expires").timestamp_value.FromMilliseconds(int(end * 1_000))


def _unindexed(entity: Any, name: str) -> Any:
    value = entity.properties[name]
    value.exclude_from_indexes = True
    return value
