"""`[[mount]]`: a directory whose files are kept in a store."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, Literal

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import check

INLINE_LIMIT = 524_288  # bytes; half an entity, so that a rewrite and its index rows always fit the 1,048,572 B limit
MAX_INLINE_LIMIT = 917_504  # bytes; leaves 128 KiB of an entity for everything else in it

StoreName = Literal["datastore"]


@dataclass(frozen=True, slots=True)
class MountSettings:
    """One `[[mount]]` of gaeport.toml.

    Attributes:
        path: the directory, relative to gaeport.toml's folder or absolute.
        name: its name in the store; by default its path as written in gaeport.toml.
        store: what keeps the files.
        bucket: the Cloud Storage bucket for large content; by default the top-level `bucket`.
        prefix: put before the names of this mount's objects in the bucket.
        overlay: whether files deployed in this directory are visible until written or removed.
        inline_limit: bytes; content up to this size lives in the file's own entity.
    """

    path: str
    name: str = ""
    store: StoreName = "datastore"
    bucket: str | None = None
    prefix: str = ""
    overlay: bool = True
    inline_limit: Annotated[int, "of bytes"] = INLINE_LIMIT


def mount_settings(item: Mapping[str, Any], where: str, place: str) -> MountSettings:
    """Check one `[[mount]]` table and return it frozen.

    Args:
        item: its keys.
        where: what to call it in messages.
        place: where the table came from, for messages.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    check(item, MountSettings, place, where)
    for needed in (f.name for f in fields(MountSettings) if f.default is MISSING):
        if not item.get(needed):
            raise ConfigurationError(f'{place}: {where}: {needed} is missing; write e.g. {needed} = "uploads"')
    settings = MountSettings(**item)
    if not 0 <= settings.inline_limit <= MAX_INLINE_LIMIT:
        raise ConfigurationError(
            f"{place}: {where}: inline_limit = {settings.inline_limit} is outside 0 to {MAX_INLINE_LIMIT:,} bytes "
            "(an entity holds 1,048,572)"
        )
    path = os.path.normpath(settings.path)
    if not settings.name:
        settings = replace(settings, name=path)
    return replace(settings, path=path)
