"""Blobs as objects in a Cloud Storage bucket, or in a server that STORAGE_EMULATOR_HOST names."""

import errno
import os
import secrets
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gaeport import meter, settings
from gaeport.errors import file_error

if TYPE_CHECKING:
    from google.cloud import storage

CHUNK = 8 * 1024 * 1024  # bytes sent at a time; a multiple of the 256 KiB that resumable uploads demand
_PIECE = 1024 * 1024  # bytes handed on at a time, so that a large write() is not buffered whole
TIMEOUT = 60.0  # seconds one request may take
RETRY_SECONDS = 90.0  # how long a request is repeated after errors that a repeat can cure
_WRITER = "gaeport-writer"  # metadata by which a writer knows its own object again

# What the HTTP status of a refusal means to someone who writes files ("Cloud Storage: status codes").
_ERRNO_BY_STATUS = {
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    412: errno.EEXIST,
    413: errno.EFBIG,
    507: errno.ENOSPC,
}


class CloudStore:
    """Keeps each blob in an object of its own, which is never overwritten."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        """Name the bucket; nothing is asked of it yet.

        Args:
            bucket: the bucket's name.
            prefix: put before every name, such as "shop/".
        """
        self.bucket = bucket
        self._prefix = prefix

    def create(self, name: str) -> "CloudWriter":
        """Start a new blob."""
        return CloudWriter(self, name)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; fewer only where the blob ends.

        Raises:
            FileNotFoundError: there is no such blob.
            OSError: EACCES without permission, EIO when the store does not answer.
        """
        if length <= 0:
            if not self.exists(name):
                raise file_error(errno.ENOENT, name, "the content is gone from the blob store")
            return b""
        with Translating(name), counted("ReadBlob", self.bucket, storage__class_b=1) as answer:
            from google.api_core.exceptions import RequestRangeNotSatisfiable

            try:
                found = bytes(
                    self.object(name).download_as_bytes(
                        start=offset,
                        end=offset + length - 1,
                        raw_download=True,
                        checksum=None,  # a checksum covers the whole object, not a range
                        timeout=TIMEOUT,
                        retry=retry(),
                    )
                )
                answer.received = len(found)
                return found
            except RequestRangeNotSatisfiable:  # at or past the end
                return b""

    def delete(self, name: str) -> None:
        """Remove a blob; a missing one is no error. Raises OSError when the store refuses."""
        try:
            with Translating(name), counted("DeleteBlob", self.bucket):
                self.object(name).delete(timeout=TIMEOUT, retry=retry())
        except FileNotFoundError:
            pass

    def exists(self, name: str) -> bool:
        """Tell whether the blob is there, whole. Raises OSError when the store refuses."""
        with Translating(name), counted("StatBlob", self.bucket, storage__class_b=1):
            return bool(self.object(name).exists(timeout=TIMEOUT, retry=retry()))

    def object(self, name: str) -> "storage.Blob":
        """Return the object of a blob."""
        return client().bucket(self.bucket).blob(self._prefix + name)


class CloudWriter:
    """A blob being written: one request if it fits a chunk, else a resumable upload, chunk by chunk."""

    def __init__(self, store: CloudStore, name: str) -> None:
        self._store = store
        self._name = name
        self._nonce = secrets.token_hex(16)
        self._waiting: bytearray | None = bytearray()
        self._upload: Any = None
        self._seconds = 0.0
        self._size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append data. Raises OSError (EIO, EACCES) when the store refuses; then the blob is lost, not half there."""
        if self._waiting is None:
            raise ValueError(f"blob {self._name!r} is closed")
        view = memoryview(data).cast("B")
        self._size += len(view)
        for start in range(0, len(view), _PIECE):
            self._waiting += view[start : start + _PIECE]
            if len(self._waiting) > CHUNK:  # not >=: the last chunk must not be empty
                self._send_chunk(self._waiting)

    def close(self) -> None:
        """Make the blob readable, whole. Raises FileExistsError when the name is taken, OSError when refused."""
        if self._waiting is None:
            return
        start = time.perf_counter()
        try:
            with Translating(self._name, missing=errno.EIO):
                self._finish(self._waiting)
        except FileExistsError:
            # The answer to a first try may have been lost, and its repeat refused because of it.
            if not self._is_ours():
                raise
        finally:
            self.abort()
            seconds = self._seconds + time.perf_counter() - start
            about = meter.About(self._store.bucket, 1, sent=self._size)
            meter.record("WriteBlob", seconds, about=about, storage__class_a=1)

    def abort(self) -> None:
        """Give the blob up and leave nothing of it. Never raises."""
        upload, self._upload, self._waiting = self._upload, None, None
        if upload is None:
            return
        cancel(upload)

    def _send_chunk(self, waiting: bytearray) -> None:
        start = time.perf_counter()
        try:
            with Translating(self._name, missing=errno.EIO):
                if self._upload is None:
                    self._upload = self._target().open("wb", chunk_size=CHUNK, **_conditions())
                with memoryview(waiting) as view, view[:CHUNK] as part:  # an error that was cured may hold on to it
                    self._upload.write(part)
        except OSError:
            self.abort()
            raise
        del waiting[:CHUNK]
        self._seconds += time.perf_counter() - start

    def _finish(self, waiting: bytearray) -> None:
        if self._upload is None:
            self._target().upload_from_string(bytes(waiting), "application/octet-stream", **_conditions())
            return
        self._upload.write(waiting)
        self._upload.close()
        self._upload = None

    def _target(self) -> "storage.Blob":
        target = self._store.object(self._name)
        target.metadata = {_WRITER: self._nonce}
        return target

    def _is_ours(self) -> bool:
        with Translating(self._name), counted("StatBlob", self._store.bucket, storage__class_b=1):
            found = self._store.object(self._name)
            found.reload(timeout=TIMEOUT, retry=retry())
            return bool((found.metadata or {}).get(_WRITER) == self._nonce)


def cancel(upload: Any) -> None:
    """End a resumable upload, begun by `Blob.open`, without an object. Never raises.

    Not by its own `terminate`: that one names the bucket in place of the upload, and where it fails the garbage
    collector closes the writer, which stores what was sent so far.
    """
    begun: Any = upload._upload_and_transport  # it has no public name
    upload._buffer.close()
    try:
        if begun and begun[0].resumable_url:
            session, transport = begun
            with Translating("an upload"):
                transport.delete(session.resumable_url, headers={"Content-Length": "0"}, timeout=TIMEOUT)
    except OSError:
        pass  # an upload without an end is dropped by Cloud Storage after a week, and is never readable


def _conditions() -> dict[str, Any]:
    return {"if_generation_match": 0, "timeout": TIMEOUT, "retry": retry(), "checksum": "crc32c"}


def retry() -> Any:
    """Return how requests are repeated: every one that gaeport sends is safe to repeat."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(RETRY_SECONDS)


@dataclass(slots=True)
class Answer:
    """What the block under `counted` got: `received` bytes."""

    received: int = 0


@contextmanager
def counted(call: str, bucket: str, **units: int) -> Iterator[Answer]:
    """Count what the block does as one call, refused ones included."""
    start, answer, failed = time.perf_counter(), Answer(), True
    try:
        yield answer
        failed = False
    finally:
        about = meter.About(bucket, 1, received=answer.received)
        meter.record(call, time.perf_counter() - start, about=about, failed=failed, **units)


class Translating:
    """Turns what the client library raises into the OSError that fits.

    Not a generator with `contextmanager`: those of newer Pythons keep the error, and with it the caller's frames, until
    the garbage collector comes by.

    Args:
        name: the blob's name, for the error.
        missing: the errno of a 404: while writing it is the bucket that is missing.
    """

    __slots__ = ("_missing", "_name")

    def __init__(self, name: str, *, missing: int = errno.ENOENT) -> None:
        self._name = name
        self._missing = missing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):  # requests' own errors are OSErrors without an errno
            if error.errno not in _ERRNO_BY_STATUS.values():
                raise file_error(errno.EIO, self._name, str(error)) from error
        elif isinstance(error, Exception) and (number := _errno_of(error)) is not None:
            forget_frames(error)
            raise file_error(self._missing if number == errno.ENOENT else number, self._name, str(error)) from error


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the library's functions that failed had in hand.

    Their frames and errors refer to each other, and to their callers: until the garbage collector comes by, a file
    that an application just dropped, `open(path, "w").write(text)`, would not be closed.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _errno_of(error: Exception) -> int | None:
    """Return the errno for an error of the client library; None for one that is not its."""
    from http.client import HTTPException

    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from urllib3.exceptions import HTTPError

    if isinstance(error, GoogleAuthError):
        return errno.EACCES
    if isinstance(error, InvalidResponse):
        return _ERRNO_BY_STATUS.get(error.response.status_code, errno.EIO)
    if isinstance(error, GoogleAPIError | DataCorruption | HTTPError | HTTPException):
        return _ERRNO_BY_STATUS.get(getattr(error, "code", None) or 0, errno.EIO)
    return None


_lock = threading.Lock()
_client: "storage.Client | None" = None


def client() -> "storage.Client":
    """Return this process's Cloud Storage client, made when first used and again after a fork or new settings."""
    global _client
    with _lock:
        if _client is None:
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import storage

            # Anonymous with an emulator: nobody's credentials may reach it, and none are needed.
            anonymous = os.environ.get("STORAGE_EMULATOR_HOST")
            credentials = AnonymousCredentials() if anonymous else None  # type: ignore[no-untyped-call]
            _client = storage.Client(project=settings.current().project, credentials=credentials)
            # Newer releases ask in threads of their own for the bucket's place, for traces, and after each 404
            # whether the bucket is there: calls that nobody sees, billed, by a permission that is not needed otherwise.
            _client._bucket_metadata_cache = None
        return _client


def reset() -> None:
    """Drop the client; the next use makes it anew."""
    global _client
    with _lock:
        if _client is not None:
            _client.close()
        _client = None


def _forget_in_child() -> None:
    global _client, _lock
    _lock = threading.Lock()  # another thread of the parent may have held the old one
    _client = None  # not closed: its connections are the parent's


settings.on_change(reset)
os.register_at_fork(after_in_child=_forget_in_child)
