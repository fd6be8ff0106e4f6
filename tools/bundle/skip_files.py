"""The regular expressions of app.yaml's `skip_files` that select what a list of ignore patterns selects.

Runtimes before Python 3 take `skip_files`; gcloud matches each file's and folder's path from the root against it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gaeport.errors import ConfigurationError

from .patterns import Pattern

_ANY = "[^/]+"  # a component
_EVERY = "?*"  # a glob that every component matches
_CLASS = re.compile(r"\[(!?)(\]?[^\]]*)\]")


@dataclass(frozen=True, slots=True)
class _Shape:
    """A pattern in normal form: `**` at its ends is gone.

    Attributes:
        parts: components as regular expressions; "**" for any number of them.
        depths: how many components may stand before; None for any number.
        folder: whether it selects only folders.
    """

    parts: tuple[str, ...]
    depths: tuple[int, ...] | None
    folder: bool
    single: bool = False  # at depth 1, what stands before has one letter (gcloud's rule for a lone star)
    deep: bool = False  # `**` stands after something

    @property
    def end(self) -> str:
        return "/" if self.folder else r"(?:/|\Z)"


def expressions(patterns: Sequence[Pattern]) -> list[str]:
    """Return regular expressions for the patterns that leave files out, those that take some back in applied.

    Raises:
        ConfigurationError: a later pattern takes something back in, and the two cannot be said as one expression.
    """
    found = []
    for number, pattern in enumerate(patterns):
        if not pattern.negated:
            back = [shape for later in patterns[number + 1 :] if later.negated for shape in _shapes(later)]
            found += [_expression(shape, back, pattern) for shape in _shapes(pattern)]
    return found


def _shapes(pattern: Pattern) -> list[_Shape]:
    """Return a pattern's normal form; two where its first component can stand for the root, whose name is empty."""
    found = [_shape(pattern, pattern.parts)]
    if pattern.parts[1:] and pattern.parts[0] and fnmatchcase("", pattern.parts[0]) and "**" not in pattern.parts:
        found.append(_shape(pattern, ("", *pattern.parts[1:])))
    return found


def _shape(pattern: Pattern, written: tuple[str, ...]) -> _Shape:
    parts = list(written)
    single = parts[0] == "*" and "**" not in parts
    tied = parts[0] == "" or "**" in parts
    if parts[0] == "":
        parts.pop(0)
    while parts[:1] == ["**"] and parts[1:]:
        parts.pop(0)
        tied = "**" in parts
    if parts == ["**"]:
        parts, tied = [_EVERY], False
    deep = "**" in parts
    while parts[-1:] == ["**"]:
        parts.pop()
    depths = (0,) if tied else (0, 1) if single else None
    found = tuple(part if part == "**" else _component(part) for part in parts)
    return _Shape(found, depths, pattern.only_folders, single, deep)


def _expression(shape: _Shape, back: Sequence[_Shape], pattern: Pattern) -> str:
    rest = "/.*" if shape.folder else "(?:/.*)?"
    if not back:
        before = "(?:.*/)?" if shape.depths is None else "(?:[^/]/)?" if shape.single else ""
        return rf"^{before}{_joined(shape.parts)}{rest}\Z"
    _refuse_impossible(shape, back, pattern)
    return rf"^(?:{'|'.join(_alternatives(shape, back))}){rest}\Z"


def _refuse_impossible(shape: _Shape, back: Sequence[_Shape], pattern: Pattern) -> None:
    """Raise ConfigurationError where one expression cannot say what a pattern and those after it say together."""
    reason = ""
    if any(other.deep for other in (shape, *back)):
        reason = "** after a folder cannot be said"
    elif not shape.folder and any(other.folder for other in back):  # gcloud shows a folder's name without a slash
        reason = "that a later pattern takes back only folders cannot be said"
    if reason:
        place = f"{pattern.file}:{pattern.line}: " if pattern.line else f"{pattern.file}: "
        raise ConfigurationError(f"{place}{pattern.text}: {reason} as skip_files; write names out")


def _joined(parts: Iterable[str]) -> str:
    return "/".join(parts).replace("/**/", "/(?:.*/)?")


def _alternatives(shape: _Shape, back: Sequence[_Shape]) -> Iterable[str]:
    """Yield an expression for each number of components before the pattern's own, and one for all higher numbers."""
    length = len(shape.parts)
    most = max(0, *(len(other.parts) - length + 2 for other in back))
    for depth in shape.depths if shape.depths is not None else range(most):
        first = ("[^/]",) if shape.single and depth else ()
        parts = (*first, *[_ANY] * (depth - len(first)), *shape.parts)
        yield _guarded(parts, [(at, other) for other in back if (at := _place(other, len(parts))) is not None])
    if shape.depths is None:
        parts = (*[_ANY] * most, *shape.parts)
        yield rf"(?:{_ANY}/)*" + _guarded(
            parts, [(len(parts) - len(other.parts), other) for other in back if other.depths is None]
        )


def _place(other: _Shape, length: int) -> int | None:
    """Return where in a path of so many components a pattern would begin to match its end; None if it cannot."""
    at = length - len(other.parts)
    return at if at >= 0 and (other.depths is None or at in other.depths) else None


def _guarded(parts: Sequence[str], guards: Sequence[tuple[int, _Shape]]) -> str:
    """Return components joined, with a look-ahead before those where a pattern that takes back in would begin."""
    text = ""
    for number, part in enumerate(parts):
        for at, other in guards:
            if at == number:
                text += rf"(?!{_joined(other.parts)}{other.end})" if not (other.single and at) else _after_one(other)
        text += part + ("/" if number < len(parts) - 1 else "")
    return text


def _after_one(other: _Shape) -> str:
    """Return the guard of a pattern with a lone star at depth 1, where what stands before must have one letter."""
    return rf"(?!(?<=^[^/]/){_joined(other.parts)}{other.end})"


def _component(glob: str) -> str:
    """Return a glob for one component as a regular expression."""
    text, position = "", 0
    while position < len(glob):
        letter = glob[position]
        found = _CLASS.match(glob, position)
        if found is not None and found[2]:
            inside = found[2].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
            text += f"(?!/)[{'^' if found[1] else ''}{_caret(inside)}]"
            position = found.end()
            continue
        text += {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
        position += 1
    return text


def _caret(inside: str) -> str:
    return rf"\{inside}" if inside.startswith("^") else inside
