"""Processes that run a script with a folder mounted, and wait to be told to go."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Process = subprocess.Popen[str]
Start = Callable[..., Process]

PRELUDE = """\
import os, sys
import gaeport
gaeport.mount("data")
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def starter(folder: Path, emulator: str = "", prelude: str = PRELUDE) -> Iterator[Start]:
    """Yield what starts a process that waits at its start, with `data` in a folder mounted; all end with the block.

    Args:
        folder: their working folder.
        emulator: the address of a Datastore emulator, instead of the embedded engine.
        prelude: what a script begins with.
    """
    environment = dict(os.environ)
    if emulator:
        environment["DATASTORE_EMULATOR_HOST"] = emulator
        environment["GOOGLE_CLOUD_PROJECT"] = f"p{folder.name}".replace("_", "-")
    running: list[Process] = []

    def begin(script: str, *arguments: str) -> Process:
        command = [sys.executable, "-c", prelude + textwrap.dedent(script), *arguments]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def run(process: Process, seconds: float = 120) -> str:
    """Let a process run its script to the end, in that many seconds; returns what it prints."""
    output, _ = process.communicate("go\n", timeout=seconds)
    assert process.returncode == 0
    return output.strip()


def run_all(processes: list[Process], seconds: float = 120) -> list[str]:
    """Let processes run at the same time; returns what each prints."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=seconds)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


def proceed(process: Process) -> str:
    """Let a process go on; returns the next line that it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
