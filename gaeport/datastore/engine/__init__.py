"""The embedded Datastore: the v1 service on SQLite, inside the process."""

from gaeport.datastore.engine.engine import Engine

__all__ = ["Engine"]
