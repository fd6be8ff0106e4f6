"""The words of a GQL query: names, literals, binding sites and signs, each with its place for messages.

Source: "GQL Reference" of Firestore in Datastore mode.
"""

import re
from dataclasses import dataclass
from typing import Literal

from gaeport.errors import InvalidArgument

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<double>[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?\d+[eE][+-]?\d+)
  | (?P<integer>[+-]?\d+)
  | (?P<string>'(?:[^'\\]|\\[0bnrtZ'"`\\%_]|'')*'|"(?:[^"\\]|\\[0bnrtZ'"`\\%_]|"")*")
  | (?P<quoted>`(?:[^`\\]|\\[0bnrtZ'"`\\%_]|``)*`)
  | (?P<binding>@(?:\d+|[A-Za-z_$][A-Za-z0-9_$]*))
  | (?P<name>[A-Za-z_$\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*)
  | (?P<sign><=|>=|!=|[=<>*(),.+])
  | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_ESCAPE = re.compile(r"\\(.)|(['\"`])\2", re.DOTALL)

Type = Literal["double", "integer", "string", "quoted", "binding", "name", "sign", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a query.

    Attributes:
        type: what it is; "quoted" is a name in backquotes, "end" stands after the last word.
        text: as written; of strings and quoted names what they stand for; of bindings without the @.
        at: where it begins, in characters from the query's first.
    """

    type: Type
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of some keywords (in capitals here, in any case in the query) or signs."""
        return self.type in ("name", "sign") and self.text.upper() in words


def tokens(query: str) -> list[Token]:
    """Return the words of a query, the last of type "end".

    Raises:
        InvalidArgument: something in it is none; the message says where.
    """
    found: list[Token] = []
    at = 0
    while True:
        match = _TOKEN.match(query, at)
        if match is None:
            at += len(query[at:]) - len(query[at:].lstrip())
            quote = query[at] in "'\"`"
            raise refusal(
                query,
                at,
                "a quote that is not closed, or an unknown escape in it" if quote else f"unexpected {query[at]!r}",
            )
        kind: Type = match.lastgroup  # type: ignore[assignment]  # the groups are named as the types
        text, start = match[kind], match.start(kind)
        if kind in ("string", "quoted"):
            text = _ESCAPE.sub(_unescaped, text[1:-1])
        found.append(Token(kind, text[1:] if kind == "binding" else text, start))
        if kind == "end":
            return found
        at = match.end()


def _unescaped(match: re.Match[str]) -> str:
    return match[2] or _ESCAPES.get(match[1], match[1])


def refusal(query: str, at: int, what: str) -> InvalidArgument:
    """Return the error for something wrong at a place in a query, `at` characters from its first."""
    line = query.count("\n", 0, at) + 1
    column = at - query.rfind("\n", 0, at)
    return InvalidArgument(f"GQL query, line {line}, column {column}: {what}, near {query[at : at + 30]!r}")
