"""A unit of work: writes of one thread that wait for their commit, and lie over what is stored until then."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gaeport.datastore import wire
from gaeport.datastore.client import Found
from gaeport.datastore.mutations import delete, update


@dataclass(frozen=True, slots=True)
class Change:
    """What will become of one entity.

    Attributes:
        mutation: what the commit will send.
        before: the entity as it was read; None for a new one, or one that was not read.
    """

    mutation: Any
    before: Found | None = None

    @property
    def after(self) -> Any | None:
        """The entity as reads see it already; None for one that will be gone."""
        return entity_of(self.mutation)


@dataclass(slots=True)
class Operation:
    """One write of the application, which can be made again on fresher entities.

    Attributes:
        again: makes it again, and returns what it comes to then.
        outcome: what the application was told.
    """

    again: Callable[[], Any]
    outcome: Any


@dataclass(slots=True)
class Unit:
    """The changes of one thread since its last commit.

    Attributes:
        changes: by kind, then by id or key name.
        journal: what each step replaced: kind, id or key name, the change of before; None for none.
        log: the operations that made them, in order.
        guards: rows read FOR UPDATE, by kind and id, that must not have changed at the commit.
        seen: what was read since `watch`, by kind and id; None: nobody watches.
        transaction: Datastore's handle; empty before the first read, and where only a buffer is kept.
        depth: how many `with db.transaction()` blocks are open.
        restart: takes back what the outermost of them has done so far.
    """

    changes: dict[str, dict[int | str, Change]] = field(default_factory=dict)
    journal: list[tuple[str, int | str, Change | None]] = field(default_factory=list)
    log: list[Operation] = field(default_factory=list)
    guards: dict[tuple[str, int | str], Found] = field(default_factory=dict)
    seen: dict[tuple[str, int | str], Found] | None = None
    transaction: bytes = b""
    depth: int = 0
    restart: Callable[[], None] | None = None

    def add(self, mutations: Iterable[Any], before: Found | None = None) -> None:
        """Note the mutations of one row: the row's own, then those of its markers.

        Args:
            mutations: `wire.Mutation`s, what must not have changed in them.
            before: the row as it was read.
        """
        for mutation in mutations:
            kind, name = path_of(key_of(mutation))
            earlier = self.of(kind).get(name)
            self.journal.append((kind, name, earlier))
            if earlier is None:
                self._set(kind, name, Change(mutation, before))
            else:
                merged = _merged(earlier.mutation, mutation)
                self._set(kind, name, None if merged is None else Change(merged, earlier.before))
            before = None

    def _set(self, kind: str, name: int | str, change: Change | None) -> None:
        if change is None:
            self.changes.get(kind, {}).pop(name, None)
        else:
            self.changes.setdefault(kind, {})[name] = change

    def of(self, kind: str) -> dict[int | str, Change]:
        """Return the changes of one kind."""
        return self.changes.get(kind, {})

    def mutations(self) -> list[Any]:
        """Return what the commit has to send, guards included, in the order in which it was made."""
        made = [change.mutation for of_kind in self.changes.values() for change in of_kind.values()]
        for (kind, name), found in self.guards.items():
            if name not in self.of(kind):
                # The same content again: it changes nothing, and fails when others wrote the row.
                made.append(update(found.entity, found.version))
        return made

    @contextmanager
    def watch(self) -> Iterator[dict[tuple[str, int | str], Found]]:
        """Gather what the block reads."""
        self.seen = {}
        try:
            yield self.seen
        finally:
            self.seen = None

    def note(self, found: Found) -> Found:
        """Return an entity that was read, noted where somebody watches."""
        if self.seen is not None and found.version:  # rows that the unit itself made have none
            self.seen[path_of(found.entity.key)] = found
        return found

    def guard(self, rows: dict[tuple[str, int | str], Found]) -> None:
        """Make the commit fail if one of these rows has changed by then."""
        for path, found in rows.items():
            self.guards.setdefault(path, found)

    def saved(self) -> Callable[[], None]:
        """Return a function that takes back what was done since; only until `clear`."""
        steps, operations, guards = len(self.journal), len(self.log), dict(self.guards)

        def restore() -> None:
            while len(self.journal) > steps:
                self._set(*self.journal.pop())
            del self.log[operations:]
            self.guards = guards

        return restore

    def clear(self) -> None:
        """Forget all changes."""
        self.changes, self.journal, self.log, self.guards = {}, [], [], {}

    @property
    def is_empty(self) -> bool:
        """Whether a commit would have nothing to do."""
        return not any(self.changes.values()) and not self.guards


def over(changes: dict[int | str, Change], entries: Iterable[Found]) -> Iterator[Found]:
    """Yield the stored entities that have no change waiting."""
    for entry in entries:
        if path_of(entry.entity.key)[1] not in changes:
            yield entry


def pending(change: Change) -> Found | None:
    """Return a changed row as reads see it, under the version that it was read with; 0 for a new one."""
    after = change.after
    if after is None:
        return None
    entity = wire.Entity()
    entity.CopyFrom(after)
    return Found(entity, change.before.version if change.before is not None else 0)


def path_of(key: Any) -> tuple[str, int | str]:
    """Return the kind and the id or name of a key."""
    last = key.path[len(key.path) - 1]
    return last.kind, last.id or last.name


def key_of(mutation: Any) -> Any:
    """Return the key of what a mutation writes or deletes."""
    entity = entity_of(mutation)
    return mutation.delete if entity is None else entity.key


def entity_of(mutation: Any) -> Any | None:
    """Return what a mutation writes, or None for a delete."""
    operation = mutation.WhichOneof("operation")
    return None if operation == "delete" else getattr(mutation, operation)


def _merged(earlier: Any, later: Any) -> Any | None:
    """Return one mutation for two of the same entity, on the assumption that the first made of what is stored.

    None: the entity was not there before, and will not be there after.
    """
    entity = entity_of(later)
    if earlier.WhichOneof("operation") == "insert":
        return None if entity is None else wire.Mutation(insert=entity)
    if not earlier.base_version:  # nothing is known of what is stored
        return later if entity is None else wire.Mutation(upsert=entity)
    if entity is None:
        return delete(later.delete, earlier.base_version)
    return update(entity, earlier.base_version)
