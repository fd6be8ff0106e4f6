"""What databases on Datastore have in a way of their own: transactions, and upload fields without a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from gaeport.dal import uploads
from gaeport.dal.store import Store
from gaeport.dal.transactions import ATTEMPTS, Units

_NAMES = ("transaction", "transactional")


def add(db: Any, store: Store) -> None:
    """Give a database its methods. A table of such a name takes the method's place."""
    db.__dict__["transaction"] = partial(transaction, store.units)
    db.__dict__["transactional"] = store.units.wrapped
    db.__dict__["single_transaction"] = partial(_single_transaction, db, store.units)
    db.__dict__["define_table"] = partial(_define_table, db)
    db.__dict__["lazy_define_table"] = partial(_lazy_define_table, db, uploads.Contents(store))


def transaction(units: Units, function: Any = None, *, attempts: int = ATTEMPTS) -> Any:
    """Return a context manager for one attempt; or call a function in a transaction, again where others interfere.

    Args:
        units: the database's.
        function: called without arguments, several times if need be; what it returns is returned.
        attempts: how often to try the function in all.

    Raises:
        TransactionConflict: by the block's end, or after the last attempt: others wrote what was read.
    """
    return units.transaction() if function is None else units.run(function, attempts)


@contextmanager
def _single_transaction(db: Any, units: Units) -> Iterator[Any]:
    """Do what pyDAL's own does, in a real transaction: an error in the block ends it unsaid, nothing is written.

    That others were in the way is said.
    """
    db._adapter.reconnect()
    failed = False
    try:
        with units.transaction():
            try:
                yield db
            except Exception:
                failed = True
                raise
    except Exception:
        if not failed:
            raise
    finally:
        db.close()


def _define_table(db: Any, tablename: Any, *fields: Any, **options: Any) -> Any:
    if tablename in _NAMES and tablename not in db.tables:
        del db.__dict__[tablename]
    return type(db).define_table(db, tablename, *fields, **options)


def _lazy_define_table(db: Any, contents: uploads.Contents, tablename: Any, *fields: Any, **options: Any) -> Any:
    """Define a table where pyDAL does it at last, with `lazy_tables` when it is first used."""
    table = type(db).lazy_define_table(db, tablename, *fields, **options)
    uploads.adapt(table, contents)
    return table
