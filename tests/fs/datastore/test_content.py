"""The table of pieces, held against a plain bytearray."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gaeport.fs.datastore.content import Changes, Extent, Hole, Memory, View

STORED = bytes(range(256)) * 4

offsets = st.integers(0, 80)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), offsets, st.binary(min_size=1, max_size=30)),
        st.tuples(st.just("append"), st.just(0), st.binary(min_size=1, max_size=30)),
        st.tuples(st.just("truncate"), offsets, st.just(b"")),
    ),
    max_size=12,
)
pieces = st.lists(
    st.one_of(
        st.builds(Extent, st.just("b:x"), st.integers(0, 500), st.integers(1, 20)),
        st.builds(Hole, st.integers(1, 20)),
        st.builds(Memory, st.binary(min_size=1, max_size=20)),
    ),
    max_size=5,
)


def load(extent: Extent) -> bytes:
    return STORED[extent.offset : extent.offset + extent.length]


def content(view: View) -> bytes:
    return view.read(0, view.size, load)


def change(view: View, changes: Changes, operation: tuple[str, int, bytes]) -> None:
    kind, offset, data = operation
    if kind == "write":
        changes.on_write(offset, offset + len(data))
        view.write(offset, data)
    elif kind == "append":
        changes.on_append(view.size)
        view.write(view.size, data)
    else:
        changes.on_truncate(offset, view.size)
        view.truncate(offset)


def change_bytes(model: bytearray, operation: tuple[str, int, bytes]) -> None:
    kind, offset, data = operation
    if kind == "truncate":
        del model[offset:]
        model.extend(bytes(offset - len(model)))
        return
    start = len(model) if kind == "append" else offset
    model.extend(bytes(max(0, start - len(model))))
    model[start : start + len(data)] = data


@given(pieces, operations)
@settings(max_examples=300, deadline=None)
def test_a_view_reads_as_the_bytes_that_were_written(base: list[Extent | Hole | Memory], todo: list) -> None:  # type: ignore[type-arg]  # tuples of three
    view, changes = View(base), Changes()
    model = bytearray(content(view))
    for operation in todo:
        change(view, changes, operation)
        change_bytes(model, operation)
        assert view.size == len(model)
        assert content(view) == bytes(model)
    for start in range(0, len(model), 7):
        assert view.read(start, 5, load) == bytes(model[start : start + 5])


@given(pieces, operations)
@settings(max_examples=300, deadline=None)
def test_replayed_on_what_it_began_with_a_change_gives_the_same(base: list, todo: list) -> None:  # type: ignore[type-arg]  # as above
    view, changes, original = View(base).copy(), Changes(), View(base).copy()
    for operation in todo:
        change(view, changes, operation)
    assert content(changes.replay(view, original)) == content(view)


@given(st.binary(min_size=10, max_size=40), st.binary(min_size=1, max_size=9), st.binary(min_size=1, max_size=20))
def test_an_append_goes_to_the_end_of_what_others_made_of_the_file(base: bytes, mine: bytes, theirs: bytes) -> None:
    view, changes = View([Memory(base)]), Changes()
    change(view, changes, ("append", 0, mine))
    assert content(changes.replay(view, View([Memory(base + theirs)]))) == base + theirs + mine


def test_ranges_written_by_two_merge() -> None:
    view, changes = View([Memory(b"aaaabbbbcccc")]), Changes()
    change(view, changes, ("write", 8, b"3333"))
    assert content(changes.replay(view, View([Memory(b"1111bbbbccccdddd")]))) == b"1111bbbb3333dddd"


def test_an_overwrite_of_everything_does_not_depend_on_what_was_there() -> None:
    view, changes = View([Memory(b"old")]), Changes()
    change(view, changes, ("truncate", 0, b""))
    change(view, changes, ("write", 0, b"new"))
    assert content(changes.replay(view, View([Memory(b"something else")]))) == b"new"


def test_a_write_copies_only_the_pieces_that_it_touches() -> None:
    """Thousands of scattered writes would else copy all that was written before, each time."""
    view = View([Memory(b"a" * 10), Hole(10), Memory(b"b" * 10), Hole(10), Memory(b"c" * 10)])
    first, last = view.pieces[0], view.pieces[-1]
    view.write(15, b"x")
    assert (view.pieces[0], view.pieces[-1]) == (first, last)
    view.truncate(45)
    assert view.pieces[0] is first
    assert last.length == 10
