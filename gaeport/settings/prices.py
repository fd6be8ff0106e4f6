"""`[prices]`: what calls cost."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import as_table, check

_OPERATIONS = 100_000  # a price is for so many operations, as on the pricing page of Firestore in Datastore mode
_GIB = 2**30


@dataclass(frozen=True)
class PriceSettings:
    """The `[prices]` table of gaeport.toml, in US dollars; free quotas are left out.

    Source: the pricing pages of Firestore in Datastore mode (multi-region), Cloud Storage (standard class), Cloud Tasks
    and Cloud Logging. Key-value stores and App Engine's instances are paid by the hour: their calls count as free.

    Attributes:
        datastore_read: 100,000 entities read.
        datastore_write: 100,000 entities written.
        datastore_delete: 100,000 entities deleted.
        storage_class_a: 100,000 writes and listings of objects.
        storage_class_b: 100,000 reads of objects.
        tasks_operation: 100,000 tasks.
        logging_gib: one GiB of log entries.
    """

    datastore_read: Annotated[float, "of US dollars"] = 0.06
    datastore_write: Annotated[float, "of US dollars"] = 0.18
    datastore_delete: Annotated[float, "of US dollars"] = 0.02
    storage_class_a: Annotated[float, "of US dollars"] = 0.5
    storage_class_b: Annotated[float, "of US dollars"] = 0.04
    tasks_operation: Annotated[float, "of US dollars"] = 0.04
    logging_gib: Annotated[float, "of US dollars"] = 0.5

    @cached_property
    def by_unit(self) -> dict[str, float]:
        """US dollars for one billed operation (or one byte of log), by the names that `gaeport.meter` counts by."""
        prices = {name.replace("_", ".", 1): price / _OPERATIONS for name, price in asdict(self).items()}
        del prices["logging.gib"]
        return {**prices, "logging.byte": self.logging_gib / _GIB}


def price_settings(table: object, place: str) -> PriceSettings:
    """Check a `[prices]` table and return it frozen. Raises ConfigurationError."""
    given = as_table(table, "prices", place)
    check(given, PriceSettings, place, "[prices]")
    for name, price in given.items():
        if not 0 <= price < math.inf:
            raise ConfigurationError(f"{place}: [prices]: {name} = {price} must be 0 or more US dollars")
    return PriceSettings(**given)
