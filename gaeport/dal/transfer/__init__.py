"""Moves tables and uploads from SQL databases to Datastore and back; `gaeport data`."""

from gaeport.dal.transfer.errors import TransferError

__all__ = ["TransferError"]
