"""Which store keeps the objects of a bucket, by where the process runs."""

import os

from gaeport import settings
from gaeport.blobs.object_cloud import CloudObjects
from gaeport.blobs.object_folder import FolderObjects
from gaeport.blobs.object_memory import Content, MemoryObjects
from gaeport.blobs.objects import ObjectStore
from gaeport.errors import ConfigurationError

FOLDER = "objects"  # in the embedded data folder; a folder for each bucket in it
NO_BUCKET = "local"  # the name of that folder where the settings name no bucket

_in_memory: dict[str, Content] = {}


def object_store(bucket: str | None) -> ObjectStore:
    """Return the store of a bucket's objects; nothing is opened or asked before its first use.

    Args:
        bucket: the Cloud Storage bucket. Embedded, and where only Datastore is emulated (so that a rehearsal never
            writes into the real bucket), a folder of that name in the data folder; or memory.

    Raises:
        ConfigurationError: production, or STORAGE_EMULATOR_HOST, and no bucket.
    """
    config = settings.current()
    local = config.environment == "embedded" or (
        config.environment == "emulator" and not os.environ.get("STORAGE_EMULATOR_HOST")
    )
    if local and config.in_memory:
        return MemoryObjects(_in_memory.setdefault(bucket or NO_BUCKET, {}))
    if local:
        folder = config.data_path / FOLDER / (bucket or NO_BUCKET)
        return FolderObjects(folder, sync=config.synchronous == "full")
    if not bucket:
        raise ConfigurationError(
            'a mount with store = "gcs" keeps its files in a bucket, and none is named: write bucket = "my-bucket" '
            "in the [[mount]] or at the top of gaeport.toml"
        )
    return CloudObjects(bucket)


def _drop_memory() -> None:
    global _in_memory
    _in_memory = {}  # a new dictionary: stores in use keep the old one


settings.on_change(_drop_memory)
