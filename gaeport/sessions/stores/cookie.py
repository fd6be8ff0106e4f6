"""Sessions in the cookie itself, signed: no call at all, 4,093 bytes, and no way to end one from here."""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Iterable, Iterator

from gaeport.errors import DamagedValue
from gaeport.sessions.keys import Keyring
from gaeport.sessions.record import Change, Record, decode, encode
from gaeport.sessions.stores.base import About, Stored, UnsupportedByStore

_VERSION = "1"
_MAX = 8192  # characters; more than any browser sends, so that nobody makes us decode megabytes
_PLAIN, _COMPRESSED = b"p", b"z"


class CookieStore:
    """Sessions as "1.KEY.CONTENT.SIGNATURE". The browser's owner can read the content, and nobody can change it.

    A copy of a cookie counts until it expires or its key retires, also after a logout; two requests that change a
    session at once do not merge: the browser keeps the later answer's cookie.
    """

    def __init__(self, keys: Keyring) -> None:
        """Sign with the keys of a keyring."""
        self._keys = keys

    def load(self, token: str) -> Stored | None:
        """See `Store.load`. No call, other than for keys."""
        parts = token.split(".")
        if len(token) > _MAX or len(parts) != 4 or parts[0] != _VERSION or not token.isascii():
            return None
        key = self._keys.find(parts[1])
        signed, _, signature = token.rpartition(".")
        if key is None or not hmac.compare_digest(_signature(key.secret, signed), signature):
            return None
        try:
            return Stored(token, decode(_expanded(parts[2])))
        except (DamagedValue, binascii.Error, zlib.error):
            return None  # signed, but by a release that wrote another form

    def insert(self, record: Record, replacing: Stored | None = None) -> Stored:
        """See `Store.insert`."""
        return Stored(self._signed(record), record)

    def update(self, stored: Stored, change: Change) -> Stored:
        """See `Store.update`."""
        return self.insert(change.applied_to(stored.record))

    def renew(self, stored: Stored, change: Change) -> Stored:
        """See `Store.renew`."""
        return self.insert(change.applied_to(stored.record))

    def delete(self, token: str) -> None:
        """Do nothing: the caller removes the cookie, and there is nothing else."""

    def of_user(self, user: str) -> Iterator[About]:
        """Raise UnsupportedByStore."""
        raise _unsupported()

    def every(self) -> Iterator[About]:
        """Raise UnsupportedByStore."""
        raise _unsupported()

    def revoke(self, names: Iterable[str]) -> int:
        """Raise UnsupportedByStore."""
        raise _unsupported()

    def _signed(self, record: Record) -> str:
        key = self._keys.signing()
        signed = f"{_VERSION}.{key.name}.{_compact(encode(record))}"
        return f"{signed}.{_signature(key.secret, signed)}"


def _unsupported() -> UnsupportedByStore:
    return UnsupportedByStore(
        'store = "cookie" keeps sessions in the browsers alone: they cannot be listed or ended from here; '
        "`gaeport sessions rotate-key --at-once` ends them all"
    )


def _signature(secret: bytes, signed: str) -> str:
    digest = hmac.new(secret, b"gaeport.sessions.cookie:" + signed.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _compact(data: bytes) -> str:
    smaller = zlib.compress(data, 6)
    body = _COMPRESSED + smaller if len(smaller) < len(data) else _PLAIN + data
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def _expanded(text: str) -> bytes:
    body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return zlib.decompress(body[1:]) if body[:1] == _COMPRESSED else body[1:]
