"""Samples to look at."""

import random
import time
from typing import Any

from gaeport.stats.sample import Call, Line, Sample

LINES: list[Line] = [
    ("shop/orders.py", 42, "list_orders"),
    ("shop/orders.py", 57, "Order.customer"),
    ("shop/web.py", 12, "index"),
]


def make(calls: int = 3, /, *, kind: str = "Order", line: int = 0, **given: Any) -> Sample:
    """Return a sample of so many lookups by one line."""
    kept = [Call("Lookup", kind, index * 2.0, 1.5, 1, 60, 300, 6e-7, (line, 2)) for index in range(calls)]
    values: dict[str, Any] = {
        "id": f"{random.getrandbits(64):016x}",
        "at": time.time(),
        "method": "GET",
        "route": "/orders",
        "path": "/orders",
        "status": 200,
        "seconds": max(0.001, calls * 0.002),
        "calls": calls,
        "waited": calls * 0.0015,
        "price": calls * 6e-7,
        "kept": kept,
        "lines": LINES,
        "instance": "instance-1",
    }
    return Sample(**{**values, **given})
