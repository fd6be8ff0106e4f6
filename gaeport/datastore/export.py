"""A whole Datastore in one file, and back.

The file is a gzip stream: a line of JSON that names the format, then each entity as four bytes of length (big-endian)
and a serialized `wire.Entity` with its whole key, then four bytes 0xFF and eight with the number of entities. gzip's
own checksum tells a damaged file, its end and the number a cut one.
"""

import gzip
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gaeport.datastore import wire
from gaeport.datastore.transport import Transport
from gaeport.errors import DataLoss

FORMAT, VERSION = "gaeport datastore export", 1
BATCH, BATCH_BYTES = 500, 4_000_000  # entities and bytes of one commit of an import; production takes 10 MiB
_LEVEL = 3  # of compression; 6 takes three times as long for a tenth less
_LENGTH, _COUNT = struct.Struct(">I"), struct.Struct(">Q")
_END = 0xFFFFFFFF

Progress = Callable[[int, int], object]  # called with entities and bytes (export: written, import: read) so far


def write(path: Path, entities: Iterable[bytes], progress: Progress = lambda *_: None) -> int:
    """Write an export; the file is there whole or not at all, and replaces one of that name.

    Args:
        path: the file.
        entities: each serialized, with its key.
        progress: told now and then how far it is.

    Returns:
        The number of entities.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as stream:
                count = _write(stream, entities, file, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _write(stream: gzip.GzipFile, entities: Iterable[bytes], file: BinaryIO, progress: Progress) -> int:
    stream.write(json.dumps({"format": FORMAT, "version": VERSION}).encode() + b"\n")
    count = 0
    for data in entities:
        stream.write(_LENGTH.pack(len(data)))
        stream.write(data)
        count += 1
        if count % BATCH == 0:
            progress(count, file.tell())
    stream.write(_LENGTH.pack(_END) + _COUNT.pack(count))
    return count


def read(path: Path, progress: Progress = lambda *_: None) -> Iterator[bytes]:
    """Yield the serialized entities of an export.

    Args:
        path: the file.
        progress: told now and then how far it is.

    Raises:
        DataLoss: the file is not an export, is cut off or damaged; entities before the damage were yielded.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file, gzip.GzipFile("", "rb", fileobj=file) as stream:
        try:
            _check_header(stream.readline(1000), path)
            yield from _entities(stream, path, file, progress)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataLoss(f"{path} is no export, or damaged or cut off: {error}") from error


def _check_header(line: bytes, path: Path) -> None:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataLoss(f"{path} is not an export of gaeport")
    if header.get("version") != VERSION:
        raise DataLoss(f"{path} has version {header.get('version')}; this release of gaeport reads version {VERSION}")


def _entities(stream: gzip.GzipFile, path: Path, file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    count = 0
    while True:
        (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
        if length == _END:
            (expected,) = _COUNT.unpack(_exactly(stream, _COUNT.size))
            if count != expected or stream.read(1):
                raise DataLoss(f"{path} is damaged: it holds {count} entities in place of {expected}")
            return
        yield _exactly(stream, length)
        count += 1
        if count % BATCH == 0:
            progress(count, file.tell())


def _exactly(stream: gzip.GzipFile, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    return data


def load(transport: Transport, entities: Iterable[bytes]) -> int:
    """Write entities into a Datastore under the keys they have, up to 500 a commit; the same again changes nothing.

    Args:
        transport: the Datastore.
        entities: each serialized, with its key.

    Returns:
        The number of entities.
    """
    count = 0
    for batch in _batches(entities):
        request = wire.CommitRequest(mode=wire.NON_TRANSACTIONAL)
        request.project_id = batch[0].key.partition_id.project_id
        request.database_id = batch[0].key.partition_id.database_id
        for entity in batch:
            request.mutations.add(upsert=entity)
        transport.call("Commit", request)
        count += len(batch)
    return count


def _batches(entities: Iterable[bytes]) -> Iterator[list[Any]]:
    """Yield entities in lists that one commit takes: of one database, and not too large."""
    batch: list[Any] = []
    size = 0
    for data in entities:
        entity = wire.Entity.FromString(data)
        if batch and (len(batch) == BATCH or size + len(data) > BATCH_BYTES or not _same_database(batch[0], entity)):
            yield batch
            batch, size = [], 0
        batch.append(entity)
        size += len(data)
    if batch:
        yield batch


def _same_database(one: Any, other: Any) -> bool:
    first, second = one.key.partition_id, other.key.partition_id
    return (first.project_id, first.database_id) == (second.project_id, second.database_id)
