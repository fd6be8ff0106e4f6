"""Reading blobs: in sequence, at random, by several at once."""

import random

from gaeport import meter
from gaeport.blobs.memory import MemoryStore
from gaeport.datastore.client import Client
from gaeport.datastore.engine import Engine
from gaeport.fs.datastore.content import Extent
from gaeport.fs.datastore.storage import AHEAD, BLOCK, Storage

SIZE = 20 * BLOCK + 12345
CONTENT = random.Random(1).randbytes(SIZE)


def storage() -> Storage:
    """A storage whose blobs "one" and "two" hold CONTENT."""
    blobs = {"one": CONTENT, "two": CONTENT}
    engine = Engine(None)
    return Storage(lambda: Client(engine, project="test"), MemoryStore(blobs), 65536)


def test_a_blob_read_in_sequence_takes_few_requests() -> None:
    store, step = storage(), BLOCK
    with meter.measure() as counts:
        found = b"".join(store.load(Extent("b:one", at, min(step, SIZE - at))) for at in range(0, SIZE, step))
    assert found == CONTENT
    assert counts.calls["ReadBlob"] == 1 + -(-(SIZE - BLOCK) // AHEAD)


def test_small_reads_in_sequence_take_few_requests() -> None:
    store, step = storage(), BLOCK // 4
    with meter.measure() as counts:
        found = b"".join(store.load(Extent("b:one", at, min(step, SIZE - at))) for at in range(0, SIZE, step))
    assert found == CONTENT
    assert counts.calls["ReadBlob"] <= 2 + -(-(SIZE - BLOCK) // AHEAD)


def test_reads_at_random_ask_for_no_more_than_they_need() -> None:
    store, chance = storage(), random.Random(2)
    for _ in range(30):
        at = chance.randrange(1, SIZE - BLOCK)
        with meter.trace() as counts:
            assert store.load(Extent("b:one", at, BLOCK)) == CONTENT[at : at + BLOCK]
        assert [call.about.received for call in counts.kept] == [BLOCK]


def test_reads_of_several_blobs_by_turns_stay_apart() -> None:
    store = storage()
    for at in range(0, SIZE - BLOCK, BLOCK):
        for name in ("one", "two"):
            assert store.load(Extent(f"b:{name}", at, BLOCK)) == CONTENT[at : at + BLOCK]


def test_what_was_read_to_the_end_is_let_go() -> None:
    store = storage()
    for at in range(0, SIZE, BLOCK):
        store.load(Extent("b:one", at, min(BLOCK, SIZE - at)))
    assert sum(len(stream.waiting) for stream in store._streams.values()) == 0
