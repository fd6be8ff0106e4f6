"""Which blob store a mount gets, by where the process runs."""

import os

from gaeport import settings
from gaeport.blobs.base import BlobStore
from gaeport.blobs.cloud import CloudStore
from gaeport.blobs.folder import FolderStore
from gaeport.blobs.memory import MemoryStore

FOLDER = "blobs"  # in the embedded data folder

_in_memory: dict[str, bytes] = {}


def store(bucket: str | None, prefix: str = "") -> BlobStore | None:
    """Return the store for large content; nothing is opened or asked before its first use.

    Args:
        bucket: the Cloud Storage bucket; embedded, it is ignored.
        prefix: put before every name.

    Returns:
        Embedded: a folder in the data folder, or memory. In production and with an emulator: the bucket, or None when
        there is none. None also when only Datastore is emulated (no STORAGE_EMULATOR_HOST), so that a rehearsal never
        writes into the real bucket; content then goes to chunk entities.
    """
    config = settings.current()
    if config.environment == "embedded":
        if config.in_memory:
            return MemoryStore(_in_memory, prefix)
        return FolderStore(config.data_path / FOLDER, prefix, sync=config.synchronous == "full")
    if not bucket or (config.environment == "emulator" and not os.environ.get("STORAGE_EMULATOR_HOST")):
        return None
    return CloudStore(bucket, prefix)


def address(bucket: str | None, prefix: str = "") -> str:
    """Return what names the store that `store(bucket, prefix)` gives, for records of what lies in it.

    "gs://BUCKET/PREFIX" in Cloud Storage; "" for the data folder's own store and where there is none.
    """
    return f"gs://{bucket}/{prefix}" if isinstance(store(bucket, prefix), CloudStore) else ""


def at(address: str) -> BlobStore | None:
    """Return the store that an address names, under the settings in force."""
    bucket, _, prefix = address.removeprefix("gs://").partition("/")
    return store(bucket, prefix)


def _drop_memory() -> None:
    global _in_memory
    _in_memory = {}  # a new dictionary: stores in use keep the old one


settings.on_change(_drop_memory)
