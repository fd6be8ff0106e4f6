"""What databases on Datastore can do that pyDAL's others cannot: `db.transaction` and `db.transactional`."""

from functools import partial
from typing import Any

from gaeport.dal.transactions import ATTEMPTS, Units

_NAMES = ("transaction", "transactional")


def add(db: Any, units: Units) -> None:
    """Give a database its methods. A table of such a name takes the method's place."""
    db.__dict__["transaction"] = partial(transaction, units)
    db.__dict__["transactional"] = units.wrapped
    db.__dict__["define_table"] = partial(_define_table, db)


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


def _define_table(db: Any, tablename: Any, *fields: Any, **options: Any) -> Any:
    if tablename in _NAMES and tablename not in db.tables:
        del db.__dict__[tablename]
    return type(db).define_table(db, tablename, *fields, **options)
