"""200 requests and frames with planted secrets: where each stands, and what must not be found in any sink."""

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

_random = random.Random(20_26)
_LETTERS = string.ascii_letters + string.digits


def word(length: int = 14) -> str:
    """Return a random word, which nothing but its name gives away as a secret."""
    return "Zq" + "".join(_random.choices(string.ascii_lowercase, k=length - 2))


def token(length: int) -> str:
    return "".join(_random.choices(_LETTERS, k=length - 3)) + "A7z"


def card() -> str:
    """Return 16 digits with a right check digit."""
    digits = [4, *(_random.randrange(10) for _ in range(14))]
    total = sum(sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def grouped(digits: str, separator: str) -> str:
    """Return digits as cards show them."""
    return separator.join(digits[start : start + 4] for start in range(0, 16, 4))


@dataclass
class Case:
    """One failing request.

    Attributes:
        secrets: what must not be found.
        environ: put into the request's environment.
        variables: local variables of the failing view.
        message: of the exception.
        note: of the exception.
        source: a line of the view's source code.
    """

    secrets: list[str]
    environ: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    message: str = "failed"
    note: str = ""
    source: str = "pass"


_NAMES = (
    "password",
    "new_password",
    "userPassword",
    "PASSWD",
    "passphrase",
    "secret",
    "client_secret",
    "SECRET_KEY",
    "token",
    "access_token",
    "refreshToken",
    "csrf_token",
    "api_key",
    "apiKey",
    "X_API_KEY",
    "private_key",
    "aws_secret_access_key",
    "authorization",
    "auth",
    "credentials",
    "session_id",
    "sessionid",
    "cookie",
    "set_cookie",
    "jwt",
    "otp",
    "pin",
    "card_number",
    "credit_card",
    "cvv",
    "iban",
    "ssn",
    "signature",
    "db_password",
    "DATABASE_URL",
)
_HEADERS = (
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "X-Api-Key",
    "X-Auth-Token",
    "X-Csrf-Token",
    "X-Access-Token",
    "X-Goog-Iap-Jwt-Assertion",
    "X-Amz-Security-Token",
    "Api-Key",
    "X-Secret",
    "X-Session-Id",
    "X-Hub-Signature-256",
    "Private-Token",
)


def _shapes() -> list[str]:
    return [
        f"eyJ{token(20)}.eyJ{token(40)}.{token(43)}",
        f"sk_live_{token(24)}",
        f"ghp_{token(36)}",
        f"AKIA{''.join(_random.choices(string.ascii_uppercase, k=16))}",
        f"AIza{token(35)}",
        f"ya29.{token(60)}",
        f"xoxb-{token(30)}",
        f"SG.{token(22)}.{token(43)}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{token(64)}\n-----END RSA PRIVATE KEY-----",
        token(48),
        "".join(_random.choices("0123456789abcdef", k=64)),
        card(),
        grouped(card(), " "),
        grouped(card(), "-"),
    ]


def _urls() -> list[tuple[str, str]]:
    secret = [word() for _ in range(4)]
    return [
        (f"postgresql://shop:{secret[0]}@10.0.0.3/shop", secret[0]),
        (f"https://{secret[1]}:x-oauth-basic@github.com/shop/shop.git", secret[1]),
        (f"redis://:{secret[2]}@10.0.0.4:6379/0", secret[2]),
        (f"https://{secret[3]}@github.com/shop/shop.git", secret[3]),
    ]


def _by_name() -> Iterator[Case]:
    for name in _NAMES:
        value = word()
        yield Case([value], variables={name: value})
        value = word()
        yield Case([value], variables={"data": {"user": "ann", "inner": [{name: value}]}})
        value = word()
        yield Case([value], environ={"QUERY_STRING": f"page=1&{name}={quote_plus(value)}&q=x"})
    for name in _HEADERS:
        value = word()
        key = f"HTTP_{name.upper().replace('-', '_')}"
        yield Case([value], environ={key: f"session={value}" if name == "Cookie" else f"Bearer {value}"})


def _in_text() -> Iterator[Case]:
    forms = (
        "login failed: password={}",
        "{{'user': 'ann', 'password': '{}'}}",
        '{{"api_key": "{}", "page": 1}}',
        "GET https://api.example.org/v1?access_token={}&page=1 answered 401",
        "Authorization: Bearer {}",
        "Cookie: session={}; theme=dark",
        "client_secret = '{}'",
    )
    for form in forms:
        value = word()
        yield Case([value], message=form.format(value))
        value = word()
        yield Case([value], note=form.format(value))
        value = word()
        yield Case([value], variables={"answer": form.format(value)})


def _by_shape() -> Iterator[Case]:
    for value in _shapes():
        yield Case([value.split("\n")[1] if "\n" in value else value], variables={"value": value})
    for value in _shapes():
        yield Case([value.split("\n")[1] if "\n" in value else value], message=f"refused: {value}")
    for value in _shapes()[:8]:
        yield Case([value], environ={"QUERY_STRING": f"x={quote_plus(value)}", "HTTP_REFERER": f"http://h/?r={value}"})
    for url, secret in _urls():
        yield Case([secret], variables={"target": url})
    for url, secret in _urls():
        yield Case([secret], message=f"cannot connect to {url}")


def _moved() -> Iterator[Case]:
    """A secret that has no shape, and stands under its name in one place and without it in another."""
    for place in ("message", "note", "variable", "path"):
        for _ in range(2):
            value = word()
            case = Case([value], variables={"password": value})
            if place == "message":
                case.message = f"no user with {value}"
            elif place == "note":
                case.note = f"tried {value}"
            elif place == "variable":
                case.variables["copy"] = ["a", value]
            else:
                case.environ["PATH_INFO"] = f"/login/{value}"
            yield case
        value = word()
        yield Case([value], environ={"HTTP_COOKIE": f"theme=dark; auth={value}"}, message=f"bad cookie {value!r}")


def _in_source() -> Iterator[Case]:
    for name in ("API_KEY", "password", "db_password", "client_secret"):
        value = word()
        yield Case([value], source=f'{name} = "{value}"')


def cases() -> list[Case]:
    """Return all cases."""
    return [*_by_name(), *_in_text(), *_by_shape(), *_moved(), *_in_source()]
