"""The entities that make up a volume, and their keys.

| kind | key | content |
|---|---|---|
| Dir | random id; a mount's root is named | constant; an identical update guards that the directory exists |
| Guard | child of Dir | the further guards of a directory with a very high rate of creates |
| DirTime | child of Dir | the directory's modification time |
| Entry | child of its Dir; "f" and the escaped file name | what `Entry` holds |
| Inode | the inode number | what an Entry would hold, for files with several names |
| Chunk | child of the file's Inode key | a piece of content |
| Upload, Garbage | random | names of blobs and chunks being written, and dropped |

All live in gaeport's own namespace; nothing is indexed but `ino`.
"""

import json
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from gaeport import formats, settings
from gaeport.datastore import wire
from gaeport.datastore.client import Client, Found
from gaeport.fs.datastore.content import Extent, Hole, Memory, View
from gaeport.fs.volume import Attributes, storable

ROOTS = "mounts"  # the Dir whose entries are the mounts' roots
NONCE = 8  # bytes
KEPT_NONCES = 16
NAME_MAX = 255  # bytes, as on Linux

Type = Literal["file", "dir", "link", "whiteout", "hard"]

_TYPE_BITS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK, "whiteout": 0, "hard": 0}
_NUMBERS = ("ino", "mode", "uid", "gid", "size", "atime", "mtime", "ctime", "guards")
_RARE = ("nlink",)  # numbers that are stored where they are not 1
_ALL_NUMBERS = (*_NUMBERS, *_RARE)
_TEXTS = ("type", "dir", "lower", "target")
_BLOBS = ("ops", "extents", "inline")

# What a listing or a stat reads: everything but the content.
METADATA = ("format", *_NUMBERS, *_RARE, *_TEXTS, "ops")


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a directory and what it stands for.

    Attributes:
        type: a "whiteout" hides a deployed file of that name; "hard" is one of several names, and only `ino` counts.
        ino: random, or derived from a deployed file's path; never changes.
        mode: permission bits.
        uid, gid: the recorded owner.
        size: bytes.
        atime, mtime, ctime: nanoseconds since 1970.
        ops: the nonces of the last 16 operations, newest last.
        dir: a directory's identity.
        nlink: how many names lead to it.
        guards: how many guard entities the directory has.
        lower: the deployed directory that shows through, relative to the mount's root ("." is the root), or None.
        target: what a symbolic link holds.
        extents: the stored part of the content, as JSON.
        inline: the rest of the content.
    """

    type: Type
    ino: int
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    atime: int = 0
    mtime: int = 0
    ctime: int = 0
    ops: bytes = b""
    dir: str | None = None
    guards: int = 1
    nlink: int = 1
    lower: str | None = None
    target: str | None = None
    extents: bytes = b""
    inline: bytes = b""

    def view(self) -> View:
        """Return the content."""
        return View([*(Extent(s, o, n) if s else Hole(n) for s, o, n in self._rows()), Memory(self.inline)])

    def sources(self) -> set[str]:
        """Return the names of the blobs and chunks that the content needs."""
        return {source for source, _, _ in self._rows() if source}

    def _rows(self) -> list[tuple[str, int, int]]:
        rows: list[tuple[str, int, int]] = json.loads(self.extents) if self.extents else []
        return rows

    def did(self, nonce: bytes) -> bool:
        """Tell whether the operation with this nonce is among the last that changed the entry."""
        return any(self.ops[i : i + NONCE] == nonce for i in range(0, len(self.ops), NONCE))

    def after(self, nonce: bytes, **changes: Any) -> "Entry":
        """Return the entry as the operation `nonce` leaves it."""
        return replace(self, ops=(self.ops + nonce)[-NONCE * KEPT_NONCES :], **changes)

    def attributes(self, dev: int, mtime: int | None = None) -> Attributes:
        """Return what stat tells; `mtime` replaces the entry's own (a directory's is kept elsewhere)."""
        modified = self.mtime if mtime is None else mtime
        return Attributes(
            ino=self.ino,
            mode=_TYPE_BITS[self.type] | self.mode,
            size=4096 if self.type == "dir" else self.size,
            mtime_ns=modified,
            atime_ns=self.atime,
            ctime_ns=max(self.ctime, modified) if self.type == "dir" else self.ctime,
            dev=dev,
            nlink=2 if self.type == "dir" else self.nlink,
            uid=self.uid,
            gid=self.gid,
        )


def new_entry(type: Type, mode: int, *, ino: int | None = None, **fields: Any) -> Entry:
    """Return an entry that begins now, owned by this process's user."""
    now = time.time_ns()
    return Entry(type, ino or new_ino(), mode & 0o7777, os.getuid(), os.getgid(), 0, now, now, now, **fields)


def new_ino() -> int:
    """Return a random inode number, above those that deployed files can have on a small disk, below 2^62."""
    return secrets.randbits(61) | 1 << 61


def new_nonce() -> bytes:
    """Return a random mark for one operation."""
    return secrets.token_bytes(NONCE)


def new_id() -> str:
    """Return a random name for a directory or a blob."""
    return secrets.token_hex(12)


def escape(name: str) -> str:
    """Return a file name as the name of an Entry's key: percent escapes for what is not UTF-8 and for "%" itself."""
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8").replace("%", "%25")
    except UnicodeDecodeError:
        text = "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x25 else f"%{b:02X}" for b in raw)
    return f"f{text}"


def unescape(key_name: str) -> str:
    """Return the file name of an Entry's key."""
    text = key_name[1:].encode("utf-8")
    raw = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text)
    return os.fsdecode(raw)


def entry_key(client: Client, directory: str, name: str) -> Any:
    """Return the key of the Entry for a file name in a directory; it is shared, so it must not be changed."""
    return _entry_key(client.project, client.database, client.namespace, directory, name)


@lru_cache(maxsize=4096)
def _entry_key(project: str, database: str, namespace: str, directory: str, name: str) -> Any:
    partition = wire.PartitionId(project_id=project, database_id=database, namespace_id=namespace)
    key = wire.Key(partition_id=partition)
    key.path.add(kind="Dir", name=directory)
    key.path.add(kind="Entry", name=escape(name))
    return key


def guard_key(client: Client, directory: str, number: int = 0) -> Any:
    """Return the key of one of the entities that stand for a directory's existence."""
    if number:
        return client.key("Dir", directory, "Guard", number)
    return client.key("Dir", directory)


def time_key(client: Client, directory: str) -> Any:
    """Return the key of a directory's modification time."""
    return client.key("Dir", directory, "DirTime", 1)


def inode_key(client: Client, ino: int) -> Any:
    """Return the key of a file with several names."""
    return client.key("Inode", ino)


def chunk_key(client: Client, source: str) -> Any:
    """Return the key of the Chunk that an extent's source "c:INO/ID" names."""
    ino, _, name = source.removeprefix("c:").partition("/")
    return client.key("Inode", int(ino), "Chunk", name)


def encode(key: Any, entry: Entry) -> Any:
    """Return an Entry as an entity."""
    entity = wire.Entity()
    entity.CopyFrom(_template())
    entity.key.CopyFrom(key)
    properties = entity.properties
    properties["format"].integer_value = settings.current().format
    for name in _NUMBERS:
        properties[name].integer_value = storable(getattr(entry, name))
    for name in _RARE:
        if getattr(entry, name) != 1:
            _unindexed(entity, name).integer_value = getattr(entry, name)
    for name in _TEXTS:
        value = getattr(entry, name)
        if value is not None:
            _set_text(_unindexed(entity, name), value)
    for name in _BLOBS:
        value = getattr(entry, name)
        if value:
            _unindexed(entity, name).blob_value = value
    return entity


@lru_cache(maxsize=1)
def _template() -> Any:
    """Return the entity that every Entry's begins as: what is always there, and what of it is indexed."""
    entity = wire.Entity()
    for name in ("format", *_NUMBERS):
        _unindexed(entity, name)
    entity.properties["ino"].exclude_from_indexes = False
    return entity


def decode(found: Found) -> Entry:
    """Return the Entry that an entity holds.

    Raises:
        DataLoss: the entity was written in a format that this release does not know.
    """
    properties = found.entity.properties
    number = properties["format"].integer_value if "format" in properties else None
    if number != formats.NEWEST:
        formats.check(number, f"entry {found.entity.key.path[-1].name!r}")
    values: dict[str, Any] = {}
    for name in _ALL_NUMBERS:
        if name in properties:
            values[name] = properties[name].integer_value
    for name in _TEXTS:
        if name in properties:
            values[name] = properties[name].string_value or os.fsdecode(properties[name].blob_value)
    for name in _BLOBS:
        if name in properties:
            values[name] = properties[name].blob_value
    return Entry(**values)


def recode(found: Found) -> Any:
    """Return an Entry's entity in the format that is written now."""
    return encode(found.entity.key, decode(found))


def constant(key: Any) -> Any:
    """Return the entity whose identical update guards a directory's existence."""
    entity = wire.Entity(key=key)
    _unindexed(entity, "format").integer_value = 1  # whatever the format of others: an update must change nothing
    return entity


def record(key: Any, **values: int | bytes | str) -> Any:
    """Return a small entity with unindexed properties."""
    entity = wire.Entity(key=key)
    for name, value in values.items():
        target = _unindexed(entity, name)
        if isinstance(value, int):
            target.integer_value = storable(value)
        elif isinstance(value, str):
            target.string_value = value
        else:
            target.blob_value = value
    return entity


def _unindexed(entity: Any, name: str) -> Any:
    value = entity.properties[name]
    value.exclude_from_indexes = True
    return value


def _set_text(value: Any, text: str) -> None:
    """Store a text; one that has bytes in it that are not UTF-8, as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        value.blob_value = os.fsencode(text)
    else:
        value.string_value = text
