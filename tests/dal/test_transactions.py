"""Transactions and the request's buffer: what reads see, what is written, and what happens when others interfere."""

import logging
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from gaeport import meter
from gaeport.dal import DAL, Field, IntegrityError, TransactionConflict
from gaeport.errors import NotOnDatastore, Unavailable


def define(db: Any) -> Any:
    """Give a database a table with a unique field."""
    db.define_table("t", Field("n", "integer"), Field("name", unique=True), Field("body", "text"))
    return db


@pytest.fixture
def plain(db: Any) -> Any:
    """A database that commits each write."""
    return define(db)


@pytest.fixture
def buffered(plain: Any, connect: Callable[..., Any]) -> Any:
    """A database on the same rows that keeps writes until commit()."""
    return define(connect("datastore://?buffer=request"))


def meanwhile(db: Any, call: Callable[[], Any]) -> None:
    """Make a call in another thread, which has no part in this one's transaction."""

    def run() -> None:
        try:
            call()
        finally:
            db._adapter.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def test_a_block_sees_its_own_writes_and_others_see_them_after_it(plain: Any) -> None:
    table = plain.t
    first = table.insert(n=1)
    seen: list[int] = []
    with plain.transaction():
        plain(table.id == first).update(n=5)
        table.insert(n=7)
        table.bulk_insert([{"n": 6}, {"n": 2}])
        assert table(first).n == 5
        assert [row.n for row in plain(table.n > 4).select(orderby=~table.n)] == [7, 6, 5]
        assert [row.n for row in plain(table).select(orderby=table.n, limitby=(1, 3))] == [5, 6]
        assert (plain(table).count(), plain(table.n > 4).count(), plain(table.n == 1).isempty()) == (4, 3, True)
        assert plain(table).select(table.n.sum()).first()[table.n.sum()] == 20
        meanwhile(plain, lambda: seen.append(plain(table).count()))
    assert (seen, plain(table).count()) == ([1], 4)


def test_a_block_that_fails_leaves_nothing(plain: Any) -> None:
    first = plain.t.insert(n=1, name="a")

    def fail() -> None:
        with plain.transaction():
            plain(plain.t.id == first).delete()
            plain.t.insert(name="a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [row.id for row in plain(plain.t.name == "a").select()] == [first]
    with pytest.raises(IntegrityError):
        plain.t.insert(name="a")


def test_reads_in_a_block_are_of_one_moment(plain: Any) -> None:
    first, second = plain.t.insert(n=1), plain.t.insert(n=1)
    with plain.transaction():
        assert plain.t(first).n == 1
        meanwhile(plain, lambda: plain(plain.t).update(n=2))
        assert plain.t(second).n == 1
        assert plain(plain.t.n == 2).isempty()
    assert plain.t(second).n == 2


def test_a_block_whose_reads_others_changed_is_refused_and_writes_nothing(plain: Any) -> None:
    first = plain.t.insert(n=1)

    def copy() -> None:
        with plain.transaction():
            number = plain.t(first, _for_update=True).n
            meanwhile(plain, lambda: plain(plain.t).update(n=10))
            plain.t.insert(n=number)

    with pytest.raises(TransactionConflict, match="others"):
        copy()
    assert [row.n for row in plain(plain.t).select()] == [10]


def test_a_function_is_called_again_until_nobody_is_in_the_way(plain: Any) -> None:
    first = plain.t.insert(n=1)
    others = iter([10, 20])

    @plain.transactional  # type: ignore[untyped-decorator]  # a method of an untyped class
    def add(number: int) -> int:
        """Add."""
        row = plain.t(first)
        meanwhile(plain, lambda: plain(plain.t).update(n=next(others, 20)))
        row.update_record(n=row.n + number)
        return int(row.n)

    assert (add(5), plain.t(first).n, add.__doc__) == (25, 25, "Add.")
    others = iter(range(30, 60))
    with pytest.raises(TransactionConflict):
        plain.transaction(lambda: add(1), attempts=2)
    assert plain.t(first).n == 31


def test_counts_from_many_threads_in_transactions_are_exact(plain: Any) -> None:
    first = plain.t.insert(n=0)

    def add() -> None:
        def once() -> None:
            plain.t(first).update_record(n=plain.t(first).n + 1)

        for _ in range(4):
            plain.transaction(once, attempts=50)
        plain._adapter.close()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plain.t(first).n == 12


def test_an_inner_block_joins_the_outer_and_takes_back_only_its_own_writes(plain: Any) -> None:
    def fail() -> None:
        with plain.transaction():
            plain.t.insert(n=2)
            raise ZeroDivisionError

    with plain.transaction():
        plain.t.insert(n=1)
        with pytest.raises(ZeroDivisionError):
            fail()
        with plain.transaction():
            plain.t.insert(n=3)
        plain.commit()
        meanwhile(plain, lambda: plain.t.insert(n=plain(plain.t).count()))
    assert sorted(row.n for row in plain(plain.t).select()) == [0, 1, 3]


def test_a_block_inside_one_that_has_done_nothing_yet_joins_it(plain: Any, buffered: Any) -> None:
    def fail(db: Any) -> None:
        with db.transaction():
            with db.transaction():
                db.t.insert(n=1)
            raise ZeroDivisionError

    for db in (plain, buffered):
        with pytest.raises(ZeroDivisionError):
            fail(db)
        assert db(db.t).isempty()
    with meter.measure() as counted, plain.transaction():
        plain.transaction(lambda: plain.t.insert(n=1))
        plain.transaction(lambda: plain.t.insert(n=2))
    assert counted.calls == {"AllocateIds": 2, "Commit": 1}


def test_rollback_in_a_block_takes_back_what_it_wrote_so_far(plain: Any) -> None:
    with plain.transaction():
        plain.t.insert(n=1)
        plain.rollback()
        plain.t.insert(n=2)
    assert [row.n for row in plain(plain.t).select()] == [2]


def test_a_block_that_only_writes_is_one_commit(plain: Any) -> None:
    with meter.measure() as counted, plain.transaction():
        plain.t.bulk_insert([{"n": number} for number in range(50)])
    assert counted.calls == {"AllocateIds": 1, "Commit": 1}
    with meter.measure() as counted, plain.transaction():
        row = plain(plain.t.n == 7).select().first()
        row.update_record(n=70)
    assert counted.calls == {"BeginTransaction": 1, "RunQuery": 1, "Lookup": 1, "Commit": 1}
    with meter.measure() as counted, plain.transaction():
        assert plain.t(row.id).n == 70
    assert counted.calls == {"BeginTransaction": 1, "Lookup": 1, "Rollback": 1}


def test_unique_values_may_change_places_within_a_block(plain: Any) -> None:
    one, other = plain.t.insert(name="a"), plain.t.insert(name="b")
    with plain.transaction():
        with pytest.raises(IntegrityError, match=r"t\.name"):
            plain.t(one).update_record(name="b")
        plain.t(one).update_record(name="c")
        plain.t(other).update_record(name="a")
        plain.t(one).update_record(name="b")
        gone = plain.t.insert(name="d")
        plain.t(gone).delete_record()
        plain.t.insert(name="d", id=5)
        with pytest.raises(IntegrityError, match="id 5"):
            plain.t.insert(id=5)
    assert {row.id: row.name for row in plain(plain.t).select()} == {one: "b", other: "a", 5: "d"}
    for name in "abd":
        with pytest.raises(IntegrityError):
            plain.t.insert(name=name)
    assert plain.t.insert(name="c")


def test_pydals_own_single_transaction_is_one(plain: Any, connect: Callable[..., Any]) -> None:
    for error in (False, True):
        db = define(DAL("datastore://"))
        with db.single_transaction():
            db.t.insert(n=1)
            db.t.insert(n=1 // (not error))
    assert [row.n for row in plain(plain.t).select()] == [1, 1]
    db = define(DAL("datastore://"))

    def conflict() -> None:
        with db.single_transaction():
            db(db.t).update(n=2)
            meanwhile(plain, lambda: plain(plain.t).update(n=3))

    with pytest.raises(TransactionConflict):
        conflict()


def test_tables_may_be_called_transaction(db: Any) -> None:
    db.define_table("transaction", Field("amount", "integer"))
    assert db.transaction.insert(amount=5)
    with db._adapter.store.units.transaction():
        db.transaction.insert(amount=6)
    assert db(db.transaction).count() == 2


def test_rollback_without_a_buffer_says_what_it_left(plain: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gaeport.dal"):
        plain.t.insert(n=1)
        plain.commit()
        plain.rollback()
        assert not caplog.records
        plain.t.insert(n=2)
        plain.rollback()
        plain.rollback()
    assert [record.getMessage()[:35] for record in caplog.records] == ["db.rollback() leaves 1 commits as t"]


def test_what_is_buffered_is_written_by_commit_and_dropped_by_rollback(plain: Any, buffered: Any) -> None:
    number = buffered.t.insert(n=1, name="a")
    assert buffered(buffered.t.name == "a").select().first().id == number
    assert plain(plain.t).isempty()
    with meter.measure() as counted:
        buffered.commit()
        buffered.commit()
    assert (counted.calls, plain.t(number).n) == ({"Commit": 1}, 1)
    buffered(buffered.t.id == number).delete()
    buffered.rollback()
    assert buffered.t(number).n == 1


def test_closing_a_connection_commits_or_rolls_back_what_is_buffered(plain: Any, buffered: Any) -> None:
    buffered.t.insert(n=1)
    buffered._adapter.close("rollback")
    buffered.t.insert(n=2)
    buffered._adapter.close("commit")
    buffered.t.insert(n=3)
    buffered._adapter.close(None)
    assert [row.n for row in plain(plain.t).select()] == [2]


def test_a_commit_that_fails_at_the_end_of_a_request_is_an_error(plain: Any, buffered: Any) -> None:
    buffered.t.insert(name="a")
    plain.t.insert(name="a")
    with pytest.raises(IntegrityError, match=r"t\.name"):
        buffered._adapter.close("commit")
    assert plain(plain.t).count() == 1
    assert buffered.t.insert(name="b")


def test_a_value_taken_before_the_request_is_refused_at_once(plain: Any, buffered: Any) -> None:
    plain.t.insert(name="a")
    with pytest.raises(IntegrityError):
        buffered.t.insert(name="a")
    buffered.t.insert(name="b")
    with pytest.raises(IntegrityError):
        buffered.t.insert(name="b")
    buffered.commit()
    assert plain(plain.t).count() == 2


def test_what_others_wrote_meanwhile_is_kept_when_the_buffer_is_written(plain: Any, buffered: Any) -> None:
    number = plain.t.insert(n=1, name="a")
    buffered(buffered.t.id == number).update(n=buffered.t.n + 1)
    buffered.t.insert(n=5)
    plain.t(number).update_record(n=10, name="b")
    buffered.commit()
    assert (plain.t(number).n, plain.t(number).name, plain(plain.t).count()) == (11, "b", 2)


def test_a_buffered_write_that_would_come_to_something_else_is_refused(plain: Any, buffered: Any) -> None:
    number = plain.t.insert(n=1)
    assert buffered(buffered.t.n == 1).update(n=2) == 1
    buffered.t.insert(n=5)
    plain.t(number).update_record(n=10)
    with pytest.raises(TransactionConflict, match="selects"):
        buffered.commit()
    assert [row.n for row in plain(plain.t).select()] == [10]


def test_rows_read_for_update_must_not_have_changed_at_the_commit(plain: Any, buffered: Any) -> None:
    one, other = plain.t.insert(n=1), plain.t.insert(n=2)
    buffered.t(one, _for_update=True)
    plain.t(other).update_record(n=20)
    buffered.t.insert(n=3)
    buffered.commit()
    assert plain(plain.t).count() == 3
    assert buffered(buffered.t.n == 1).select(for_update=True).first().id == one
    buffered.t.insert(n=4)
    plain.t(one).update_record(n=10)
    with pytest.raises(TransactionConflict):
        buffered.commit()
    assert plain(plain.t).count() == 3
    with pytest.raises(NotOnDatastore, match="inside"):
        plain(plain.t).select(for_update=True)


def test_a_transaction_takes_along_what_was_buffered_before_it(plain: Any, buffered: Any) -> None:
    buffered.t.insert(n=1)

    def fail() -> None:
        buffered.t.insert(n=2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        buffered.transaction(fail)
    assert [row.n for row in buffered(buffered.t).select()] == [1]
    assert plain(plain.t).isempty()
    with buffered.transaction():
        buffered.t.insert(n=2)
        buffered.rollback()
        buffered.t.insert(n=3)
    assert [row.n for row in plain(plain.t).select(orderby=plain.t.n)] == [1, 3]


def test_a_limit_counts_rows_that_others_see_and_rows_that_they_do_not(plain: Any, buffered: Any) -> None:
    plain.t.bulk_insert([{"n": number, "body": "x"} for number in range(0, 300, 2)])
    table = buffered.t
    table.bulk_insert([{"n": number, "body": "x"} for number in (1, 3, 251)])
    buffered(table.n.belongs([2, 4])).delete()
    buffered(table.n == 290).update(n=-1)
    found = [row.n for row in buffered(table).select(orderby=table.n, limitby=(0, 6))]
    assert found == [-1, 0, 1, 3, 6, 8]
    assert [row.n for row in buffered(table.body == "x").select(orderby=~table.n, limitby=(2, 5))] == [294, 292, 288]
    assert [row.n for row in buffered(table.n > 245).select(orderby=table.n, limitby=(2, 4))] == [250, 251]
    assert buffered(table).count() == 151


def test_what_is_waiting_for_a_commit_makes_no_select_too_large(connect: Callable[..., Any]) -> None:
    db = define(connect("datastore://?buffer=request&scan_limit=20"))
    db.t.bulk_insert([{"n": number} for number in range(60)])
    db.commit()
    db.t.insert(n=60)
    assert len(db(db.t.n > 5).select()) == 55
    assert db._lastplan.reasons == ["changes that are not committed yet"]


def test_more_than_one_commit_can_carry_is_written_in_several(plain: Any, buffered: Any) -> None:
    buffered.t.bulk_insert([{"n": number, "body": "x" * 900_000} for number in range(10)])
    with meter.measure() as counted:
        buffered.commit()
    assert (counted.calls, plain(plain.t).count()) == ({"Commit": 2}, 10)


def test_an_answer_that_never_came_is_an_error_and_empties_the_buffer(
    plain: Any, buffered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut:
        def commit(self, mutations: Any) -> Any:
            raise Unavailable("the line is dead")

        def lookup(self, keys: Any) -> Any:
            raise Unavailable("the line is dead")

    buffered.t.insert(n=1)
    monkeypatch.setattr(buffered._adapter.store.units, "_plain", Cut)
    with pytest.raises(Unavailable):
        buffered.commit()
    monkeypatch.undo()
    buffered.commit()
    assert plain(plain.t).isempty()


def test_connections_are_pooled_and_a_closed_one_is_replaced(connect: Callable[..., Any]) -> None:
    made: set[int] = set()
    for _ in range(3):
        db = define(DAL("datastore://?scan_limit=7", pool_size=2))
        db.t.insert(n=1)
        assert db(db.t.n + 1 == 2).count() == len(db(db.t).select())
        made.add(id(db._adapter.connection))
        db.close()
    assert len(made) == 1
    db = define(DAL("datastore://?scan_limit=7", pool_size=2))
    db._adapter.connection.close()
    db.close()
    db = define(connect("datastore://?scan_limit=7", pool_size=2))
    assert db(db.t.n + 1 == 2).count() == 3


def test_the_scratch_of_a_thread_goes_with_its_connection(buffered: Any) -> None:
    outcomes: list[int] = []
    meanwhile(buffered, lambda: outcomes.append(int(buffered.t.insert(n=1))))
    assert buffered.t(outcomes[0]).n == 1


@pytest.mark.emulator
def test_transactions_and_buffers_work_on_the_firestore_emulator(
    connect: Callable[..., Any], firestore_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", firestore_emulator)
    place = f"datastore://gaeport-dal/n{random.randrange(2**32)}"
    db, buffered = define(connect(place)), define(connect(f"{place}?buffer=request"))
    with db.transaction():
        first = db.t.insert(n=0, name="a")
        assert (db.t(first).n, db(db.t).count()) == (0, 1)
        with pytest.raises(IntegrityError):
            db.t.insert(name="a")

    def add() -> None:
        db.transaction(lambda: db.t(first).update_record(n=db.t(first).n + 1), attempts=50)
        db._adapter.close()

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.t(first).n == 3
    buffered(buffered.t.id == first).update(n=buffered.t.n + 1)
    buffered.t.insert(name="b")
    db(db.t.id == first).update(n=10)
    buffered.commit()
    assert [(row.n, row.name) for row in db(db.t).select(orderby=db.t.name)] == [(11, "a"), (None, "b")]
    buffered.t(first, _for_update=True)
    db(db.t.id == first).update(n=20)
    with pytest.raises(TransactionConflict):
        buffered.commit()
