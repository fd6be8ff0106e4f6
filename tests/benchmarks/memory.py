"""Resident memory of processes."""

import os
import resource
import sys
from pathlib import Path

MIB = 1 << 20
LINUX = os.path.exists("/proc/self/clear_refs")


def peak() -> int:
    """Return the most bytes that this process had resident since it began."""
    if LINUX:
        return _status("self", "VmHWM")
    unit = 1 if sys.platform.startswith("darwin") else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_of(pid: int) -> int:
    """Return the most bytes that a process had resident (Linux)."""
    return _status(str(pid), "VmHWM")


def reset_peak_of(pid: int) -> None:
    """Let the peak of a process begin anew from what is resident now (Linux)."""
    Path("/proc", str(pid), "clear_refs").write_text("5")  # "5": the peak; see proc(5)


def share_of(pid: int) -> int:
    """Return the bytes resident for a process, pages shared by n processes counted as 1/n (Linux)."""
    for line in Path("/proc", str(pid), "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no Pss in smaps_rollup")


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started (Linux)."""
    found: list[int] = []
    for thread in Path("/proc", str(pid), "task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _status(pid: str, name: str) -> int:
    for line in Path("/proc", pid, "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name} in /proc/{pid}/status")
