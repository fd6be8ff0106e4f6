"""How many Datastore calls each file operation takes, counted at the transport."""

import random

import gaeport
from tests.benchmarks.operations import OPERATIONS, counted
from tests.benchmarks.options import Options, application
from tests.benchmarks.report import Section


def measure(options: Options) -> Section:
    """Count the calls of each operation once, on the embedded engine and, where there is one, on the emulator."""
    section = Section("Calls of a file operation", ("operation", "Datastore calls", "which", "on the emulator"))
    embedded = _count_all("memory")
    emulator = _count_all("emulator", options.emulator) if options.emulator else []
    for number, operation in enumerate(OPERATIONS):
        spent = operation.spent(embedded[number])
        there = operation.spent(emulator[number]) - operation.chunks if emulator else 0
        named = ", ".join(f"{count} {name}" for name, count in embedded[number].items())
        section.add(
            operation.name,
            str(spent),
            named,
            f"{there}{f' + {operation.chunks}' if operation.chunks else ''}" if emulator else "",
            budget=operation.shown or f"≤ {operation.budget}",
            kept=max(spent, there) <= operation.budget,
        )
    section.notes.append(
        "Embedded: counted at the transport. The emulator: at the gRPC channel; there is no bucket, so commits of "
        "chunks stand in for blobs (+). A listing's Lookup finds the directory. A write of more than 16 blobs takes "
        "one call more each time their number doubles."
    )
    return section


def _count_all(backend: str, emulator: str = "") -> list[dict[str, int]]:
    with application(backend, emulator) as root:
        gaeport.mount("uploads", name=f"bench-{random.getrandbits(64):x}")  # the emulator keeps what others wrote
        (root / "uploads" / "first").write_bytes(b"")  # makes the mount's root, which later operations find there
        return [counted(operation, root / "uploads") for operation in OPERATIONS]
