"""How many Datastore calls each file operation takes, counted at the transport."""

import gaeport
from tests.benchmarks.operations import OPERATIONS, counted
from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section


def measure(options: Options) -> Section:
    """Count the calls of each operation once, on the embedded engine."""
    section = Section("Datastore calls of a file operation", ("operation", "calls", "which"))
    with application("memory") as root:
        gaeport.mount("uploads")
        for operation in OPERATIONS:
            calls = counted(operation, root / "uploads")
            total = sum(calls.values())
            named = ", ".join(f"{count} {name}" for name, count in calls.items())
            budget = f"≤ {operation.budget} {operation.only}".rstrip()
            section.add(
                operation.name, str(total), named, budget=budget, kept=operation.spent(calls) <= operation.budget
            )
    section.notes.append(
        "Large content goes to blobs, whose writes come on top. A listing's first call finds the directory."
    )
    return section
