"""TTL policies: Datastore itself removes entities whose time is over, within a day or so."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TTLPolicy:
    """A policy that one of gaeport's kinds wants in production.

    A policy belongs to a kind in every namespace of a database. It needs no index, and cannot be set where the
    concurrency mode is OPTIMISTIC_WITH_ENTITY_GROUPS ("Manage data retention with TTL policies").

    Attributes:
        kind: the kind, which `gcloud firestore` calls a collection group.
        property: the timestamp after which an entity may be removed.
        what: what is removed, in the plural.
    """

    kind: str
    property: str
    what: str

    def command(self, *, project: str | None = None, database: str = "") -> str:
        """Return the shell command that sets the policy; repeating it does no harm.

        Args:
            project: the project's id; None: the one that gcloud is set to.
            database: its name; "" for the default one.
        """
        words = ["gcloud", "firestore", "fields", "ttls", "update", self.property]
        words += [f"--collection-group={self.kind}", "--enable-ttl", f"--database={database or '(default)'}"]
        if project:
            words.append(f"--project={project}")
        return shlex.join(words)
