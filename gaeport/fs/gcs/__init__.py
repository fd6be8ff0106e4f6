"""`store = "gcs"`: every file of a mount is one object of a bucket, under its own name, for others to read."""

from gaeport import settings
from gaeport.blobs.object_connection import NO_BUCKET, object_store
from gaeport.fs.gcs.names import Names
from gaeport.fs.gcs.tree import Tree
from gaeport.fs.gcs.volume import GcsVolume


def make_volume(mount: settings.MountSettings, root: str) -> GcsVolume:
    """Return the volume of a mount under the settings in force.

    Args:
        mount: its settings.
        root: the mounted directory on disk, absolute; it need not exist.

    Raises:
        ConfigurationError: a bucket is needed, and none is named.
    """
    bucket = mount.bucket or settings.current().bucket
    names = Names(bucket or NO_BUCKET, mount.prefix)
    return GcsVolume(Tree(object_store(bucket), names, root, mount.overlay, mount.attr_ttl))
