"""pyDAL on Datastore: importing this package makes `datastore://` known to pyDAL.

`DAL` and `Field` are pyDAL's own.
"""

from gaeport.errors import MissingExtraError

try:
    from pydal import DAL, Field
except ImportError as error:
    raise MissingExtraError("gaeport.dal needs pyDAL: pip install 'gaeport[dal]'") from error

from gaeport.dal.adapter import DatastoreAdapter
from gaeport.dal.errors import IntegrityError, TransactionConflict
from gaeport.dal.plan import Plan

__all__ = ["DAL", "DatastoreAdapter", "Field", "IntegrityError", "Plan", "TransactionConflict"]
