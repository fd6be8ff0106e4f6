"""Signatures of the console's cookies and forms: no value of one purpose counts for another."""

import hashlib
import hmac
from functools import cache

from gaeport import settings
from gaeport.sessions.keys import Key, StoredKeys


def sign(purpose: str, text: str) -> str:
    """Return the signature of a text: the key's name and 43 characters.

    Args:
        purpose: what the signature is for; one for another purpose does not count.
        text: what is signed.

    Raises:
        DatastoreError: there is no key yet, and it cannot be stored.
    """
    key = _keys().signing()
    return f"{key.name}{_mac(key, purpose, text)}"


def is_signed(purpose: str, text: str, signature: str) -> bool:
    """Tell whether a signature is the one of a text, by a key that counts.

    Raises:
        DatastoreError: the keys cannot be read.
    """
    if not signature.isascii():
        return False
    key = _keys().find(signature[:8])
    return key is not None and hmac.compare_digest(_mac(key, purpose, text), signature[8:])


def _mac(key: Key, purpose: str, text: str) -> str:
    # The password's hash is part of the key: whoever changes the password ends every login.
    hashed = settings.current().console.password_hash or ""
    own = hmac.digest(key.secret, f"gaeport.console\0{purpose}\0{hashed}".encode(), "sha256")
    return hmac.new(own, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:43]


@cache
def _keys() -> StoredKeys:
    return StoredKeys()


settings.on_change(_keys.cache_clear)
