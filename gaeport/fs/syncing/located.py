"""The side of a sync or copy that a path stands for."""

import os

from gaeport.fs.patching import paths
from gaeport.fs.places import Place
from gaeport.fs.syncing.folder_side import FolderSide
from gaeport.fs.syncing.sides import Side
from gaeport.fs.syncing.volume_side import VolumeSide


def side_of(name: str, *, target: bool = False) -> Side:
    """Return the directory of a name, in a mount or on the disk.

    Args:
        name: its path.
        target: whether it is written to; then what killed copies left there on the disk is removed.
    """
    place = paths.locate(name)
    if isinstance(place, Place):
        return VolumeSide(place)
    return FolderSide(name if place is None else os.fsdecode(place), target=target)
