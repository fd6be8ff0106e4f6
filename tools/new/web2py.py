"""web2py: its tree, unchanged, below a folder that App Engine takes."""

import argparse
import configparser
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from gaeport.errors import ConfigurationError

from . import compiling, project, wheel

TREE = "web2py"  # the tree's folder in the application's
OPTION = "--web2py"

_LEFT_BEHIND = shutil.ignore_patterns(".git", "__pycache__", "*.pyc")
#: Of the tree's requirements, what gaeport brings or stands for.
_NOT_NEEDED = frozenset({"gunicorn", "pydal", "google-cloud-firestore", "firebase-admin", "google-cloud-ndb"})
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Folders of an application that visitors' requests run code from.
_SERVED = ("applications", "gluon", "site-packages")
_LISTED = 20  # files that the report names one by one


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses this kind."""
    parser.add_argument(
        OPTION, type=Path, metavar="PATH", help=f"a web2py application: the tree in PATH is copied to DIR/{TREE}"
    )


def plan(folder: Path, source: Path, runtime: str) -> project.Plan:
    """Return what makes a folder an application that runs a web2py tree.

    Args:
        folder: the application's folder.
        source: web2py's tree.
        runtime: such as "python313".

    Raises:
        ConfigurationError: the source is no web2py, or lies around the folder.
    """
    source = source.resolve()
    if not Path(source, "gluon", "main.py").is_file() or not Path(source, "applications").is_dir():
        raise ConfigurationError(f"{source} is no web2py: it has no gluon/main.py or no applications/")
    if folder.resolve().is_relative_to(source):
        raise ConfigurationError(f"{folder} lies in {source}, which is to be copied into it; choose another folder")
    if Path(folder, TREE).exists():
        raise ConfigurationError(f"{folder} has {TREE} already; new never overwrites")
    values = {
        "runtime": runtime,
        "wheel": f"./vendor/{wheel.file_name()}",
        "requirements": "".join(f"{name}\n" for name in requirements(source)),
        "target": "main:app",
        "application": "",
        "statics": "" if Path(source, "routes.py").exists() else _STATICS,
    }
    files: dict[str, str | bytes] = dict(project.render("web2py", values))
    files[f"vendor/{wheel.file_name()}"] = wheel.build()
    return project.Plan(folder, files, _notes(source, runtime))


def copy(folder: Path, source: Path) -> None:
    """Copy the tree unchanged; repositories and byte code stay where they are.

    Raises:
        ConfigurationError: something cannot be read or written.
    """
    unfinished = Path(folder, f".{TREE}-unfinished")
    try:
        shutil.copytree(source, unfinished, symlinks=True, ignore=_LEFT_BEHIND)
        unfinished.rename(Path(folder, TREE))
    except (OSError, shutil.Error) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ConfigurationError(f"{source} cannot be copied: {error}") from error


def requirements(source: Path) -> list[str]:
    """Return the packages that the tree needs beside gaeport's own: its missing submodules', and those it lists."""
    listed = Path(source, "requirements.txt")
    lines = listed.read_text("utf-8").splitlines() if listed.is_file() else []
    own = [line.strip() for line in lines if _REQUIREMENT.match(line.strip())]
    found = {_package(line): line for line in own if _package(line) not in _NOT_NEEDED}
    for name in missing_submodules(source):
        if name not in _NOT_NEEDED:
            found.setdefault(name, name)
    if _uses_cgitb(source):
        found["legacy-cgi"] = 'legacy-cgi>=2.6; python_version >= "3.13"  # cgitb, by which web2py makes its tickets'
    return [found[name] for name in sorted(found)]


def missing_submodules(source: Path) -> list[str]:
    """Return the names of the packages whose submodule is not in the tree (a clone without --recursive)."""
    modules = configparser.ConfigParser()
    modules.read(source / ".gitmodules", "utf-8")
    paths = [Path(modules[section].get("path", "")) for section in modules.sections()]
    gluons = [Path("gluon/packages") / name for name in ("pydal", "yatl", "rocket3")]
    return sorted({path.name for path in (*paths, *gluons) if path.name and not any(_inside(source / path))})


def _inside(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def _package(line: str) -> str:
    found = _REQUIREMENT.match(line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


def _uses_cgitb(source: Path) -> bool:
    path = Path(source, "gluon", "restricted.py")
    return path.is_file() and "import cgitb" in path.read_text("utf-8", "replace")


def _notes(source: Path, runtime: str) -> list[str]:
    files = [path for path in sorted(source.rglob("*.py")) if not {".git", "__pycache__"} & {*path.parts}]
    done = compiling.compile_all(source, [path.relative_to(source).as_posix() for path in files], runtime)
    notes = []
    if done.interpreter != compiling.version_of(runtime):
        notes.append(
            f"python{compiling.version_of(runtime)} is not installed: files were compiled by {done.interpreter}, and "
            f"{runtime} may refuse others"
        )
    notes += _complaints(done, runtime)
    missing = missing_submodules(source)
    if missing:
        notes.append(
            f"the tree lacks its submodules {', '.join(missing)}: requirements.txt has packages in their place"
        )
    if not list(source.glob("parameters_*.py")):
        notes.append("the admin application has no password, and is disabled; docs/web2py.md says how to give it one")
    return notes


def _complaints(done: compiling.Compilation, runtime: str) -> list[str]:
    served = {name: why for name, why in done.failures.items() if name.split("/")[0] in _SERVED}
    others = len(done.failures) - len(served)
    notes = []
    if served:
        notes.append(f"{len(served)} files that requests may run do not compile on {runtime}:")
        notes += [f"  {TREE}/{name}: {why}" for name, why in served.items()]
    if others:
        names = [name for name in done.failures if name not in served]
        more = f" and {others - _LISTED} more" if others > _LISTED else ""
        notes.append(f"{others} files that no request runs do not compile on {runtime} either:")
        notes += [f"  {TREE}/{name}" for name in names[:_LISTED]] + ([f" {more}"] if more else [])
    return notes


_STATICS = f"""\
# web2py's static files, served without waking the application. Languages in the paths (the parametric router) need
# web2py itself: then take these two out.
- url: /([a-zA-Z0-9_]+)/static/_\\d+\\.\\d+\\.\\d+/(.+)
  static_files: {TREE}/applications/\\1/static/\\2
  upload: {TREE}/applications/[a-zA-Z0-9_]+/static/.+
  expiration: 365d
  secure: always
- url: /([a-zA-Z0-9_]+)/static/(.+)
  static_files: {TREE}/applications/\\1/static/\\2
  upload: {TREE}/applications/[a-zA-Z0-9_]+/static/.+
  secure: always
"""
