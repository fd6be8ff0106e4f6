"""The tables: rows with a budget, as aligned text and as Markdown."""

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date

_VERDICTS = {None: "", True: "ok", False: "MISSED"}


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing.

    Attributes:
        cells: the values of the section's columns, as they are printed.
        budget: the budget, as it is printed; "" where there is none.
        kept: whether the budget was kept; None where there is none, or it could not be measured.
    """

    cells: tuple[str, ...]
    budget: str = ""
    kept: bool | None = None


@dataclass(slots=True)
class Section:
    """One table.

    Attributes:
        title: what was measured.
        columns: the headings of the rows' cells; "budget" and the verdict are added.
        rows: the rows, in order.
        notes: sentences below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str, budget: str = "", kept: bool | None = None) -> None:
        """Append a row."""
        self.rows.append(Row(cells, budget, kept))

    def to_json(self) -> str:
        """Return the section as one line for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Section":
        """Return what `to_json` was made of."""
        table = json.loads(line)
        rows = [Row(tuple(row["cells"]), row["budget"], row["kept"]) for row in table["rows"]]
        return cls(table["title"], tuple(table["columns"]), rows, table["notes"])

    def grid(self) -> list[tuple[str, ...]]:
        """Return the headings and the rows, all of one length."""
        head = (*self.columns, "budget", "")
        return [head, *((*row.cells, row.budget, _VERDICTS[row.kept]) for row in self.rows)]


def as_text(section: Section) -> str:
    """Return a section as an aligned table: the first column to the left, the others to the right."""
    grid = section.grid()
    widths = [max(len(row[column]) for row in grid) for column in range(len(grid[0]))]
    lines = [section.title, "-" * len(section.title)]
    for row in grid:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in section.notes), ""])


MARKER = "<!-- The rest of this page is written by make bench -->"
_OPENING = re.compile(r"^<!-- section (\w+) -->\n", re.MULTILINE)


def with_sections(page: str, sections: dict[str, str], order: Sequence[str]) -> str:
    """Return a page with sections put in the place of those of the same names; others stay as they are.

    Args:
        page: a page of this kind, or "".
        sections: Markdown by name.
        order: the order of the names.
    """
    head, _, body = page.partition(MARKER)
    pieces = _OPENING.split(body)  # what stands before the first, and then name and text of each
    kept = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)} | sections
    written = [f"<!-- section {name} -->\n{kept[name].strip()}\n" for name in order if name in kept]
    return f"{head}{MARKER}\n\n" + "\n".join(written)


def as_markdown(section: Section, about: str = "") -> str:
    """Return a section as Markdown, its heading one of the second level.

    Args:
        section: the table.
        about: when and where it was measured; "" says nothing of that.
    """
    head, *rows = section.grid()
    lines = [f"## {section.title}", "", *([f"Measured {about}.", ""] if about else [])]
    lines += [_line(head), _line(["---", *("---:" for _ in head[1:])])]
    lines += [_line([*row[:-1], f"**{row[-1]}**" if row[-1] == "MISSED" else row[-1]]) for row in rows]
    return "\n".join([*lines, *(f"\n{note}" for note in section.notes), ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Return what the numbers depend on: date, processor, cores, Python. Names no host and no path."""
    load = f", load average {os.getloadavg()[0]:.1f} from other work at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{date.today().isoformat()}; {_processor()}, {os.cpu_count()} cores{load}; {platform.system()}; "
        f"{platform.python_implementation()} {platform.python_version()}; protobuf {_version('protobuf')}, "
        f"grpcio {_version('grpcio')}, SQLite {_sqlite()}"
    )


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _sqlite() -> str:
    import sqlite3

    return sqlite3.sqlite_version
