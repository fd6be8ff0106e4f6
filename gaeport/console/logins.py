"""Who is logged in: an entity a login, so that logging out ends it everywhere, and a signed cookie that names it.

The cookie's signature is looked at first: forged ones cost no call.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from gaeport import settings
from gaeport.console import signing
from gaeport.console.web import Request
from gaeport.datastore import own_client, wire
from gaeport.datastore.mutations import delete
from gaeport.errors import DatastoreError

KIND = "ConsoleLogin"
DEVICE_AGE = 31_536_000  # seconds that a browser is known for: a year
_RENEW = 60  # seconds after which the cookie's time is written anew
_SWEEP = 50  # ended logins that one new login clears away


@dataclass(frozen=True, slots=True)
class Login:
    """A login.

    Attributes:
        token: 128 random bits; only their hash is stored.
        seen: when the cookie was last written, in seconds since 1970.
    """

    token: str
    seen: int


def begin(request: Request) -> None:
    """Log the visitor in. Raises DatastoreError when that cannot be stored."""
    token, now = secrets.token_hex(16), int(time.time())
    client = own_client()
    mutation = wire.Mutation()
    mutation.insert.key.CopyFrom(client.key(KIND, _stored(token)))
    expires = mutation.insert.properties["expires"]
    expires.exclude_from_indexes = True
    expires.timestamp_value.FromSeconds(now + settings.current().console.lifetime)
    client.commit([mutation, *_ended(client, now)])
    _set_cookies(request, token, now)


def find(request: Request) -> Login | None:
    """Return the visitor's login, or None; renews its cookie. Raises DatastoreError."""
    token, _, rest = request.cookie(_name(request, "login")).partition(".")
    seen, _, signature = rest.partition(".")
    if not (seen.isdecimal() and signing.is_signed("login", f"{token}.{seen}", signature)):
        return None
    now = int(time.time())
    if now - int(seen) > settings.current().console.idle or not _is_stored(token, now):
        return None
    if now - int(seen) >= _RENEW:
        _set_login(request, token, now)
    return Login(token, int(seen))


def end(request: Request, login: Login) -> None:
    """Log the visitor out, in copies of the cookie too. Raises DatastoreError."""
    client = own_client()
    client.commit([delete(client.key(KIND, _stored(login.token)))])
    request.cookies = [_cookie(request, "login", "", 0)]


def device(request: Request) -> str:
    """Return the name of a browser from which somebody logged in before, or ""."""
    name, _, signature = request.cookie(_name(request, "device")).partition(".")
    return name if name and signing.is_signed("device", name, signature) else ""


def form_secret(request: Request) -> str:
    """Return what the login form's token is made from: a random cookie, set here where there is none yet."""
    found = request.cookie(_name(request, "form"))
    if len(found) == 32 and found.isalnum():
        return found
    made = secrets.token_hex(16)
    request.cookies.append(_cookie(request, "form", made, None))
    return made


def _set_cookies(request: Request, token: str, now: int) -> None:
    _set_login(request, token, now)
    name = device(request) or secrets.token_hex(16)
    signed = f"{name}.{signing.sign('device', name)}"
    request.cookies.append(_cookie(request, "device", signed, DEVICE_AGE))


def _set_login(request: Request, token: str, now: int) -> None:
    text = f"{token}.{now}"
    request.cookies.append(_cookie(request, "login", f"{text}.{signing.sign('login', text)}", None))


def _cookie(request: Request, name: str, value: str, age: int | None) -> str:
    # Lax, not Strict: a link to a ticket in a mail or a chat should open it. Nothing here is done by GET.
    attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if request.https else "")
    return f"{_name(request, name)}={value}{attributes}" + ("" if age is None else f"; Max-Age={age}")


def _name(request: Request, name: str) -> str:
    # Browsers take "__Host-…" only over HTTPS and from this very host: no neighbour can plant one.
    return f"__Host-gaeport-console-{name}" if request.https else f"gaeport-console-{name}"


def _stored(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_stored(token: str, now: int) -> bool:
    client = own_client()
    found = client.lookup([client.key(KIND, _stored(token))])[0]
    return found is not None and bool(found.entity.properties["expires"].timestamp_value.seconds > now)


def _ended(client: Any, now: int) -> list[Any]:
    """Return mutations that clear away logins that ended by time."""
    query = wire.Query()
    query.kind.add().name = KIND
    query.limit.value = _SWEEP
    try:
        found = list(client.query(query))
    except DatastoreError:
        return []  # the next login clears them away
    over = [item for item in found if item.entity.properties["expires"].timestamp_value.seconds <= now]
    return [delete(item.entity.key) for item in over]
