"""Named objects in a Cloud Storage bucket, or in a server that STORAGE_EMULATOR_HOST names."""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from gaeport.blobs import cloud
from gaeport.blobs.cloud import CHUNK, Translating, counted
from gaeport.blobs.objects import OPERATION, Conflict, Draft, Stored, did

if TYPE_CHECKING:
    from google.cloud import storage

T = TypeVar("T")
Note = Callable[[Exception], object]
PAGE = 1000  # objects a call of a listing; the most that there are

_UNKNOWN_CALL = (400, 404, 405, 501)  # what a server that has no moveTo answers to it


class CloudObjects:
    """Keeps objects in a bucket.

    Args:
        bucket: its name; nothing is asked of it yet.
    """

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self._moves = True

    def stat(self, name: str) -> Stored | None:
        """Return what is stored under a name; None where nothing is."""
        blob = self._bucket().blob(name)
        with counted("StatObject", self.bucket, storage__class_b=1):
            try:
                with Translating(name):
                    blob.reload(timeout=cloud.TIMEOUT, retry=cloud.retry())
            except FileNotFoundError:
                return None
        return _stored(blob)

    def scan(self, prefix: str, *, deep: bool = False, limit: int | None = None) -> Iterator[Stored | str]:
        """Yield the objects below a prefix, and longer prefixes."""
        with Translating(prefix, missing=errno.EIO):
            pages = self._bucket().list_blobs(
                prefix=prefix or None,
                delimiter=None if deep else "/",
                include_trailing_delimiter=None if deep else True,
                max_results=limit,
                page_size=PAGE,
                timeout=cloud.TIMEOUT,
                retry=cloud.retry(),
            )
        with_objects = set()
        for page in self._pages(prefix, pages):
            for blob in page:
                with_objects.add(blob.name)
                yield _stored(blob)
        for longer in sorted(pages.prefixes):
            if longer not in with_objects:
                yield longer

    def _pages(self, prefix: str, pages: Any) -> Iterator[Any]:
        following = iter(pages.pages)
        while True:
            with Translating(prefix, missing=errno.EIO), counted("ListObjects", self.bucket, storage__class_a=1):
                page = next(following, None)
            if page is None:
                return
            yield page
            if pages.next_page_token is None:
                return  # else the next look costs a call that is none

    def read(self, name: str, generation: int, offset: int, length: int) -> bytes:
        """Return a range of the content of a generation."""
        if length <= 0:
            return b""
        with counted("ReadObject", self.bucket, storage__class_b=1) as answer:
            try:
                with Translating(name):
                    data = self._download(name, generation, offset, length)
            except FileNotFoundError:
                raise Conflict(name) from None
            except FileExistsError:  # 412
                raise Conflict(name) from None
            answer.received = len(data)
            return data

    def _download(self, name: str, generation: int, offset: int, length: int) -> bytes:
        from google.api_core.exceptions import RequestRangeNotSatisfiable

        blob = self._bucket().blob(name, generation=generation)
        try:
            return bytes(
                blob.download_as_bytes(
                    start=offset,
                    end=offset + length - 1,
                    raw_download=True,
                    checksum=None,  # a checksum covers the whole object, not a range
                    if_generation_match=generation,
                    timeout=cloud.TIMEOUT,
                    retry=cloud.retry(),
                )
            )
        except RequestRangeNotSatisfiable:  # at or past the end
            return b""

    def write(self, draft: Draft, data: bytes) -> Stored:
        """Store a content in one call."""
        with counted("WriteObject", self.bucket, storage__class_a=1):
            try:
                with Translating(draft.name, missing=errno.EIO):
                    blob = self.blob(draft)
                    blob.upload_from_string(data, draft.content_type, **_conditions(draft))
            except FileExistsError:
                return self.written(draft)
        return _stored(blob)

    def upload(self, draft: Draft) -> "CloudUpload":
        """Begin to store a large content."""
        return CloudUpload(self, draft)

    def patch(self, stored: Stored, metadata: Mapping[str, str], *, content_type: str | None = None) -> Stored:
        """Set some of the custom metadata, and the content type where one is given."""
        blob = self._bucket().blob(stored.name)
        blob.metadata = dict(metadata)
        if content_type is not None:
            blob.content_type = content_type

        def send() -> None:
            blob.patch(
                if_generation_match=stored.generation,
                if_metageneration_match=stored.metageneration,
                timeout=cloud.TIMEOUT,
                retry=None,
            )

        with counted("PatchObject", self.bucket, storage__class_a=1):
            try:
                self._repeated(stored.name, send)
            except (FileExistsError, FileNotFoundError):
                raise Conflict(stored.name) from None
        if blob.metageneration is None:  # a server that tells half
            return self.stat(stored.name) or stored
        return _stored(blob)

    def move(self, source: Stored, target: str, generation: int) -> Stored:
        """Give an object another name: one atomic call where the server has it, else a copy and a delete."""
        if self._moves:
            moved = self._move(source, target, generation)
            if moved is not None:
                return moved
        return self._copy_and_delete(source, target, generation)

    def _move(self, source: Stored, target: str, generation: int) -> Stored | None:
        bucket = self._bucket()

        def send() -> "storage.Blob":
            return bucket.move_blob(
                bucket.blob(source.name),
                target,
                if_generation_match=generation,
                if_source_generation_match=source.generation,
                timeout=cloud.TIMEOUT,
                retry=None,
            )

        repeats: list[Exception] = []
        with counted("MoveObject", self.bucket, storage__class_a=1):
            try:
                return _stored(self._repeated(source.name, send, repeats.append))
            except OSError as error:
                status = _status_of(error)
                if status not in (412, *_UNKNOWN_CALL):
                    raise
        # Without a repeat it was somebody else who moved it: of two that claim a file so, one is to be told.
        done = self._was_moved(source, target, generation) if repeats else None
        if done is not None:
            return done
        if status == 412 or not self._is_still(source):
            raise Conflict(source.name)
        self._moves = False
        return None

    def _was_moved(self, source: Stored, target: str, generation: int) -> Stored | None:
        """Return the target where a move whose answer was lost was made after all."""
        found = self.stat(target)
        if found is None or found.generation in (generation, source.generation):
            return None
        return found if _was(found, source) and not self._is_still(source) else None

    def _is_still(self, source: Stored) -> bool:
        found = self.stat(source.name)
        return found is not None and found.generation == source.generation

    def _copy_and_delete(self, source: Stored, target: str, generation: int) -> Stored:
        bucket = self._bucket()
        made = bucket.blob(target)
        repeats: list[Exception] = []
        with counted("CopyObject", self.bucket, storage__class_a=1):
            try:
                self._copy(bucket.blob(source.name), made, source, generation, repeats.append)
            except (FileExistsError, FileNotFoundError):
                found = self._was_copied(source, target, generation) if repeats else None
                if found is None:
                    raise Conflict(source.name) from None
        copied = self.stat(target) or _stored(made)
        try:
            self.delete(source.name, source.generation)
        except Conflict:  # somebody changed it, or moved it elsewhere: then the copy is one too many
            with suppress(Conflict):
                self.delete(target, copied.generation)
            raise
        return copied

    def _was_copied(self, source: Stored, target: str, generation: int) -> Stored | None:
        found = self.stat(target)
        if found is None or found.generation == generation:
            return None
        return found if _was(found, source) else None

    def _copy(self, blob: "storage.Blob", made: "storage.Blob", source: Stored, generation: int, note: Note) -> None:
        token: str | None = None

        def send() -> str | None:
            following: str | None
            following, _, _ = made.rewrite(
                blob,
                token=token,
                if_generation_match=generation,
                if_source_generation_match=source.generation,
                timeout=cloud.TIMEOUT,
                retry=None,
            )
            return following

        while (token := self._repeated(source.name, send, note)) is not None:
            pass  # a large object takes several calls

    def delete(self, name: str, generation: int) -> None:
        """Remove an object."""
        repeats: list[Exception] = []

        def send() -> None:
            self._bucket().blob(name).delete(if_generation_match=generation, timeout=cloud.TIMEOUT, retry=None)

        with counted("DeleteObject", self.bucket):
            try:
                self._repeated(name, send, repeats.append)
            except FileNotFoundError:
                if not repeats:  # else a first try did it, and its answer was lost
                    raise Conflict(name) from None
            except FileExistsError:
                raise Conflict(name) from None

    def written(self, draft: Draft) -> Stored:
        """Return the object if this very write made it, or what was made of it since. Raises Conflict otherwise.

        The answer to a first try may have been lost, and its repeat refused because of it.
        """
        found = self.stat(draft.name)
        if found is None or not did(found, draft):
            raise Conflict(draft.name)
        return found

    def _repeated(self, name: str, send: Callable[[], T], note: Note | None = None) -> T:
        """Send a request, again after errors that a repeat can cure; `note` is told of each."""
        with Translating(name):
            result: T = cloud.retry()(send, on_error=note)()
            return result

    def _bucket(self) -> Any:
        return cloud.client().bucket(self.bucket)

    def blob(self, draft: Draft) -> "storage.Blob":
        """Return a new object with what a draft says of it."""
        blob: storage.Blob = self._bucket().blob(draft.name)
        blob.metadata = dict(draft.metadata)
        blob.content_type = draft.content_type
        return blob


class CloudUpload:
    """An object being written by a resumable upload, chunk by chunk; one request where it fits a chunk."""

    def __init__(self, store: CloudObjects, draft: Draft) -> None:
        self._store, self._draft = store, draft
        self._waiting: bytearray | None = bytearray()
        self._session: Any = None

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        if self._waiting is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        self._waiting += data
        while len(self._waiting) > CHUNK:  # not >=: the last chunk must not be empty
            self._attempt(lambda: self._send(self._waiting or bytearray()))

    def close(self) -> Stored:
        """Put the object under its name."""
        waiting = self._waiting
        if waiting is None:
            raise ValueError(f"the upload of {self._draft.name!r} is closed")
        try:
            if self._session is None:
                return self._store.write(self._draft, bytes(waiting))
            with counted("WriteObject", self._store.bucket, storage__class_a=1):
                self._attempt(lambda: self._finish(waiting))
            return self._store.written(self._draft)
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up and leave nothing."""
        session, self._session, self._waiting = self._session, None, None
        if session is None:
            return
        cloud.cancel(session)

    def _send(self, waiting: bytearray) -> None:
        if self._session is None:
            blob = self._store.blob(self._draft)
            options = {"content_type": self._draft.content_type, **_conditions(self._draft)}
            self._session = blob.open("wb", chunk_size=CHUNK, **options)
        with memoryview(waiting) as view, view[:CHUNK] as part:
            self._session.write(part)
        del waiting[:CHUNK]

    def _finish(self, waiting: bytearray) -> None:
        self._session.write(waiting)
        self._session.close()
        self._session = None

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            with Translating(self._draft.name, missing=errno.EIO):
                step()
        except FileExistsError:
            self.abort()
            raise Conflict(self._draft.name) from None
        except BaseException:  # of a signal handler, too: else the writer stores what it has when it is collected
            self.abort()
            raise


def _conditions(draft: Draft) -> dict[str, Any]:
    return {
        "if_generation_match": draft.generation,
        "timeout": cloud.TIMEOUT,
        "retry": cloud.retry(),
        "checksum": "crc32c",
    }


def _was(found: Stored, source: Stored) -> bool:
    """Tell whether an object was made from another: it knows its last write, or is equal where that tells none."""
    mark = source.metadata.get(OPERATION, "").partition(" ")[0]
    if mark:
        return mark in found.metadata.get(OPERATION, "").split()
    same = (source.size, source.checksum, dict(source.metadata))
    return (found.size, found.checksum, dict(found.metadata)) == same


def _status_of(error: BaseException) -> int:
    """Return the HTTP status that the client library's error told, which `Translating` raised this from."""
    return int(getattr(error.__cause__, "code", 0) or 0)


def _stored(blob: Any) -> Stored:
    return Stored(
        blob.name,
        blob.size or 0,
        blob.generation or 0,
        blob.metageneration or 1,
        _ns(blob.time_created or blob.updated),
        _ns(blob.updated),
        {key: value for key, value in (blob.metadata or {}).items() if value},
        blob.content_type or "",
        blob.crc32c or "",
    )


def _ns(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
