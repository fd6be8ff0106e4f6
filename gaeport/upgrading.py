"""Rewriting what a former release stored, in the format of this one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gaeport import formats
from gaeport.datastore import wire
from gaeport.datastore.client import BATCH, Client, Found, backoff
from gaeport.datastore.mutations import update
from gaeport.datastore.outcomes import REPEATABLE
from gaeport.errors import Aborted
from gaeport.fs.datastore import entries
from gaeport.sessions.stores import entities as sessions
from gaeport.tickets import store as tickets

ATTEMPTS = 20
THREADS = 8  # entities in flight

#: What turns an entity of each kind that has a format into one of the format that is written.
KINDS: dict[str, Callable[[Found], Any]] = {
    "Entry": entries.recode,
    "Inode": entries.recode,
    sessions.KIND: sessions.recode,
    tickets.TICKET: tickets.recode,
}


@dataclass(slots=True)
class Rewritten:
    """How many entities were looked at, and how many of them had a former format."""

    seen: int = 0
    older: int = 0


def rewrite(client: Client, report: Callable[[Rewritten], None], *, dry_run: bool = False) -> Rewritten:
    """Bring all entities of a namespace to the newest format. May be interrupted and run again, beside the application.

    Args:
        client: on the namespace of gaeport's own entities.
        report: called after each batch.
        dry_run: only count.

    Returns:
        What there was. A query reads each entity; one of a former format costs a Lookup and a Commit.

    Raises:
        DatastoreError: Datastore does not answer, or an entity has a format that this release does not read.
    """
    done = Rewritten()
    with ThreadPoolExecutor(THREADS) as pool:
        for kind, recode in KINDS.items():
            for batch in _batches(client, kind):
                older = [found.entity.key for found in batch if _format(found) != formats.NEWEST]
                done.seen, done.older = done.seen + len(batch), done.older + len(older)
                if not dry_run:
                    list(pool.map(lambda key, recode=recode: _rewrite(client, key, recode), older))
                report(done)
    return done


def _batches(client: Client, kind: str) -> Iterator[list[Found]]:
    query = wire.Query()
    query.kind.add(name=kind)
    found = client.query(query, mask=("format",))
    while batch := list(islice(found, BATCH)):
        yield batch


def _format(found: Found) -> int | None:
    return found.entity.properties["format"].integer_value if "format" in found.entity.properties else None


def _rewrite(client: Client, key: Any, recode: Callable[[Found], Any]) -> None:
    """Rewrite one entity where it still has a former format; what somebody else wrote meanwhile counts."""
    for attempt in range(ATTEMPTS):
        found = client.lookup([key])[0]
        if found is None or _format(found) == formats.NEWEST:
            return
        try:
            client.commit([update(recode(found), found.version)])
        except REPEATABLE:
            backoff(attempt)
        else:
            return
    raise Aborted(f"{key.path[-1].kind} {key.path[-1].name or key.path[-1].id} was changed each time; run it again")
