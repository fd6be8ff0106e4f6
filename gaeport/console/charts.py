"""Numbers over time, for the macro `chart` of parts.html."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        index: its place from the left.
        label: what it stands for, such as "22 Nov, 14:00".
        value: how many.
        height: from 0.0 to 1.0, the highest bar's.
    """

    index: int
    label: str
    value: int
    height: float


def bars(values: Sequence[tuple[str, int]]) -> list[Bar]:
    """Return the bars for labels and values, left to right."""
    most = max((value for _, value in values), default=0) or 1
    return [Bar(index, label, value, value / most) for index, (label, value) in enumerate(values)]
