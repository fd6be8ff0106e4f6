"""The TTL policy that removes expired sessions: for `gaeport check` and `gaeport plan`."""

from gaeport.datastore.ttl import TTLPolicy
from gaeport.sessions.stores import entities
from gaeport.settings import Settings

SESSIONS = TTLPolicy(entities.KIND, "expires", "sessions that have expired")


def policies(settings: Settings) -> tuple[TTLPolicy, ...]:
    """Return the policies that the settings' sessions want: one where they live in Datastore, none elsewhere."""
    kept = settings.sessions
    return (SESSIONS,) if kept is not None and "datastore" in kept.store else ()
