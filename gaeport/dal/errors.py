"""The errors of a database that applications catch."""

import sqlite3

from gaeport.errors import GaeportError


class IntegrityError(GaeportError, sqlite3.IntegrityError):
    """A row breaks a rule of its table: `unique`, `notnull`, an id that is taken, a reference that restricts.

    It is the error that pyDAL's own drivers raise, so `except db._adapter.driver.IntegrityError` catches it.
    """


class TransactionConflict(GaeportError, sqlite3.OperationalError):
    """Others wrote what a transaction read, or what a buffered request changes; nothing of it was written.

    Trying the whole again is what helps; `db.transaction(function)` does.
    """
