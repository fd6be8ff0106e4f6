"""Commit: what mutations ask for, checked, and what they change in the file."""

import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from gaeport.datastore import limits, values, wire
from gaeport.datastore.engine import history, rows
from gaeport.datastore.engine.names import BY_KIND, Names
from gaeport.datastore.engine.transactions import Transaction
from gaeport.datastore.engine.transforms import apply_transforms
from gaeport.datastore.keys import decode_key, encode_key, encode_parent, kind_prefix
from gaeport.datastore.limits import describe
from gaeport.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

# Operations that may not follow another on one entity in one commit; source: CommitRequest, RPC reference.
_FORBIDDEN_AFTER = {"insert": {"insert", "update", "upsert"}, "update": {"delete"}}
_INSERT = "INSERT INTO entities (version, created, entries, prior, data, key) VALUES (?, ?, ?, ?, ?, ?)"
_OVERWRITE = "UPDATE entities SET version = ?, created = ?, entries = ?, prior = ?, data = ? WHERE key = ?"
_INSERT_ENTRY = "INSERT INTO entries (property, value, key, since) VALUES (?, ?, ?, ?)"
_MAX_ID = 1 << 52  # below 2**53, so that JavaScript and JSON keep it exact


@dataclass(slots=True)
class Change:
    """One mutation, read and checked.

    Attributes:
        operation: insert, update, upsert or delete.
        key: the stored key.
        entity: the message (its key complete), None for a delete.
        data: the entity serialized; None when it depends on what is stored.
        mutation: the message, for conditions, mask and transforms.
        allocated: whether the id was chosen here.
        entries: what the built-in indexes hold of the entity; None when it depends on what is stored.
    """

    operation: str
    key: bytes
    entity: Any
    data: bytes | None
    mutation: Any
    allocated: bool = False
    entries: set[tuple[str, bytes]] | None = None


@dataclass(slots=True)
class State:
    """An entity in the course of a commit: the row before; the message and its data after (None: no entity); whether
    it was deleted on the way, so that what stands there after is a new entity."""

    before: rows.Row | None
    data: bytes | None
    entity: Any = None
    entries: set[tuple[str, bytes]] | None = None
    deleted: bool = False


def prepare(request: Any) -> list[Change]:
    """Read and check the mutations of a request, as far as that needs nothing stored.

    Raises:
        InvalidArgument: a mutation breaks a rule or a limit.
    """
    limits.check_commit_size(request.ByteSize())
    changes = [_prepared(mutation, request) for mutation in request.mutations]
    if len(changes) > 1:
        _check_order(changes, alone=request.mode == wire.NON_TRANSACTIONAL)
    return changes


def _prepared(mutation: Any, request: Any) -> Change:
    operation = mutation.WhichOneof("operation")
    if operation is None:
        raise InvalidArgument("a mutation has no operation")
    _check_condition(mutation, operation)
    project, database = request.project_id, request.database_id
    if operation == "delete":
        return Change(operation, encode_key(mutation.delete, project, database), None, None, mutation)
    entity = getattr(mutation, operation)
    allocated = operation != "update" and complete_id(entity.key)
    key = encode_key(entity.key, project, database)
    if not entity.key.partition_id.project_id:
        entity.key.partition_id.project_id = project
    if mutation.HasField("property_mask") or mutation.property_transforms:
        _entries_of(entity, project, database)
        return Change(operation, key, entity, None, mutation, allocated)
    data = entity.SerializeToString(deterministic=True)
    entries = _entries_of(entity, project, database)
    limits.check_entity_size(len(data), entity.key)
    return Change(operation, key, entity, data, mutation, allocated, entries)


def _entries_of(entity: Any, project: str, database: str) -> set[tuple[str, bytes]]:
    entries = values.checked_index_values(entity, project, database)
    limits.check_index_entries(len(entries), entity.key)
    return entries


def complete_id(key: Any) -> bool:
    """Give a key whose last element has neither id nor name a random id; return whether it needed one.

    Random, as production's are; whoever calls makes sure that it is free.
    """
    if not key.path:
        return False
    last = key.path[-1]
    if last.id or last.name:
        return False
    last.id = secrets.randbelow(_MAX_ID - 1) + 1
    return True


def _check_condition(mutation: Any, operation: str) -> None:
    condition = mutation.WhichOneof("conflict_detection_strategy")
    if condition is None:
        if mutation.conflict_resolution_strategy:
            raise InvalidArgument("a conflict resolution strategy without base_version or update_time")
    elif mutation.base_version < 0:
        raise InvalidArgument(f"the base version {mutation.base_version} is negative")
    elif operation == "insert" and (mutation.base_version > 0 or condition == "update_time"):
        raise InvalidArgument(f"the insert of {describe(mutation.insert.key)} has a base version greater than zero")
    elif operation == "update" and condition == "base_version" and mutation.base_version == 0:
        raise InvalidArgument(f"the update of {describe(mutation.update.key)} has the base version zero")


def _check_order(changes: list[Change], *, alone: bool) -> None:
    last: dict[bytes, Change] = {}
    for change in changes:
        before = last.get(change.key)
        if before is not None:
            if alone:
                raise InvalidArgument("a non-transactional commit has several mutations of one entity")
            if before.operation in _FORBIDDEN_AFTER.get(change.operation, ()):
                raise InvalidArgument(f"{before.operation} and then {change.operation} of one entity in one commit")
            if _condition(before.mutation) != _condition(change.mutation):
                raise InvalidArgument("mutations of one entity have different base versions or conflict strategies")
        last[change.key] = change


def _condition(mutation: Any) -> tuple[object, ...]:
    which = mutation.WhichOneof("conflict_detection_strategy")
    return which, mutation.base_version, values.micros(mutation.update_time), mutation.conflict_resolution_strategy


class Writer:
    """Applies the changes of one commit inside one SQLite write transaction."""

    def __init__(self, db: sqlite3.Connection, names: Names, request: Any) -> None:
        self._db = db
        self._names = names
        self._project = request.project_id
        self._database = request.database_id
        self.fresh_names: dict[bytes, int] = {}
        self.index_updates = 0
        self.sequence = 0

    def apply(self, changes: list[Change], transaction: Transaction | None) -> Any:
        """Write all changes and return the CommitResponse.

        Raises:
            Aborted: what the transaction read has changed.
            AlreadyExists, NotFound, FailedPrecondition: a mutation's condition does not hold.
        """
        if transaction is not None and changes:
            transaction.check_unchanged(self._db)
        states: dict[bytes, State] = {}
        if changes:
            # One SELECT for both: most commits have one mutation.
            first, last = rows.current_and_sequence(self._db, changes[0].key)
            self._read = {changes[0].key: first}
        else:
            last = rows.sequence(self._db)
        self._last = last
        self.sequence = max(last + 1, time.time_ns() // 1000)
        self._history = history.History(self._db, self.sequence)
        response = wire.CommitResponse()
        for change in changes:
            self._apply_one(change, states, response.mutation_results.add())
        versions = {key: self._write(key, state) for key, state in states.items()}
        if changes:
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'sequence'", (self.sequence,))
            self._history.prune()
        response.index_updates = self.index_updates
        values.set_micros(response.commit_time, self.sequence)
        for change, result in zip(changes, response.mutation_results, strict=True):
            version, created = versions[change.key]
            _fill_result(result, change, version, created, exists=states[change.key].data is not None)
        return response

    def _apply_one(self, change: Change, states: dict[bytes, State], result: Any) -> None:
        state = states.get(change.key)
        if state is None:
            before = self._read[change.key] if change.key in self._read else rows.current(self._db, change.key)
            while change.allocated and rows.is_taken(self._db, change.key):
                self._choose_another_id(change)
                before = None
            state = states[change.key] = State(before, before.data if before else None)
        if change.mutation.conflict_resolution_strategy == wire.FAIL:
            self._check_base(change, state.before)
        exists = state.data is not None
        if change.operation == "insert" and exists:
            raise AlreadyExists(f"the entity {describe(change.entity.key)} exists already")
        if change.operation == "update" and not exists:
            raise NotFound(f"there is no entity {describe(change.entity.key)} to update")
        if change.operation == "delete":
            state.entity = state.data = state.entries = None
            state.deleted = True
        elif change.data is not None:
            state.entity, state.data, state.entries = change.entity, change.data, change.entries
        else:
            state.entity, state.data = self._merged(change, state.data, result)
            state.entries = _entries_of(state.entity, self._project, self._database)
            limits.check_entity_size(len(state.data), state.entity.key)

    def _choose_another_id(self, change: Change) -> None:
        change.entity.key.path[-1].ClearField("id")
        complete_id(change.entity.key)
        change.key = encode_key(change.entity.key, self._project, self._database)
        if change.data is not None:
            change.data = change.entity.SerializeToString(deterministic=True)

    def _check_base(self, change: Change, before: rows.Row | None) -> None:
        """Hold a mutation against the version or update time that it demands.

        Without FAIL the last write wins, as on the Firestore emulator. A missing entity is at version 0, and at any
        version from its deletion on, so that what a Lookup says of it (the version of its snapshot) may be demanded;
        versions from before the deletion never come back.
        """
        mutation = change.mutation
        condition = mutation.WhichOneof("conflict_detection_strategy")
        wanted = mutation.base_version if condition == "base_version" else values.micros(mutation.update_time)
        stored = before.version if before else 0
        if stored == wanted:
            return
        if condition == "base_version":
            if before is not None and wanted > stored:
                raise InvalidArgument(f"the base version {wanted} is greater than the stored version ({stored})")
            if before is None and rows.last_deletion(self._db, change.key) <= wanted <= self._last:
                return
        key = mutation.delete if change.operation == "delete" else change.entity.key
        raise FailedPrecondition(
            f"the stored version ({stored}) of {describe(key)} does not match the required base version ({wanted})"
        )

    def _merged(self, change: Change, stored: bytes | None, result: Any) -> tuple[Any, bytes]:
        """Return the entity and its data after a mutation with a property mask or transforms."""
        entity = wire.Entity()
        if change.mutation.HasField("property_mask"):
            if stored is not None:
                entity.MergeFromString(stored)
            _overlay(entity, change.entity, change.mutation.property_mask.paths)
        else:
            entity.CopyFrom(change.entity)
        entity.key.CopyFrom(change.entity.key)
        for value in apply_transforms(entity, change.mutation.property_transforms, self.sequence):
            result.transform_results.append(value)
        data: bytes = entity.SerializeToString(deterministic=True)
        return entity, data

    def _write(self, key: bytes, state: State) -> tuple[int, int]:
        """Store one entity's final state; return its version and its creation's sequence number."""
        before, data = state.before, state.data
        if before is None and data is None:
            return self.sequence, self.sequence
        if before is not None and before.data == data and not state.deleted:
            return before.version, before.created
        created = before.created if before and not state.deleted else self.sequence
        died = data is None or state.deleted
        prior = self._history.keep(key, before, died=died) if before is not None else 0
        old = self._old_entries(before)
        new = state.entries or set()
        if data is None:
            self._db.execute("DELETE FROM entities WHERE key = ?", (key,))
            old.add((BY_KIND, b""))
        else:
            row = (self.sequence, created, len(new), 0 if died else prior, data, key)
            self._db.execute(_OVERWRITE if before is not None else _INSERT, row)
            if before is None:
                new = new | {(BY_KIND, b"")}
        if old != new:
            self._write_entries(key, old, new, state.entity)
        return self.sequence, created

    def _old_entries(self, before: rows.Row | None) -> set[tuple[str, bytes]]:
        if before is None or not before.entries:
            return set()
        return values.index_values(wire.Entity.FromString(before.data), self._project, self._database)

    def _write_entries(
        self, key: bytes, old: set[tuple[str, bytes]], new: set[tuple[str, bytes]], entity: Any | None
    ) -> None:
        prefix = kind_prefix(entity.key if entity is not None else decode_key(key), self._database)

        def number(prop: str) -> int:
            return self._names.make(self._db, prefix, prop, self.fresh_names)

        removed = [(number(prop), value, key) for prop, value in old - new]
        if removed:
            self._history.keep_entries(removed)
            self._db.executemany("DELETE FROM entries WHERE property = ? AND value = ? AND key = ?", removed)
        added = [(number(prop), value, key, self.sequence) for prop, value in new - old]
        if len(added) == 1:
            self._db.execute(_INSERT_ENTRY, added[0])
        elif added:
            self._db.executemany(_INSERT_ENTRY, added)
        self.index_updates += len(added) + len(removed)


def _overlay(entity: Any, wanted: Any, paths: Any) -> None:
    """Take the properties that a mask names from `wanted`; those it lacks there are removed."""
    for path in paths:
        if path in wanted.properties:
            entity.properties[path].CopyFrom(wanted.properties[path])
        elif path in entity.properties:
            del entity.properties[path]


def _fill_result(result: Any, change: Change, version: int, created: int, *, exists: bool) -> None:
    result.version = version
    if change.allocated:
        result.key.CopyFrom(change.entity.key)
    if exists:
        values.set_micros(result.create_time, created)
        values.set_micros(result.update_time, version)


def allocate(db: sqlite3.Connection, request: Any) -> Any:
    """Answer AllocateIds: complete each key with an id that no entity has and nobody reserved.

    Raises:
        InvalidArgument: a key is complete already, or impossible.
    """
    response = wire.AllocateIdsResponse()
    for incomplete in request.keys:
        key = response.keys.add()
        key.CopyFrom(incomplete)  # a busy file makes this run again
        encode_parent(key, request.project_id, request.database_id)
        if not complete_id(key):
            raise InvalidArgument(f"the key {describe(key)} is complete already")
        while rows.is_taken(db, encode_key(key, request.project_id, request.database_id)):
            key.path[-1].ClearField("id")
            complete_id(key)
        key.partition_id.project_id = request.project_id
    return response


def reserved(request: Any) -> list[tuple[bytes]]:
    """Return the keys of a ReserveIds request that hold an id which could be allocated.

    Raises:
        InvalidArgument: a key is incomplete or impossible.
    """
    keys = [(encode_key(key, request.project_id, request.database_id), key.path[-1].id) for key in request.keys]
    return [(encoded,) for encoded, number in keys if 0 < number < _MAX_ID]


def reserve(db: sqlite3.Connection, keys: list[tuple[bytes]]) -> Any:
    """Answer ReserveIds: none of these keys will be allocated."""
    db.executemany("INSERT OR IGNORE INTO reserved (key) VALUES (?)", keys)
    return wire.ReserveIdsResponse()
