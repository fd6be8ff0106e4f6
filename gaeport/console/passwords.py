"""The admin password, of which only a scrypt hash is kept, in the PHC string format."""

import base64
import hashlib
import hmac
import secrets
import threading
import unicodedata

from gaeport.settings.console import PASSWORD_HASH

# 32 MB and about 0.2 s; source: "Password Storage Cheat Sheet", OWASP (scrypt with N=2^15, r=8, p=3).
_LOG2_N, _R, _P = 15, 8, 3
_SALT, _SIZE = 16, 32  # bytes
MIN_LENGTH = 12  # characters; the console is on the public internet
MAX_LENGTH = 1_000

# One at a time: eight threads that check guesses at once would take all the memory of a small instance.
_one = threading.Lock()


def make_hash(password: str) -> str:
    """Return the hash to put into gaeport.toml.

    Raises:
        ValueError: the password is too short or too long.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(f"the password has {len(password)} characters; use {MIN_LENGTH} to {MAX_LENGTH:,}")
    salt = secrets.token_bytes(_SALT)
    digest = _digest(password, salt, _LOG2_N, _R, _P, _SIZE)
    return f"$scrypt$ln={_LOG2_N},r={_R},p={_P}${_encoded(salt)}${_encoded(digest)}"


def matches(password: str, hashed: str) -> bool:
    """Tell whether a password is the one that was hashed. Takes as long for a wrong one."""
    found = PASSWORD_HASH.fullmatch(hashed)
    if found is None or len(password) > MAX_LENGTH:
        return False
    log2_n, r, p = (int(group) for group in found.groups()[:3])
    salt, digest = _decoded(found[4]), _decoded(found[5])
    return hmac.compare_digest(_digest(password, salt, log2_n, r, p, len(digest)), digest)


def _digest(password: str, salt: bytes, log2_n: int, r: int, p: int, size: int) -> bytes:
    # Normalised, since one keyboard sends é as one character and another as two.
    raw = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    needed = 128 * r * (2**log2_n + p + 2)
    with _one:
        return hashlib.scrypt(raw, salt=salt, n=2**log2_n, r=r, p=p, maxmem=needed + 1_048_576, dklen=size)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
