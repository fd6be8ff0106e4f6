"""Datastore as this process reaches it: production, one of Google's emulators, or the engine inside the process."""

from gaeport.datastore.connection import channel, check, client, ndb_client, own_client, reset

__all__ = ["channel", "check", "client", "ndb_client", "own_client", "reset"]
