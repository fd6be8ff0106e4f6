"""Takes secrets out of what a ticket or a log line would show: by the name they are under, and by their shape.

What is replaced stays readable as such: `[redacted]`. Rather too much than too little: a hash that looks like a token
goes, too.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

REDACTED = "[redacted]"
URL_SAFE = "/:@!$&'()*+,;=~"  # characters that stay as they are in a URL's path

# A part of a name that says that the value is secret. Names are compared in lower case without "_", "-" and ".".
_SECRET_PARTS = (
    "authorization|authentication|passw(or)?d|passwd|passphrase|passcode|pwd|secret|token|cookie|credential|apikey|"
    "accesskey|privatekey|signingkey|encryptionkey|csrf|xsrf|sessionid|sessionkey|sessid|jwt|bearer|signature|assertion|"
    "creditcard|cardnumber|ccnumber|cvv|cvc|securitycode|iban|socialsecurity|connectionstring|databaseurl|onetime|"
    "recoverycode"
)
# Last words of a name that do: short ones, which are part of too many others.
_SECRET_WORDS = frozenset(
    ["auth", "dsn", "key", "keys", "mfa", "otp", "pass", "pin", "pw", "sid", "sig", "ssn", "totp"]
)
_HARMLESS_ALONE = frozenset(("key", "keys"))  # as the name of a variable
_SECRET_PARAMETERS = frozenset(["cc", "code", "key", "nonce", "state"])  # in a query string or a header
_PART = re.compile(_SECRET_PARTS)
_SEPARATORS = re.compile(r"[_\-.\s]")
_WORDS = re.compile(r"[_\-.\s]+|(?<=[a-z0-9])(?=[A-Z])")

_NAME = (
    r"[\w.\-]{0,60}(?:authorization|authentication|passw(?:or)?d|passwd|passphrase|passcode|pwd|secret|token|cookie|"
    r"credential|api[_\-]?key|access[_\-]?key|private[_\-]?key|signing[_\-]?key|encryption[_\-]?key|csrf|xsrf|"
    r"session[_\-]?(?:id|key)|sessid|jwt|signature|assertion|credit[_\-]?card|card[_\-]?number|cc[_\-]?number|cvv|cvc|"
    r"security[_\-]?code|iban|database[_\-]?url|[_\-]key|[_\-]pin|[_\-]otp|[_\-]pw|[_\-]pass)[\w\-]{0,60}"
)
_VALUE = r"""(?:[bBrRuUfF]{0,2}'(?:[^'\\\n]|\\.)*'?|[bBrRuUfF]{0,2}"(?:[^"\\\n]|\\.)*"?|[^\s'",;&<>)\]}]+)"""
#: name=value, name: value, 'name': value, "name" = "value", as source code, reprs, JSON and query strings write them.
_PAIR = re.compile(
    rf"""(?<![\w.\-])(?P<name>{_NAME}|pin|otp|pass|pw|ssn|sid)(?P<sign>(?:\\?["'])?\s*(?:=(?!=)|:(?!:)|=>)\s*)"""
    rf"(?P<value>(?:(?:Bearer|Basic|Digest|Token|Negotiate)\s+)?{_VALUE})",
    re.IGNORECASE,
)
_HEADER_LINE = re.compile(r"(?im)^(\s*(?:set-cookie|cookie|authorization|proxy-authorization)\s*:\s*)(.+)$")
_SHAPES = re.compile(
    r"""
      -----BEGIN[ ][A-Z0-9 ]*PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z0-9 ]*PRIVATE[ ]KEY-----|\Z)
    | \beyJ[\w\-]{6,}(?:\.[\w\-]*){0,4}                          # JSON Web Tokens, and Flask's signed sessions
    | \b(?:sk|pk|rk|whsec)_(?:live|test)_\w{6,} | \bwhsec_\w{6,}  # Stripe
    | \bsk-[\w\-]{16,}
    | \bgh[pousr]_\w{16,} | \bgithub_pat_\w{16,} | \bglpat-[\w\-]{16,}
    | \b(?:AKIA|ASIA)[0-9A-Z]{12,}
    | \bAIza[\w\-]{20,} | \bya29\.[\w\-.]{8,} | \bGOCSPX-[\w\-]{8,} | \b1//[\w\-]{16,}
    | \bxox[abeoprs]-[\w\-]{8,}
    | \bSG\.[\w\-]{8,}\.[\w\-]{8,}
    | \b(?:pypi|npm|dop|dp|hf|shpat|shpss)[-_][\w\-]{20,}
    | \b(?:Bearer|Basic|Digest|Negotiate)\s+(?=[\w\-.~+/]*[\d.+/=~]|[\w\-.~+/]{16,})[\w\-.~+/]{6,}=*
    | \b[0-9a-fA-F]{32,}\b
    """,
    re.VERBOSE,
)
_URL_CREDENTIALS = re.compile(
    r"(\b[a-zA-Z][\w+.\-]{0,40}://)(?:[^\s/@'\"<>]{0,200}:[^\s'\"<>]{0,200}|[^\s/@'\"<>:?]{1,200})@(?=[\w\[.\-])"
)
_QUERY_PAIR = re.compile(r"(?<=[?&;])([^\s=&;#'\"<>]+)=([^\s&;#'\"<>]*)")
_DIGITS = re.compile(r"(?<![\d.])\d(?:[ \-]?\d){12,18}(?!\d)")
_LONG = re.compile(r"[A-Za-z0-9_+=\-]{24,}")
_LEAST_VALUE = 5  # characters of a secret that is replaced wherever it stands; shorter ones stand in too many words
_MAX_VALUES = 200
_LEAST_OF_EACH = 3  # digits, small and capital letters of a long word that is taken for a random one


def is_secret_name(name: str, extra: Iterable[str] = (), *, strict: bool = False) -> bool:
    """Tell whether the value of a header, a field or a variable is secret by its name.

    Args:
        name: such as "X-Api-Key", "user_password", "csrfToken".
        extra: further names that are secret, the application's own.
        strict: also names that are secret in a query string or a header, and harmless for a variable ("key").
    """
    lower = name.lower()
    if _PART.search(_SEPARATORS.sub("", lower)) or any(lower == word.lower() for word in extra):
        return True
    if strict and lower in _SECRET_PARAMETERS:
        return True
    words = [word.lower() for word in _WORDS.split(name) if word]
    return bool(words) and words[-1] in _SECRET_WORDS and (strict or len(words) > 1 or lower not in _HARMLESS_ALONE)


def redacted_text(text: str) -> str:
    """Return a text without what has a secret's shape, and without values beside a secret's name."""
    if len(text) < 4:
        return text
    if ":" in text or "=" in text:
        text = _HEADER_LINE.sub(rf"\1{REDACTED}", text)
        text = _PAIR.sub(_pair, text)
        if "://" in text:
            text = _URL_CREDENTIALS.sub(rf"\1{REDACTED}@", text)
        if "?" in text or "&" in text:
            text = _QUERY_PAIR.sub(_query_pair, text)
    text = _SHAPES.sub(_shape, text)
    text = _DIGITS.sub(_card, text)
    return _LONG.sub(_random, text)


def redacted_query(query: str) -> str:
    """Return a query string whose secret values are replaced; its names stay."""
    return redacted_text(f"?{query}")[1:]


def redacted_pairs(pairs: Iterable[tuple[str, str]], extra: Iterable[str] = ()) -> dict[str, str]:
    """Return headers, or other named texts, without secrets."""
    names = tuple(extra)
    return {
        redacted_text(name): REDACTED if is_secret_name(name, names, strict=True) else redacted_text(value)
        for name, value in pairs
    }


class Secrets:
    """The values that stood under a secret's name in one ticket: they go from everywhere else in it, too.

    A password that was wrong is a local variable in one frame, and part of the message in the next.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, value: object) -> None:
        """Note a value; anything but a text or bytes of five characters or more is left alone."""
        if isinstance(value, (bytes, bytearray)):
            value = bytes(value[:4_000]).decode("latin-1")
        if isinstance(value, str) and len(value) >= _LEAST_VALUE and len(self._values) < _MAX_VALUES:
            self._values.add(value)
            self._values.update(part for part in value.split() if len(part) >= _LEAST_VALUE + 3)

    def add_cookies(self, header: str) -> None:
        """Note the values of a Cookie header."""
        for item in header.split(";"):
            self.add(item.partition("=")[2].strip().strip('"'))

    def taken_from(self, value: Any) -> Any:
        """Return JSON data in which no text holds one of the values."""
        if not self._values:
            return value
        ways = {way for text in self._values for way in _spellings(text)}
        pattern = re.compile("|".join(re.escape(way) for way in sorted(ways, key=len, reverse=True)))
        return _replaced(value, pattern)


def _spellings(text: str) -> tuple[str, ...]:
    """Return a text as it is, as a repr and as URLs write it."""
    raw = text.encode("utf-8", "surrogatepass")
    return (text, repr(text)[1:-1], quote(raw, ""), quote(raw, URL_SAFE), quote_plus(raw))


def _replaced(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(REDACTED, value)
    if isinstance(value, Mapping):
        return {key: _replaced(item, pattern) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, pattern) for item in value]
    return value


def _pair(found: re.Match[str]) -> str:
    value = found["value"]
    opening = re.match(r"[bBrRuUfF]{0,2}(['\"])", value)
    if opening is None:
        return f"{found['name']}{found['sign']}{REDACTED}"
    closing = opening[1] if len(value) > len(opening[0]) and value.endswith(opening[1]) else ""
    return f"{found['name']}{found['sign']}{opening[0]}{REDACTED}{closing}"


def _query_pair(found: re.Match[str]) -> str:
    secret = is_secret_name(unquote_plus(found[1]), strict=True)
    return f"{found[1]}={REDACTED}" if secret and found[2] else found[0]


def _shape(found: re.Match[str]) -> str:
    return REDACTED


def _card(found: re.Match[str]) -> str:
    """Replace 13 to 19 digits whose check digit is right (ISO/IEC 7812, the Luhn algorithm)."""
    digits = [int(digit) for digit in found[0] if digit.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return REDACTED if (sum(digits[::-2]) + sum(doubled)) % 10 == 0 and any(digits) else found[0]


def _random(found: re.Match[str]) -> str:
    """Replace a long word that mixes digits, small and capital letters as only a random one does."""
    word = found[0]
    digits = sum(letter.isdigit() for letter in word)
    small = sum(letter.islower() for letter in word)
    mixed = min(digits, small, sum(letter.isupper() for letter in word)) >= _LEAST_OF_EACH
    return REDACTED if mixed else word
