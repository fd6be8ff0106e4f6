"""How a cache is cleared without knowing its keys: memcached cannot list them.

One record says what was cleared. Each entry remembers how much of it was there when its creation began; what was
cleared later and matches its key makes it worthless. Should the store lose the record, everything older is worthless.
"""

import os
import re
from dataclasses import dataclass, field

from gaeport import codec
from gaeport.errors import DamagedValue

MAX_RULES = 64  # then everything is cleared: the record is read with every entry and must stay small


@dataclass(frozen=True, slots=True)
class Clearings:
    """What was cleared.

    Attributes:
        epoch: changes when everything was cleared.
        number: how many times something was cleared in this epoch.
        rules: (number, regular expression) of each.
    """

    epoch: bytes = field(default_factory=lambda: os.urandom(8))
    number: int = 0
    rules: tuple[tuple[int, str], ...] = ()

    def cleared(self, key: str, epoch: bytes, number: int) -> bool:
        """Tell whether an entry made at `number` of `epoch` was cleared since."""
        if epoch != self.epoch:
            return True
        return number < self.number and any(at > number and re.match(rule, key) for at, rule in self.rules)

    def with_rule(self, rule: str) -> "Clearings":
        """Return what is cleared when the keys that begin with a match of `rule` are, too."""
        if len(self.rules) >= MAX_RULES:
            return Clearings()
        number = self.number + 1
        rules = tuple((at, other) for at, other in self.rules if other != rule)
        return Clearings(self.epoch, number, (*rules, (number, rule)))

    def dumps(self) -> bytes:
        """Return it as bytes."""
        return codec.dumps([self.epoch, self.number, [list(rule) for rule in self.rules]])


def loads(data: bytes | None) -> Clearings | None:
    """Return what `Clearings.dumps` wrote; None for None, and for something else."""
    if data is None:
        return None
    try:
        epoch, number, rules = codec.loads(data)
        return Clearings(epoch, number, tuple((at, rule) for at, rule in rules))
    except (DamagedValue, ValueError, TypeError):
        return None
