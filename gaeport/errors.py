"""Every exception that gaeport raises of its own.

All share the root `GaeportError`. File operations are the exception to the rule: they raise the `OSError` that Linux
would give (made by `file_error`), so that an application's own `except FileNotFoundError` keeps working.
"""

import os
from collections.abc import Sequence


class GaeportError(Exception):
    """The root of gaeport's own exceptions."""


class ConfigurationError(GaeportError):
    """A setting has an unknown name, a wrong type or an impossible value; the message names place and remedy."""


class MissingExtraError(GaeportError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class ApplicationError(GaeportError):
    """The application that gaeport.toml names cannot be imported or is not a WSGI application."""


class EmulatorError(GaeportError):
    """One of Google's emulators did not start; the message ends with its own last lines."""


class KVUnavailable(GaeportError):
    """A key-value server does not answer, or is left out for a while because it did not.

    Attributes:
        found: what other servers answered, where several were asked.
    """

    def __init__(self, message: str, found: object = None) -> None:
        super().__init__(message)
        self.found = found


class ValueTooLarge(GaeportError, ValueError):
    """A value for a key-value store is over its limit, compressed too.

    Attributes:
        key: where it was to be stored.
        size: bytes, before compression.
        limit: bytes.
    """

    def __init__(self, key: str, size: int, limit: int) -> None:
        super().__init__(f"the value of {key!r} has {size:,} bytes; the limit is {limit:,}, after compression")
        self.key, self.size, self.limit = key, size, limit


class SessionTooLarge(GaeportError, ValueError):
    """A session, or the cookie that carries one, is over its limit; the message names it and its largest value.

    Attributes:
        name: what is too large.
        size: bytes.
        limit: bytes.
    """

    def __init__(self, name: str, size: int, limit: int, remedy: str) -> None:
        super().__init__(f"{name} has {size:,} bytes; the limit is {limit:,}; {remedy}")
        self.name, self.size, self.limit = name, size, limit


class UnsupportedType(GaeportError, TypeError):
    """A value for a session or a cache holds something of a type that is not kept; the message says which and where.

    Attributes:
        value: the offending object.
    """

    def __init__(self, message: str, value: object) -> None:
        super().__init__(message)
        self.value = value


class DamagedValue(GaeportError, ValueError):
    """Stored bytes are not what gaeport writes: damaged, or of a newer release."""


class FieldError(GaeportError, ValueError):
    """A field has a type or an option that Datastore cannot keep; the message names what can be used instead."""


class FieldValueError(GaeportError, ValueError):
    """A value does not fit its field: too long for an index, out of range, or of the wrong type.

    Attributes:
        field: the field's name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"the field {field}: {problem}")
        self.field = field


class ScanLimitExceeded(GaeportError, RuntimeError):
    """A query would read more entities than `scan_limit`; the message names what would avoid it.

    Attributes:
        limit: entities.
        reasons: what Datastore cannot do of the query.
    """

    def __init__(self, kind: str, limit: int, reasons: Sequence[str]) -> None:
        super().__init__(
            f"the query would read more than scan_limit = {limit:,} entities of the kind {kind}, because these are "
            f"done in memory: {'; '.join(reasons)}. Narrow it by a comparison that Datastore serves, "
            "or raise the limit: datastore://?scan_limit=N"
        )
        self.limit, self.reasons = limit, tuple(reasons)


class NotOnDatastore(GaeportError, NotImplementedError):
    """A part of pyDAL's interface that the Datastore adapter does not offer; the message names it."""


class DatastoreError(GaeportError):
    """A Datastore call failed.

    Attributes:
        code: the canonical name of the gRPC status, such as "ABORTED".
        message: the server's explanation.
    """

    code = "UNKNOWN"

    def __init__(self, message: str) -> None:
        super().__init__(f"{self.code}: {message}")
        self.message = message


class Cancelled(DatastoreError):
    """The caller or the server gave up the call."""

    code = "CANCELLED"


class InvalidArgument(DatastoreError):
    """The request breaks a rule or a limit of Datastore."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(DatastoreError):
    """No answer in time; a Commit may have been applied all the same."""

    code = "DEADLINE_EXCEEDED"


class NotFound(DatastoreError):
    """The entity to update does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(DatastoreError):
    """The entity to insert exists."""

    code = "ALREADY_EXISTS"


class PermissionDenied(DatastoreError):
    """The credentials do not allow the call."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(DatastoreError):
    """A quota is used up, or the local disk is full."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(DatastoreError):
    """A base version is stale, or an index is missing."""

    code = "FAILED_PRECONDITION"


class Aborted(DatastoreError):
    """Another transaction got in the way; try again."""

    code = "ABORTED"


class Unimplemented(DatastoreError):
    """The server does not offer this call or option."""

    code = "UNIMPLEMENTED"


class Internal(DatastoreError):
    """The server failed."""

    code = "INTERNAL"


class Unavailable(DatastoreError):
    """The server cannot be reached; a Commit may have been applied all the same."""

    code = "UNAVAILABLE"


class DataLoss(DatastoreError):
    """Stored data is damaged."""

    code = "DATA_LOSS"


class Unauthenticated(DatastoreError):
    """The call carried no valid credentials."""

    code = "UNAUTHENTICATED"


_BY_CODE: dict[str, type[DatastoreError]] = {cls.code: cls for cls in DatastoreError.__subclasses__()}


class Reentered(DatastoreError):
    """A signal handler or a finalizer made a call in the middle of a Commit of the same thread.

    The embedded engine cannot answer it before that Commit has ended, nor end that before the call has returned.
    """

    code = "ABORTED"


def datastore_error(code: str, message: str) -> DatastoreError:
    """Return the exception for a gRPC status.

    Args:
        code: the status's canonical name, such as "NOT_FOUND"; an unknown one gives a plain DatastoreError.
        message: the server's explanation.
    """
    return _BY_CODE.get(code, DatastoreError)(message)


def file_error(number: int, path: object, note: str = "") -> OSError:
    """Return the OSError that Linux gives for `number`, with the file's name.

    Args:
        number: an errno, such as errno.ENOENT.
        path: the file as the caller spelled it (str, bytes or PathLike), or None.
        note: added to the system's message, for a remedy.
    """
    text = os.strerror(number)
    return OSError(number, f"{text}: {note}" if note else text, path)
