"""What the last operation did: `db._lastplan`."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Plan:
    """How an operation was served.

    Attributes:
        operation: "select", "count", "update" …
        served: "lookup" (by ids), "query" (by Datastore's indexes alone), "aggregation" (no entity was read), "memory"
            (entities were read and SQLite did the rest), "nothing" (the condition cannot be true), "commit",
            "buffer" (written at the end of the transaction, or by `db.commit()`).
        entities: how many were read.
        reasons: what was done in memory, and why.
    """

    operation: str
    served: str
    entities: int = 0
    reasons: list[str] = field(default_factory=list)
