"""Many files in one Commit, by several instances at once, on the embedded engine and on Google's emulators."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaeport.datastore.engine import Engine
from gaeport.datastore.transport import Transport
from gaeport.fs.datastore.bulk import BYTES, FILES, Whole, batches
from tests.fs.schedules import check_store, contents
from tests.fs.volumes import LosesAnswers, make, over_grpc

EMULATORS = ["firestore_emulator", "datastore_emulator"]


@pytest.fixture(params=["engine", *(pytest.param(name, marks=pytest.mark.emulator) for name in EMULATORS)])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "engine":
        engine = Engine(None, synchronous="normal")
        yield engine
        engine.close()
    else:
        yield over_grpc(request.getfixturevalue(request.param))


def test_instances_that_write_the_same_names_leave_whole_files_of_one_of_them(
    transport: Transport, tmp_path: Path
) -> None:
    name = f"bulk{random.SystemRandom().randrange(1 << 40)}"
    make(transport, tmp_path, name=name).mkdir(("d",))

    def write(number: int) -> None:
        chance = random.Random(number)
        faulty = LosesAnswers(transport, lambda _: chance.random() < 0.15)
        volume = make(faulty, tmp_path, name=name)
        volume.scandir(("d",))
        for _ in range(5):
            chosen = chance.sample(range(60), 20)
            files = [Whole(("d", str(n)), b"%d" % number * 500, 0o640, 1, 2, new=chance.random() < 0.5) for n in chosen]
            volume.bulk.write(files)  # what conflicts without end is left
        volume.times.stop()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = make(transport, tmp_path, name=name)
    found = contents(reader, "d")
    assert len(found) > 20
    assert set(found.values()) <= {b"=" + b"%d" % number * 500 for number in range(4)}
    paths = [tuple(path.split("/")) for path in found]
    assert [b"=" + answer[1] if answer else b"" for answer in reader.bulk.read(paths)] == list(found.values())
    assert reader.bulk.remove(paths) == []
    assert contents(reader, "d") == {}
    if isinstance(transport, Engine):
        check_store(transport, make(transport, tmp_path, name=name))


def test_batches_are_bounded_by_number_and_bytes() -> None:
    assert [len(batch) for batch in batches(range(600), [1] * 600)] == [FILES, FILES, 600 - 2 * FILES]
    assert [len(batch) for batch in batches(range(4), [BYTES // 2, BYTES // 2, 1, BYTES * 2])] == [2, 1, 1]
    assert list(batches([], [])) == []


def test_files_over_the_inline_limit_are_left(tmp_path: Path) -> None:
    engine = Engine(None, synchronous="normal")
    volume = make(engine, tmp_path)
    files = [Whole(("small",), b"x" * 65_536, 0o640, 1, 2), Whole(("large",), b"x" * 65_537, 0o640, 1, 2)]
    assert volume.bulk.write(files) == [files[1]]
    assert list(contents(volume)) == ["small"]
    volume.times.stop()
    engine.close()
