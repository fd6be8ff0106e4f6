"""What `import gaeport` costs over a bare interpreter, and what it brings with it."""

from functools import partial

from tests.benchmarks.options import ROOT, Options
from tests.benchmarks.report import Section
from tests.benchmarks.timing import compare_programs, python

BUDGET_MS = 40.0

_MODULES = """
import sys
import gaeport{more}
print(" ".join(sorted(name for name in sys.modules if name.split(".")[0] in ("google", "grpc"))))
"""


def measure(options: Options) -> Section:
    """Time whole processes by turns, and list the google and grpc modules that are loaded."""
    section = Section("import gaeport, whole processes by turns", ("", "bare, ms", "with it, ms", "difference, ms"))
    for code, budget in (("import gaeport", BUDGET_MS), ("import gaeport; gaeport.mount", None)):
        found = compare_programs(partial(python, "pass", folder=ROOT), partial(python, code, folder=ROOT), rounds=15)
        difference = found.difference / 1e6
        section.add(
            code,
            f"{found.base / 1e6:.1f}",
            f"{found.other / 1e6:.1f}",
            f"{difference:.1f}",
            budget=f"≤ {budget:.0f}" if budget else "",
            kept=difference <= budget if budget else None,
        )
    loaded = google_modules()
    section.add("google and grpc modules that import gaeport loads", "", "", " ".join(loaded) or "none",
                budget="none", kept=not loaded)  # fmt: skip
    return section


def google_modules(more: str = "") -> list[str]:
    """Return the google and grpc modules that a fresh process has loaded after `import gaeport`.

    Args:
        more: code to run after the import.
    """
    return python(_MODULES.format(more=f"; {more}" if more else ""), folder=ROOT).split()
