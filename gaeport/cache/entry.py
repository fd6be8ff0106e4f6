"""What is stored for one key of a cache."""

import math
import random
import time
from dataclasses import dataclass

from gaeport import codec
from gaeport.cache.clearing import Clearings
from gaeport.errors import DamagedValue

_random = random.SystemRandom()  # callers whose applications seed the shared generator alike must not all begin


@dataclass(frozen=True, slots=True)
class Entry:
    """A created value.

    Attributes:
        epoch, number: the `Clearings` when its creation began.
        made: when it was made, in seconds since 1970 (instances of App Engine share their time).
        seconds: how long its creation took.
        until: when the store forgets it, in seconds since 1970; None: never.
        payload: the value as bytes; None: what was made must not be shared, each caller makes its own.
    """

    epoch: bytes
    number: int
    made: float
    seconds: float
    until: float | None
    payload: bytes | None

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return max(0.0, time.time() - self.made)

    @property
    def ttl(self) -> float | None:
        """Seconds until the store forgets it."""
        return None if self.until is None else self.until - time.time()

    def is_fresh(self, expire: float | None) -> bool:
        """Tell whether it is younger than `expire` seconds."""
        return expire is None or self.age < expire

    def is_due(self, expire: float | None) -> bool:
        """Tell whether this caller should make it anew before it expires.

        The nearer the end and the slower the creation, the likelier: of many callers one begins in time ("Optimal
        Probabilistic Cache Stampede Prevention", Vattani, Chierichetti, Lowenstein, 2015, with beta = 1).
        """
        if expire is None:
            return False
        return self.age - self.seconds * math.log(1.0 - _random.random()) >= expire

    def dumps(self) -> bytes:
        """Return it as bytes."""
        return codec.dumps([self.epoch, self.number, self.made, self.seconds, self.until, self.payload])


def loads(data: bytes | None, key: str, clearings: Clearings | None) -> Entry | None:
    """Return what `Entry.dumps` wrote; None where there is nothing, or nothing that still counts."""
    if data is None or clearings is None:
        return None
    try:
        entry = Entry(*codec.loads(data))
    except (DamagedValue, TypeError):
        return None
    return None if clearings.cleared(key, entry.epoch, entry.number) else entry
