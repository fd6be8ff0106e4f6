"""Ticket numbers: short enough to read out, and each says its group and its time.

`K7QF2B-3M2XAB-9TZQ`: 30 bits of the group's fingerprint, seconds since 2020, 20 random bits. Since a number begins
with its group, the keys of tickets are spread over groups, and a list of keys alone tells what happened when.
"""

import re
import secrets
import time
from dataclasses import dataclass

from gaeport.errors import GaeportError

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O and U
_READ = {letter: value for value, letter in enumerate(_ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_EPOCH = 1_577_836_800  # 1 January 2020, UTC; 30 bits of seconds reach 2054
_FORM = re.compile(r"[0-9A-Z]{6}-[0-9A-Z]{6}-[0-9A-Z]{4}")


class NotATicket(GaeportError, ValueError):
    """A text is not a ticket's number; the message says how one looks."""


@dataclass(frozen=True, slots=True)
class Number:
    """What a ticket's number says.

    Attributes:
        text: the number itself.
        group: its first six characters, those of its group.
        time: seconds since 1970.
    """

    text: str
    group: str
    time: int


def group_of(fingerprint: str) -> str:
    """Return the group's name: six characters for a fingerprint's first 30 bits."""
    return _written(int(fingerprint[:8], 16) >> 2, 6)


def new_number(group: str, when: float | None = None) -> str:
    """Return a number for a ticket of a group.

    Args:
        group: as `group_of` gives it.
        when: seconds since 1970; now by default.
    """
    seconds = int(time.time() if when is None else when) - _EPOCH
    return f"{group}-{_written(seconds & (2**30 - 1), 6)}-{_written(secrets.randbits(20), 4)}"


def parse(text: str) -> Number:
    """Return what a number says, which may be typed in small letters, without "-", or with O for 0.

    Raises:
        NotATicket: it is none.
    """
    plain = re.sub(r"[\s-]", "", text).upper()
    shaped = f"{plain[:6]}-{plain[6:12]}-{plain[12:]}"
    if not _FORM.fullmatch(shaped) or any(letter not in _READ for letter in plain):
        raise NotATicket(f"{text!r} is not a ticket's number, which looks like K7QF2B-3M2XAB-9TZQ")
    plain = "".join(_ALPHABET[_READ[letter]] for letter in plain)
    return Number(f"{plain[:6]}-{plain[6:12]}-{plain[12:]}", plain[:6], _read(plain[6:12]) + _EPOCH)


def parse_group(text: str) -> str:
    """Return a group's name as it is kept.

    Raises:
        NotATicket: it is none.
    """
    plain = text.strip().upper()
    if len(plain) != 6 or any(letter not in _READ for letter in plain):
        raise NotATicket(f"{text!r} is not a group, which has the six characters that its tickets' numbers begin with")
    return "".join(_ALPHABET[_READ[letter]] for letter in plain)


def _written(value: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        value, digit = divmod(value, 32)
        letters = _ALPHABET[digit] + letters
    return letters


def _read(text: str) -> int:
    value = 0
    for letter in text:
        value = value * 32 + _READ[letter]
    return value
