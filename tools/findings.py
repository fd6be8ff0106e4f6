"""What a tool found: one form for all of them, readable on a terminal and by machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

Severity = Literal["error", "warning", "note"]

_COLOURS: dict[Severity, str] = {"error": "31", "warning": "33", "note": "36"}
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend, or to know.

    Attributes:
        code: a stable name, such as "bundle.secret".
        severity: an error breaks the deployment or the application; a warning will hurt; a note is for information.
        message: what is the matter, naming the value.
        fix: what to do about it.
        file: the file, relative to the application's folder.
        line: the line in it, from 1.
    """

    code: str
    severity: Severity
    message: str
    fix: str = ""
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """The file and line as editors take them; "" where there is none."""
        if self.file is None:
            return ""
        return self.file if self.line is None else f"{self.file}:{self.line}"


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the gravest first, then by file and line."""
    return sorted(findings, key=lambda f: (_RANK[f.severity], f.file or "", f.line or 0, f.code, f.message))


def failed(findings: Iterable[Finding]) -> bool:
    """Whether any finding is more than a note."""
    return any(finding.severity != "note" for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """Return findings as a JSON array of objects with the attributes of Finding."""
    return json.dumps([asdict(finding) for finding in in_order(findings)], indent=2)


def as_text(findings: Sequence[Finding], *, colour: bool) -> str:
    """Return findings for people: a line each, the fix below it, and how many there are."""
    lines = []
    for finding in in_order(findings):
        place = f"{finding.place}: " if finding.place else ""
        lines.append(f"{_painted(finding.severity, colour)}: {place}{finding.message}  [{finding.code}]")
        lines += [f"    {line}" for line in finding.fix.splitlines()]
    lines.append(_summary(findings))
    return "".join(f"{line}\n" for line in lines)


def report(findings: Sequence[Finding], *, json_form: bool, stream: TextIO | None = None) -> int:
    """Print findings.

    Args:
        findings: what was found.
        json_form: print JSON in place of text.
        stream: where to; by default standard output.

    Returns:
        The exit code: 1 where there is an error or a warning, else 0.
    """
    out = stream or sys.stdout
    out.write(f"{as_json(findings)}\n" if json_form else as_text(findings, colour=out.isatty()))
    return 1 if failed(findings) else 0


def _painted(severity: Severity, colour: bool) -> str:
    return f"\033[{_COLOURS[severity]}m{severity}\033[0m" if colour else severity


def _summary(findings: Sequence[Finding]) -> str:
    counts = [(name, sum(finding.severity == name for finding in findings)) for name in _RANK]
    found = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts if count]
    return ", ".join(found) if found else "nothing found"
