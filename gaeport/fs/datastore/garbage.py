"""Removing content that no file needs any more: what was dropped, and what an abandoned writer left. And the locks of
those who died with them.

Only the kinds `Upload`, `Garbage` and `Lease` are read, never the entries: a scan for what nothing refers to would take
a file that was renamed behind it, a slow writer's blobs, and what a reader of a just-unlinked file still needs.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from gaeport import blobs as blob_stores
from gaeport.blobs import BlobStore
from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found, retried
from gaeport.datastore.mutations import delete, insert
from gaeport.datastore.outcomes import CONFLICTS, UNCERTAIN
from gaeport.fs.datastore.abandoned import Abandoned
from gaeport.fs.datastore.entries import chunk_key, new_id, record

KEEP_DAYS = 8  # one more than the 7 days of Datastore's point-in-time recovery, so that what it restores has its blobs
DAY = 86_400 * 10**9  # nanoseconds
BATCH = 100  # Garbage entities worked on at once; each may name thousands of pieces
DELETES = 500  # mutations in a commit
THREADS = 8  # deletes in flight; each waits for Cloud Storage


@dataclass(slots=True)
class Collected:
    """What a collection did so far, or would do.

    Attributes:
        uploads: abandoned uploads ended.
        garbage: records of dropped content that are done with.
        blobs, chunks: names deleted; a name registered by an upload counts even if it was never written.
        leases: records of locks whose holders died.
        waiting: records too young.
        failed: records kept because a blob store refused to delete what they name.
        problem: the first such refusal.
    """

    uploads: int = 0
    garbage: int = 0
    blobs: int = 0
    chunks: int = 0
    leases: int = 0
    waiting: int = 0
    failed: int = 0
    problem: str = ""


Report = Callable[[Collected], None]


def collect(
    client: Client,
    stores: Sequence[BlobStore],
    *,
    keep_days: float = KEEP_DAYS,
    dry_run: bool = False,
    report: Report = lambda done: None,
) -> Collected:
    """Delete dropped content and abandoned uploads that are old enough.

    It may be killed at any moment and run again, and several may run at once: what names the pieces is deleted last.
    A writer whose upload is ended here cannot publish any more (EIO); what it still writes after that is deleted by
    a later run, when the record of its upload is `keep_days` old.

    Args:
        client: on the namespace of gaeport's own entities.
        stores: every store that a blob may lie in whose record names none. Names are unique, so each of them is asked
            to delete each.
        keep_days: days since the drop, or since the upload last registered names.
        dry_run: count only.
        report: called after each step.

    Returns:
        The counts.

    Raises:
        DatastoreError: Datastore refuses; what was done so far is complete.
    """
    locks = Abandoned(client)
    with ThreadPoolExecutor(THREADS) as pool:
        work = _Collection(client, stores, int(keep_days * DAY), dry_run, report, pool)
        work.empty_garbage()  # first: what an upload becomes below must outlast this run, whatever keep_days is
        work.end_uploads()
        work.done.leases = locks.remove(dry_run=dry_run)
    return work.done


_Named = tuple[list[str], Sequence[BlobStore]]  # what a record names, and the stores to ask


class _Collection:
    """One run."""

    def __init__(
        self,
        client: Client,
        stores: Sequence[BlobStore],
        keep: int,
        dry_run: bool,
        report: Report,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._client = client
        self._stores = stores
        self._keep = keep
        self._dry_run = dry_run
        self._report = report
        self._pool = pool
        self.done = Collected()

    def end_uploads(self) -> None:
        """Put what abandoned uploads name on the list of garbage, so that their commits fail, and delete it."""
        for found in self._old("Upload", "begun"):
            if self._dry_run or self._ended(found):
                self.done.uploads += 1
                stores, upload = self._stores_of(found), found.entity.key.path[-1].name
                self._delete([(upload_sources(upload, found.entity, blobs=bool(stores)), stores)])
            self._report(self.done)

    def empty_garbage(self) -> None:
        """Delete what is named by old Garbage, then the Garbage."""
        old = self._old("Garbage", "dropped")
        while batch := list(islice(old, BATCH)):
            problems = self._delete([self._named(found) for found in batch])
            gone = [found for number, found in enumerate(batch) if number not in problems]
            self.done.failed += len(problems)
            self.done.problem = self.done.problem or next(iter(problems.values()), "")
            if self._dry_run:
                self.done.garbage += len(gone)
            else:
                self._forget(gone)
            self._report(self.done)

    def _old(self, kind: str, since: str) -> Iterator[Found]:
        query = wire.Query()
        query.kind.add(name=kind)
        for found in self._client.query(query):
            if found.entity.properties[since].integer_value <= time.time_ns() - self._keep:
                yield found
            else:
                self.done.waiting += 1

    def _ended(self, found: Found) -> bool:
        """Turn an Upload into Garbage in one commit; False when its writer or another collector was first.

        The Garbage is as old as this moment: a writer that is still alive may write pieces until it tries to publish.
        """
        upload = found.entity.key.path[-1].name
        values = {name: found.entity.properties[name].integer_value for name in ("count", "ino")}
        key = self._client.key("Garbage", new_id())
        store = found.entity.properties["store"].string_value
        garbage = record(key, upload=upload, store=store, dropped=time.time_ns(), **values)
        return self._committed([delete(found.entity.key, found.version), insert(garbage)])

    def _forget(self, batch: list[Found]) -> None:
        if batch and not self._committed([delete(found.entity.key, found.version) for found in batch]):
            for found in batch:  # another collector took some of them
                self.done.garbage += self._committed([delete(found.entity.key, found.version)])
            return
        self.done.garbage += len(batch)

    def _committed(self, mutations: list[Any]) -> bool:
        try:
            retried(lambda: self._client.commit(mutations), UNCERTAIN, 5)
        except CONFLICTS:
            return False
        return True

    def _named(self, found: Found) -> "_Named":
        stores = self._stores_of(found)
        return garbage_sources(found.entity, blobs=bool(stores)), stores

    def _stores_of(self, found: Found) -> Sequence[BlobStore]:
        """Return the store that a record names, whatever the settings say today; all of them where it names none."""
        address = found.entity.properties["store"].string_value
        named = blob_stores.at(address) if address else None
        return [named] if named is not None else self._stores

    def _delete(self, records: list["_Named"]) -> dict[int, str]:
        """Delete the pieces that records name; returns the numbers of those that a store refused, with the reason."""
        problems: dict[int, str] = {}
        if not self._dry_run:
            for number, problem in self._pool.map(self._delete_blob, self._blobs(records)):
                if problem:
                    problems.setdefault(number, problem)
        deleted = [source for number, (names, _) in enumerate(records) if number not in problems for source in names]
        chunks = [source for source in deleted if source.startswith("c:")]
        self.done.blobs += len(deleted) - len(chunks)
        self.done.chunks += len(chunks)
        if not self._dry_run:
            self._delete_chunks(chunks)
        return problems

    def _blobs(self, records: list["_Named"]) -> list[tuple[int, BlobStore | None, str]]:
        found: list[tuple[int, BlobStore | None, str]] = []
        for number, (names, stores) in enumerate(records):
            for source in names:
                if source.startswith("b:"):
                    asked: Sequence[BlobStore | None] = stores or [None]
                    found += [(number, store, source[2:]) for store in asked]
        return found

    def _delete_blob(self, one: tuple[int, BlobStore | None, str]) -> tuple[int, str]:
        number, store, name = one
        if store is None:
            return number, f"blob {name!r} needs a bucket, and none is set"
        try:
            store.delete(name)
        except OSError as error:
            return number, str(error)
        return number, ""

    def _delete_chunks(self, sources: list[str]) -> None:
        for start in range(0, len(sources), DELETES):
            mutations = [delete(chunk_key(self._client, source)) for source in sources[start : start + DELETES]]
            retried(partial(self._client.commit, mutations), (*UNCERTAIN, *CONFLICTS), 5)


def upload_sources(upload: str, entity: Any, *, blobs: bool = True) -> list[str]:
    """Return all names that an upload registered.

    Args:
        upload: its id.
        entity: the Upload, or the Garbage that it became.
        blobs: whether there is any blob store. The record does not say whether the names are blobs or chunks, so both
            are returned then; without a store the writer had none either.
    """
    count, ino = (entity.properties[name].integer_value for name in ("count", "ino"))
    names = [f"{upload}.{number}" for number in range(count)]
    chunks = [f"c:{ino}/{name}" for name in names] if ino else []
    return [f"b:{name}" for name in names] + chunks if blobs else chunks


def garbage_sources(entity: Any, *, blobs: bool = True) -> list[str]:
    """Return the names that a Garbage holds: those listed, or those of the upload that it was."""
    if "upload" in entity.properties:
        return upload_sources(entity.properties["upload"].string_value, entity, blobs=blobs)
    names: list[str] = json.loads(entity.properties["names"].blob_value)
    return [name for name in names if name.startswith(("b:", "c:"))]
