"""`shutil.rmtree` for mounts: what takes a call for each file on a disk takes one for hundreds here."""

import shutil
from contextlib import suppress
from functools import wraps
from typing import Any

from gaeport.fs.patching import changes, paths
from gaeport.fs.places import Place

native_rmtree: Any = shutil.rmtree


@wraps(native_rmtree.__call__ if not hasattr(native_rmtree, "__name__") else native_rmtree)
def rmtree(path: Any, *arguments: Any, **options: Any) -> None:
    """Stand in for `shutil.rmtree`, which still does what is left over, and so tells the errors as it was asked to."""
    place = paths.locate(path, options.get("dir_fd"))
    quick = (
        getattr(place.volume, "rmtree", None) if isinstance(place, Place) and place.parts and not place.dotted else None
    )
    if isinstance(place, Place) and quick is not None:
        with suppress(OSError):
            if quick(place.parts):
                changes.note(place)
                return
    native_rmtree(path, *arguments, **options)


rmtree.avoids_symlink_attacks = native_rmtree.avoids_symlink_attacks  # type: ignore[attr-defined]  # as shutil's has it
