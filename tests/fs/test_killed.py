"""A process that is killed at any moment of its work leaves each file old or new, whole, and nothing to be leaked.

GAEPORT_LONG=1 makes it 200 moments, or GAEPORT_KILLS; GAEPORT_SEED chooses them.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport import datastore, settings
from gaeport.blobs.folder import INCOMING
from gaeport.datastore import wire
from gaeport.datastore.client import Found
from gaeport.fs import commands, mounts
from gaeport.fs.datastore.entries import decode
from gaeport.fs.datastore.garbage import collect
from gaeport.fs.datastore.verification import verify
from tests.fs.killing import State, replay, tree

LONG = os.environ.get("GAEPORT_LONG") == "1"
KILLS = int(os.environ.get("GAEPORT_KILLS", "200" if LONG else "10"))
SEED = int(os.environ.get("GAEPORT_SEED", "1"))
LONGEST = 0.4  # seconds of work before the kill


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An application's folder with `data` mounted on the embedded engine on the disk, here as in its processes."""
    former = settings._current
    settings.configure(root=tmp_path, data="store")
    mounts.mount(tmp_path / "data", inline_limit=65_536)
    yield tmp_path
    mounts.unmount_all()
    settings._current = former


def work(folder: Path, state: State, seed: int, seconds: float) -> Path:
    """Let a process work on a tree, and kill it after some seconds; returns its journal."""
    journal = folder / "journal"
    known = folder / "known"
    known.write_text(json.dumps({"names": state.names, "files": state.files}))
    command = [sys.executable, "-m", "tests.fs.killing", str(folder), str(known), str(seed), str(journal)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.kill()
    return journal


def everything(kind: str) -> list[Found]:
    query = wire.Query()
    query.kind.add(name=kind)
    return list(datastore.own_client().query(query))


def check_nothing_is_leaked(folder: Path) -> None:
    """Collect, now that no writer lives, and compare what is stored with what files need."""
    for _ in range(2):  # the second forgets what ended uploads had become
        done = collect(datastore.own_client(), commands.stores(), keep_days=0)
        commands.sweep(0)
        assert not done.failed
    assert [*everything("Upload"), *everything("Garbage"), *everything("Lease")] == []
    needed = {source for kind in ("Entry", "Inode") for found in everything(kind) for source in decode(found).sources()}
    files = [
        path for path in (folder / "store" / "blobs").rglob("*") if path.is_file() and path.parent.name != INCOMING
    ]
    chunks = {f"c:{found.entity.key.path[0].id}/{found.entity.key.path[1].name}" for found in everything("Chunk")}
    assert chunks == {source for source in needed if source.startswith("c:")}
    assert len(files) == len({source for source in needed if source.startswith("b:")})
    assert verify(datastore.own_client(), commands.stores(), lambda sofar: None).missing == []
    homes = {entry.dir for found in everything("Entry") if (entry := decode(found)).type == "dir"}
    assert {found.entity.key.path[0].name for found in everything("Dir")} <= homes
    assert {found.entity.key.path[0].name for found in everything("Entry")} <= {*homes, "mounts"}


@pytest.mark.long
def test_a_killed_process_leaves_each_file_old_or_new_and_nothing_leaks(folder: Path) -> None:
    chosen, state, done, midway = random.Random(SEED), State(), 0, 0
    for number in range(KILLS):
        journal = work(folder, state, chosen.randrange(2**32), chosen.uniform(0, LONGEST))
        before, begun = replay(state, journal)
        done += sum('"end"' in line for line in journal.read_text().splitlines())
        midway += begun is not None
        after = before.after(begun) if begun is not None else before
        left = tree(str(folder / "data"))
        assert left in (before.told(), after.told()), f"kill {number}, in the midst of {begun}"
        state = after if left == after.told() else before
        check_nothing_is_leaked(folder)
        assert tree(str(folder / "data")) == left
    assert done > KILLS
    assert midway > KILLS // 5  # the rest fell between two steps
    print(f"{KILLS} kills, {done} steps done, {midway} in the midst of one")  # noqa: T201 - for pytest -s
