"""How often a password may be tried, counted in Datastore, so across all instances.

Each try is counted before the password is looked at: a hundred at once gain nothing. A browser from which somebody has
logged in before has an allowance of its own (source: "Slow Down Online Guessing Attacks with Device Cookies", OWASP),
so that guessers, who use up everybody else's, cannot lock the administrator out.
"""

import time
from collections.abc import Callable
from typing import Any

from gaeport import codec
from gaeport.datastore import own_client, wire
from gaeport.datastore.client import Client, backoff
from gaeport.datastore.mutations import compare_and_set, delete
from gaeport.datastore.outcomes import CONFLICTS

KIND = "ConsoleAttempts"
WINDOW = 900  # seconds that a try counts for
EACH = 10  # tries in that time from one address, or from one known browser
ALL = 60  # tries from all unknown browsers together
_STRANGERS = "strangers"
_CAS_ATTEMPTS = 6


def allow(address: str, device: str, clock: Callable[[], float] = time.time) -> int:
    """Count a try, if there may be one.

    Args:
        address: where it comes from.
        device: the name of a browser that has logged in before; "" for others.
        clock: seconds since 1970.

    Returns:
        0 when the try was counted and may go on; otherwise seconds to wait.

    Raises:
        DatastoreError: it could not be counted, so there must be no try.
    """
    name = f"device-{device}" if device else _STRANGERS
    for attempt in range(_CAS_ATTEMPTS):
        client, now = own_client(), clock()
        found = client.lookup([client.key(KIND, name)])[0]
        recent = _recent(found, now)
        wait = _wait(recent, "" if device else address, now)
        if wait:
            return wait
        try:
            _store(client, name, [*recent, [now, "" if device else address]], found.version if found else None)
        except CONFLICTS:
            backoff(attempt)  # another try was counted meanwhile
        else:
            return 0
    return 1  # so many at once can only be guessers


def forget(address: str, device: str) -> None:
    """Forget the tries of somebody who knew the password. Raises DatastoreError."""
    client = own_client()
    if device:
        client.commit([delete(client.key(KIND, f"device-{device}"))])
        return
    found = client.lookup([client.key(KIND, _STRANGERS)])[0]
    if found is None:
        return
    others = [row for row in _recent(found, time.time()) if row[1] != address]
    try:
        _store(client, _STRANGERS, others, found.version)
    except CONFLICTS:
        pass  # others are trying at this moment; the tries then count on until their time is over


def _recent(found: Any, now: float) -> list[list[Any]]:
    if found is None:
        return []
    rows: list[list[Any]] = codec.loads(found.entity.properties["tries"].blob_value)
    return [row for row in rows if now - WINDOW < row[0] <= now + WINDOW]


def _wait(recent: list[list[Any]], address: str, now: float) -> int:
    own = [row[0] for row in recent if row[1] == address]
    full = min(own) if len(own) >= EACH else None
    if full is None and len(recent) >= ALL:
        full = min(row[0] for row in recent)
    return 0 if full is None else max(1, int(full + WINDOW - now) + 1)


def _store(client: Client, name: str, tries: list[list[Any]], version: int | None) -> None:
    entity: Any = wire.Entity(key=client.key(KIND, name))
    value = entity.properties["tries"]
    value.exclude_from_indexes = True
    value.blob_value = codec.dumps(tries)
    client.commit([compare_and_set(entity, version)])
