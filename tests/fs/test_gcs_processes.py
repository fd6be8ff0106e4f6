"""Several processes on one bucket: of a server, and of the data folder that stands in for one on a laptop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaeport.blobs import cloud
from gaeport.blobs.object_cloud import CloudObjects
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.objects import ObjectStore, Stored
from tests import storage_server
from tests.storage_server import Bucket

PREAMBLE = """
import os, sys
import gaeport
gaeport.configure(root={root!r}, data={data!r})
gaeport.mount({folder!r}, store="gcs", bucket="pictures", prefix="m/")
os.chdir({folder!r})
me = int(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""
CREATE = """
try:
    with open("winner", "x") as file:
        file.write(str(me))
    print("won", flush=True)
except FileExistsError:
    print("lost", flush=True)
"""
APPEND = """
for number in range(int(sys.argv[2])):
    with open("log", "a") as file:
        file.write(f"{me} {number}\\n")
"""
LARGE = """
with open("large", "wb") as file:
    for number in range(1000):
        file.write(bytes([number % 256]) * (1 << 20))
        file.flush()
        print(number, flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


class Place:
    """Where the processes work, and how to look at what they stored."""

    def __init__(self, folder: Path, store: ObjectStore, bucket: Bucket | None) -> None:
        self.folder, self.store, self.bucket = folder, store, bucket

    def content(self, name: str) -> bytes:
        found = self.store.stat(name)
        assert found is not None
        return self.store.read(name, found.generation, 0, found.size)

    def everything(self) -> list[str]:
        return sorted(item.name for item in self.store.scan("", deep=True) if isinstance(item, Stored))


@pytest.fixture(params=["folder", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "application" / "media").mkdir(parents=True)
    if request.param == "folder":
        yield Place(tmp_path, FolderObjects(tmp_path / "data" / "objects" / "pictures"), None)
        return
    with storage_server.running() as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.url)
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")  # never asked: nothing is locked
        cloud.reset()
        yield Place(tmp_path, CloudObjects("pictures"), bucket)
    cloud.reset()


@pytest.fixture
def start(place: Place) -> Iterator[Start]:
    """Starts a process with the mount in place, which waits for a line."""
    running: list[subprocess.Popen[str]] = []

    def begin(script: str, *arguments: object) -> "subprocess.Popen[str]":
        root = place.folder / "application"
        text = PREAMBLE.format(root=str(root), data=str(place.folder / "data"), folder=str(root / "media")) + script
        command = [sys.executable, "-c", text, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(processes: "list[subprocess.Popen[str]]") -> None:
    """Let processes that are ready begin at once."""
    for process in processes:
        assert line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def test_of_eight_processes_one_creates_the_file(place: Place, start: Start) -> None:
    processes = [start(CREATE, number) for number in range(8)]
    go(processes)
    said = [line(process) for process in processes]
    assert all(process.wait() == 0 for process in processes)
    assert sorted(said) == ["lost"] * 7 + ["won"]
    assert place.content("m/winner") == str(said.index("won")).encode()


def test_two_processes_append_and_lose_nothing(place: Place, start: Start) -> None:
    processes = [start(APPEND, number, 25) for number in range(2)]
    go(processes)
    assert all(process.wait() == 0 for process in processes)
    lines = place.content("m/log").decode().splitlines()
    assert sorted(lines) == sorted(f"{process} {number}" for process in range(2) for number in range(25))


def test_a_process_that_is_killed_in_a_large_file_leaves_nothing(place: Place, start: Start) -> None:
    process = start(LARGE, 0)
    go([process])
    while int(line(process)) < 40:
        pass
    if place.bucket is not None:
        assert len(place.bucket.sessions) == 1  # it is under way
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert place.everything() == []


@pytest.mark.parametrize("place", ["folder"], indirect=True)  # to a server, one call stores a file or does not
def test_a_process_that_is_killed_among_small_writes_leaves_whole_files(place: Place, start: Start) -> None:
    script = """
while True:
    for name in "abc":
        with open(name, "w") as file:
            file.write(name * 5000)
        os.replace(name, name + name)
        os.chmod(name + name, 0o600)
        print("x", flush=True)
"""
    for number in range(6):
        process = start(script, 0)
        go([process])
        line(process)
        time.sleep(0.03 * number)
        process.kill()
        process.communicate()
        for name in place.everything():
            assert place.content(name) == name[-1].encode() * 5000
        assert {name[2:] for name in place.everything()} <= {"a", "b", "c", "aa", "bb", "cc"}
