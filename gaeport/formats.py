"""The format of the entities that gaeport keeps for itself: files, sessions, tickets.

A release reads its own format and the one before, and goes on writing the one before until gaeport.toml says
otherwise (`format`, which `gaeport upgrade --finish` sets). So both releases read whatever either wrote while one
replaces the other, and the former one can come back.
"""

from gaeport.errors import DataLoss

NEWEST = 1  # of this release
OLDEST = max(1, NEWEST - 1)


def check(number: int | None, what: str) -> None:
    """Refuse what this release cannot read.

    Args:
        number: the format that was found; None where there was none.
        what: what was found, for the message.

    Raises:
        DataLoss: the format is older or newer than this release reads.
    """
    if number is not None and OLDEST <= number <= NEWEST:
        return
    known = f"{OLDEST} and {NEWEST}" if OLDEST < NEWEST else f"{NEWEST}"
    remedy = "finish the upgrade with the release between" if (number or 0) < OLDEST else "install a newer gaeport"
    raise DataLoss(f"{what} has format {number}, this release reads {known}: {remedy}")
