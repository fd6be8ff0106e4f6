"""Many small files synced into a mount, killed twice on the way, resumed, verified, and synced back to the disk."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.options import ROOT, Options
from tests.benchmarks.report import Section

PER_FOLDER = 200  # files
BYTES = (200, 2_000)  # of a file, at random
FOR_EMULATOR = 20  # times fewer files
BUDGET = 30  # files a call, verification, directories and their times included


class Run(NamedTuple):
    """One run of the command: seconds, what it said, and whether it was killed."""

    seconds: float
    output: str
    killed: bool


def measure(options: Options) -> Section:
    """Sync to the embedded engine on disk and, where there is one, to Google's Firestore emulator."""
    section = Section(
        f"{options.files:,} files of {BYTES[0]} to {BYTES[1]:,} bytes synced (gaeport fs sync)",
        ("run", "seconds", "files a second", "calls", "found equal"),
    )
    _measure_in(section, "embedded on disk", options.files, "")
    if options.emulator:
        _measure_in(section, "Firestore emulator", max(1000, options.files // FOR_EMULATOR), options.emulator)
    section.notes.append(
        f"Killed with SIGKILL twice; the third run goes on from there. {PER_FOLDER} files a folder; the sources are "
        "compared with what came back by `diff -r`."
    )
    return section


def _measure_in(section: Section, where: str, files: int, emulator: str) -> None:
    with tempfile.TemporaryDirectory(prefix="gaeport-bench-") as folder:
        root = Path(folder)
        (root / "gaeport.toml").write_text('namespace = "syncs"\n[[mount]]\npath = "uploads"\n')
        make(root / "source", files)
        for _ in range(2):
            run = sync(root, "source", "uploads/copy", emulator, kill_after=files / (2_000 if emulator else 20_000))
            name = f"in, {where}, {'killed' if run.killed else 'ended'}"
            section.add(name, f"{run.seconds:.1f}", "", "", _equal(run))
        steps = [("in, to the end", "source", "uploads/copy"), ("again", "source", "uploads/copy")]
        for name, source, target in [*steps, ("out", "uploads/copy", "back")]:
            _add(section, f"{name}, {where}", files, sync(root, source, target, emulator))
        same = subprocess.run(["diff", "-r", root / "source", root / "back"], check=False).returncode == 0
        section.add(f"diff -r, {where}", "", "", "", "equal" if same else "differs", budget="equal", kept=same)


def _add(section: Section, name: str, files: int, run: Run) -> None:
    calls = re.search(r"in all .* s, ([\d,]+) calls", run.output)
    number = int(calls[1].replace(",", "")) if calls else 0
    kept = number > 0 and files / number >= BUDGET and "are equal" in run.output
    budget = f"≥ {BUDGET} files a call, verified"
    section.add(
        name, f"{run.seconds:.1f}", f"{files / run.seconds:,.0f}", f"{number:,}", _equal(run), budget=budget, kept=kept
    )


def make(root: Path, files: int) -> None:
    """Make files of random content, PER_FOLDER in a folder and fifty folders in one."""
    chance = random.Random(5)
    for folder in range(-(-files // PER_FOLDER)):
        path = root / f"{folder // 50:02d}" / f"{folder:04d}"
        path.mkdir(parents=True)
        for number in range(min(PER_FOLDER, files - folder * PER_FOLDER)):
            (path / f"{number:03d}.dat").write_bytes(chance.randbytes(chance.randint(*BYTES)))


def sync(root: Path, source: str, target: str, emulator: str = "", *, kill_after: float | None = None) -> Run:
    """Run `gaeport fs sync` in an application's folder, and kill it so many seconds after the copying began."""
    variables = dict(os.environ, PYTHONPATH=str(ROOT))
    if emulator:
        variables |= {"DATASTORE_EMULATOR_HOST": emulator, "DATASTORE_PROJECT_ID": "gaeport-bench"}
    command = [sys.executable, "-m", "gaeport", "fs", "sync", source, target]
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=root, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = ""
    if kill_after is not None:
        while "it will take" not in output and process.poll() is None:
            output += process.stdout.readline()
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    output += process.communicate()[0]
    return Run(time.monotonic() - start, output, process.returncode == -signal.SIGKILL)


def _equal(run: Run) -> str:
    found = re.search(r"([\d,]+) equal", run.output)
    return found[1] if found else ""
