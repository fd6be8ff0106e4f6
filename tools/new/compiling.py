"""Which Python files do not compile on the runtime that will run them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Runs on the target's interpreter: file names come by standard input, complaints leave as JSON.
_SCRIPT = """
import json, sys, tokenize, warnings
warnings.simplefilter("ignore")
found = {}
for path in json.load(sys.stdin):
    try:
        with tokenize.open(path) as file:
            compile(file.read(), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        found[path] = (f"line {line}: " if line else "") + (getattr(error, "msg", None) or str(error))
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Compilation:
    """What compiling gave.

    Attributes:
        interpreter: the Python that tried, such as "3.13".
        failures: the complaint for each file that does not compile, by its path from the folder.
    """

    interpreter: str
    failures: dict[str, str]


def version_of(runtime: str) -> str:
    """Return the Python version of a runtime: "3.13" for python313."""
    digits = runtime.removeprefix("python")
    return f"{digits[0]}.{digits[1:]}"


def compile_all(folder: Path, files: Iterable[str], runtime: str) -> Compilation:
    """Compile files by the runtime's Python where it is installed, else by the one that runs.

    Args:
        folder: what the paths start from.
        files: Python files.
        runtime: such as "python313".
    """
    wanted = version_of(runtime)
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = None if wanted == running else _interpreter(wanted)
    paths = {str(folder / name): name for name in files}
    done = subprocess.run(
        [other or sys.executable, "-I", "-c", _SCRIPT],
        input=json.dumps(list(paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    failures = {paths[path]: reason for path, reason in json.loads(done.stdout).items()}
    return Compilation(wanted if other else running, failures)


def _interpreter(version: str) -> str | None:
    """Return an installed Python of a version; one that is there in name only (a version manager's) does not count."""
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    asked = [found, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found if done.returncode == 0 and done.stdout.strip() == version else None
