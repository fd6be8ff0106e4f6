"""`[[mount]]`: a directory whose files are kept in a store."""

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, Literal

from gaeport.errors import ConfigurationError
from gaeport.settings.checking import check, keys_of

INLINE_LIMIT = 524_288  # bytes; half an entity, so that a rewrite and its index rows always fit the 1,048,572 B limit
MAX_INLINE_LIMIT = 917_504  # bytes; leaves 128 KiB of an entity for everything else in it

MAX_PREFIX = 512  # bytes; leaves as much for the path in the mount

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")  # "Cloud Storage: bucket names"

StoreName = Literal["datastore", "gcs", "log"]


@dataclass(frozen=True, slots=True)
class MountSettings:
    """One `[[mount]]` of gaeport.toml.

    Attributes:
        path: the directory, relative to gaeport.toml's folder or absolute.
        name: its name in the store; by default its path as written in gaeport.toml.
        store: what keeps the files: Datastore, objects of a bucket under their own names, or the log.
        bucket: the Cloud Storage bucket, for large content or all; by default the top-level `bucket`.
        prefix: put before the names of this mount's objects in the bucket.
        overlay: whether files deployed in this directory are visible until written or removed.
        inline_limit: bytes; content up to this size lives in the file's own entity.
        import_: `import` in gaeport.toml: whether Python modules may be imported from it.
        attr_ttl: seconds; attributes and the absence of files may be told from memory for so long.
    """

    path: str
    name: str = ""
    store: StoreName = "datastore"
    bucket: str | None = None
    prefix: str = ""
    overlay: bool = True
    inline_limit: Annotated[int, "of bytes"] = INLINE_LIMIT
    import_: bool = False
    attr_ttl: Annotated[float, "of seconds"] = 0.0


def mount_settings(item: Mapping[str, Any], where: str, place: str) -> MountSettings:
    """Check one `[[mount]]` table and return it frozen.

    Args:
        item: its keys.
        where: what to call it in messages.
        place: where the table came from, for messages.

    Raises:
        ConfigurationError: naming place, key and what is valid.
    """
    valid = ["import" if name == "import_" else name for name in keys_of(MountSettings)]
    check({key: value for key, value in item.items() if key != "import"}, MountSettings, place, where, valid)
    if not isinstance(item.get("import", False), bool):
        raise ConfigurationError(f"{place}: {where}: import = {item['import']!r} must be true or false")
    for needed in (f.name for f in fields(MountSettings) if f.default is MISSING):
        if not item.get(needed):
            raise ConfigurationError(f'{place}: {where}: {needed} is missing; write e.g. {needed} = "uploads"')
    settings = MountSettings(**{"import_" if key == "import" else key: value for key, value in item.items()})
    if settings.attr_ttl < 0:
        raise ConfigurationError(f"{place}: {where}: attr_ttl = {settings.attr_ttl} must be at least 0 seconds")
    if not 0 <= settings.inline_limit <= MAX_INLINE_LIMIT:
        raise ConfigurationError(
            f"{place}: {where}: inline_limit = {settings.inline_limit} is outside 0 to {MAX_INLINE_LIMIT:,} bytes "
            "(an entity holds 1,048,572)"
        )
    problem = _bucket_problem(settings.bucket) or (settings.store == "gcs" and _gcs_problem(settings)) or ""
    if problem:
        raise ConfigurationError(f"{place}: {where}: {problem}")
    path = os.path.normpath(settings.path)
    if not settings.name:
        settings = replace(settings, name=path)
    return replace(settings, path=path)


def _bucket_problem(bucket: str | None) -> str:
    if bucket is None or _BUCKET.fullmatch(bucket):
        return ""
    plain = bucket.removeprefix("gs://").strip("/")
    if plain != bucket and _BUCKET.fullmatch(plain):
        return f'bucket = "{bucket}" must be the name alone: bucket = "{plain}"'
    return (
        f'bucket = "{bucket}" is no name of a bucket: 3 to 222 small letters, digits, dashes, underscores and dots; '
        "what comes before the names of the objects goes to prefix"
    )


def _gcs_problem(settings: MountSettings) -> str:
    """Return what is wrong with a mount whose files are objects of their own names; "" for nothing."""
    prefix = settings.prefix
    if prefix.startswith("/"):
        return f'prefix = "{prefix}" must not begin with a slash: prefix = "{prefix.strip("/")}/"'
    if prefix and (not prefix.endswith("/") or {"", ".", ".."} & set(prefix[:-1].split("/")) or "\n" in prefix):
        return f'prefix = "{prefix}" must be directories, each with a slash after it: prefix = "media/"'
    if len(prefix.encode()) > MAX_PREFIX:
        return f"prefix has {len(prefix.encode()):,} bytes; the limit is {MAX_PREFIX} (an object's name has 1,024)"
    if settings.import_:
        return 'import = true does not go with store = "gcs", where anybody who may write to the bucket could run code'
    if settings.inline_limit != INLINE_LIMIT:
        return 'inline_limit has no meaning with store = "gcs": every file is an object of its own'
    if re.search(r"[*?\[]", settings.path):
        return (
            f'path = "{settings.path}" is a pattern, and with store = "gcs" all its directories would share the '
            "objects below one prefix; write a [[mount]] with a prefix for each"
        )
    return ""
