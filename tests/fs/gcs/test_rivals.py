"""Threads that contend for the same files of a server that refuses some requests and loses some answers."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gaeport.blobs import cloud
from gaeport.blobs.object_cloud import CloudObjects
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume
from tests import storage_server
from tests.fs.volumes import append, get, names, put
from tests.storage_server import Bucket, Call

RIVALS, LINES, JOBS, TURNS = 4, 15, 25, 6
SEED = int(os.environ.get("GAEPORT_SEED", "1"))


@pytest.fixture
def bucket(application: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    rng = random.Random(SEED)
    with storage_server.in_use(monkeypatch, 0.002) as running:
        running.lose = lambda call: rng.random() < 0.1
        running.refuse = lambda call: rng.choice([429, 503]) if rng.random() < 0.05 else 0
        yield running


class Rival(threading.Thread):
    """An instance of an application."""

    def __init__(self, number: int, root: Path) -> None:
        super().__init__()
        self.number = number
        self.volume = GcsVolume(Tree(CloudObjects("pictures"), Names("pictures", "m/"), str(root), overlay=False))
        self.claimed: list[int] = []
        self.finished = False

    def run(self) -> None:
        for line in range(LINES):
            append(self.volume, "log", b"%d %d\n" % (self.number, line))
        for job in random.Random(self.number).sample(range(JOBS), JOBS):
            self.claim(job)
        for _ in range(TURNS):
            self.count()
        self.finished = True

    def claim(self, job: int) -> None:
        try:
            self.volume.rename(("jobs", str(job)), (f"of {self.number}", str(job)))
        except FileNotFoundError:
            return  # another was faster
        self.claimed.append(job)

    def count(self) -> None:
        """Add one to a number, alone thanks to a file that only one can make."""
        while True:
            try:
                put(self.volume, "lock", b"", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                break
            except FileExistsError:
                time.sleep(0.002)
        put(self.volume, "counter", b"%d" % (int(get(self.volume, "counter")) + 1))
        self.volume.unlink(("lock",))


def test_of_rivals_each_gets_its_own(bucket: Bucket, application: Path) -> None:
    rivals = [Rival(number, application / "media") for number in range(RIVALS)]
    volume = rivals[0].volume
    volume.mkdir(("jobs",))
    for rival in rivals:
        volume.mkdir((f"of {rival.number}",))
    for job in range(JOBS):
        put(volume, f"jobs/{job}", b"job")
    put(volume, "counter", b"0")
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert all(rival.finished for rival in rivals)
    wanted = [b"%d %d" % (number, line) for number in range(RIVALS) for line in range(LINES)]
    assert Counter(get(volume, "log").splitlines()) == Counter(wanted)
    assert sorted(job for rival in rivals for job in rival.claimed) == list(range(JOBS))
    for rival in rivals:
        assert names(volume, f"of {rival.number}") == sorted(map(str, rival.claimed))
    assert get(volume, "counter") == b"%d" % (RIVALS * TURNS)


@pytest.mark.parametrize("seed", range(SEED, SEED + 8))
def test_syncs_that_fail_and_are_tried_again(
    bucket: Bucket, application: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What two files, open for long, were told to be stored is there once, whether a failed try was done or not."""
    rng, outage = random.Random(seed), 0

    def lose(call: Call) -> bool:
        nonlocal outage
        if not outage and rng.random() < 0.12:
            outage = rng.choice([1, 3, 13, 13])
        outage -= bool(outage)
        return bool(outage)

    bucket.refuse, bucket.lose = lambda call: 0, lambda call: False
    monkeypatch.setattr(cloud, "RETRY_SECONDS", 0.02)
    volumes = [Rival(number, application / "media").volume for number in range(2)]
    put(volumes[0], "log", b"")
    handles = [volume.open(("log",), os.O_WRONLY | os.O_APPEND) for volume in volumes]
    bucket.lose = lose
    lines = iter(range(10**6))
    for _ in range(30):
        handle = handles[rng.randrange(2)]
        for _ in range(rng.randrange(3)):
            handle.append(b"%d\n" % next(lines))
        with suppress(OSError):  # and so it is tried again
            handle.sync()
    bucket.lose = lambda call: False
    for handle in handles:
        handle.close()
    assert Counter(get(volumes[0], "log").splitlines()) == Counter(b"%d" % line for line in range(next(lines)))
