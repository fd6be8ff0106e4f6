"""The same operations on a folder of the disk and on a mounted one: results, errors and trees agree.

GAEPORT_LONG=1 makes it 10,000 sequences, or GAEPORT_SEQUENCES; GAEPORT_SEED is the first one's number.
"""

import os
import random
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import gaeport.datastore.connection as connections
from gaeport import settings
from gaeport.fs import mounts
from gaeport.fs.datastore.volume import make_volume
from tests.fs.differential import handles, library, paths
from tests.fs.differential.world import OPERATIONS, WEIGHTS, World, outcome, tree

MODULES = (paths, handles, library)  # importing them enters their operations
LONG = os.environ.get("GAEPORT_LONG") == "1"
SEQUENCES = int(os.environ.get("GAEPORT_SEQUENCES", "10000" if LONG else "40"))
ON_AN_EMULATOR = int(os.environ.get("GAEPORT_SEQUENCES", "300" if LONG else "3"))
SEED = int(os.environ.get("GAEPORT_SEED", "1"))
STEPS = 30


@pytest.fixture
def mounted(application: Path) -> Path:
    """A mounted folder on the embedded engine."""
    return mount(application)


def mount(application: Path) -> Path:
    folder = application / "uploads"
    folder.mkdir()
    mounts.attach(str(folder), make_volume(settings.MountSettings(path="uploads", name="uploads"), str(folder)))
    return folder


@pytest.fixture
def on_firestore(application: Path, firestore_emulator: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mounted folder on Google's Firestore emulator."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "differential")
    settings.configure(root=application)
    yield mount(application)
    mounts.unmount_all()
    connections.reset()


def play(seed: int, ours: Path, real: Path, steps: int = STEPS) -> list[str]:
    """Do one sequence in both folders; returns what was done, which ends with the difference if there was one."""
    rng = random.Random(seed)
    names, weights = list(OPERATIONS), [WEIGHTS[name] for name in OPERATIONS]
    worlds = [World(str(folder / f"s{seed}")) for folder in (real, ours)]
    done: list[str] = []
    try:
        for step in range(steps):
            name, number = rng.choices(names, weights)[0], rng.randrange(2**32)
            expected, found = (outcome(world, name, number) for world in worlds)
            done.append(f"{name}, {number}: {expected}"[:1000])
            if found != expected:
                return [*done, f"DIFFERENT: {found}"]
            if step % 10 == 9 and (difference := compared(*worlds)):
                return [*done, difference]
    finally:
        for world in worlds:
            world.close_all()
    done.append("closed")
    difference = compared(*worlds)
    for world in worlds:
        shutil.rmtree(world.base)
    return [*done, difference] if difference else done


def compared(real: World, ours: World) -> str:
    expected, found = tree(real.base), tree(ours.base)
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    told = [f"{name}: {expected.get(name)!r:.200} on the disk, {found.get(name)!r:.200} here" for name in sorted(names)]
    return f"DIFFERENT: {told}" if told else ""


@pytest.fixture
def regular(application: Path) -> Path:
    """An ordinary folder, whose path is as long as the mounted one's, so that links to absolute paths are too."""
    folder = application / "regular"
    folder.mkdir()
    return folder


def play_all(count: int, ours: Path, real: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        warnings.filterwarnings("ignore", "Duplicate name", UserWarning)  # zipfile's, of archives in both folders
        warnings.filterwarnings("ignore", "Python 3.14 will", DeprecationWarning)  # how tarfile unpacks by default
        for seed in range(SEED, SEED + count):
            done = play(seed, ours, real)
            assert not done[-1].startswith("DIFFERENT"), f"seed {seed}\n" + "\n".join(done)


def test_a_mount_answers_as_the_disk_does(mounted: Path, regular: Path) -> None:
    play_all(SEQUENCES, mounted, regular)


@pytest.mark.emulator
def test_a_mount_on_the_firestore_emulator_answers_as_the_disk_does(on_firestore: Path, regular: Path) -> None:
    play_all(ON_AN_EMULATOR, on_firestore, regular)


def test_there_are_at_least_sixty_kinds_of_operation() -> None:
    assert len(OPERATIONS) >= 60
