"""Removing a whole directory of a bucket: one listing, and one call an object, several at a time."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gaeport.blobs.objects import Stored
from gaeport.fs.gcs.facts import facts_of
from gaeport.fs.gcs.tree import Node
from gaeport.fs.volume import Path
from gaeport.fs.workers import Workers

if TYPE_CHECKING:
    from gaeport.fs.gcs.volume import GcsVolume


def tree(volume: "GcsVolume", path: Path) -> bool:
    """Remove a directory with everything in it, as far as nobody interferes.

    Files go first, then the directories' placeholders from below, so that an interruption leaves no file without its
    directory. What was deployed, what is being created here, and what another instance changes meanwhile is left to
    the caller, who removes name by name and is told the errors.

    Returns:
        Whether all of it is gone.
    """
    node = volume.tree.resolve(path, follow=False)
    if node.kind != "dir" or node.deployed is not None or volume.pending_below(node.path):
        return False
    placeholders: list[Stored] = []
    files = _files(volume, node.path, placeholders)

    def remove(stored: Stored) -> bool:
        return _removed(volume, stored)

    with Workers() as workers:
        failures = sum(not gone for gone in workers.each(remove, files))
    placeholders.sort(key=lambda one: -len(one.name))
    return not failures and all(_removed(volume, stored) for stored in placeholders)


def _files(volume: "GcsVolume", path: Path, placeholders: list[Stored]) -> Iterator[Stored]:
    """Yield the files of a directory page by page, since it may have more than fit the memory; note the others."""
    for stored in volume.directories.everything(path):
        if stored.name.endswith("/"):
            placeholders.append(stored)
        else:
            yield stored


def _removed(volume: "GcsVolume", stored: Stored) -> bool:
    where = volume.path_of(stored)
    node = Node(where, facts_of(stored, volume.names.ino(where)), stored)
    return volume.removed(node, volume.inode_of(node))
