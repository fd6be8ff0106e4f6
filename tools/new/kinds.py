"""Applications by framework: a small one to begin with, or what an application that is there already lacks."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaeport.errors import ConfigurationError
from gaeport.settings import BundleSettings

from ..blocks import put
from ..bundle import generate, patterns
from . import project, wheel

STARTER = "shop"  # the package of a first application
_WRAPPERS = ("main", "wsgi_main", "gaeport_main")  # modules for what App Engine serves; the first free one is taken
_SKIPPED = {"tests", "test", "venv", "env", "node_modules", "vendor", "build", "dist", "site-packages"}
_APPLICATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(.*\))?")


@dataclass(frozen=True, slots=True)
class Kind:
    """One framework.

    Attributes:
        name: the option's name, and the folder of its templates.
        application: of the first application, as gaeport.toml's `app`.
        calls: names whose call makes an application, by which one that is there is found.
        requirements: what it needs besides gaeport.
        help: of the option.
    """

    name: str
    application: str
    calls: tuple[str, ...]
    requirements: tuple[str, ...]
    help: str


_PY4WEB = "py4web.core:wsgi(apps_folder='apps', password_file='password.txt', dashboard_mode='none')"

KINDS = (
    Kind("flask", "shop.web:app", ("Flask",), ("flask>=3.1,<4",), "a Flask application"),
    Kind("bottle", "shop.web:app", ("Bottle", "default_app"), ("bottle>=0.13,<0.14",), "a Bottle application"),
    Kind("django", "shop.wsgi:application", ("get_wsgi_application",), ("django>=5.2,<7",), "a Django project"),
    Kind("py4web", _PY4WEB, (), ("py4web",), "py4web; its applications are in DIR/apps"),
)
WSGI = Kind("wsgi", "shop.web:app", (), (), "a WSGI application, by module:callable")


def plan(folder: Path, kind: Kind, runtime: str, application: str | None = None) -> project.Plan:
    """Return what makes a folder an application for App Engine.

    Files that are there stay as they are; what requirements.txt lacks is told, with everything else to do.

    Args:
        folder: the application's folder; it may hold an application.
        kind: its framework.
        runtime: such as "python313".
        application: "module:callable"; None finds one that is there, or makes a first one.

    Raises:
        ConfigurationError: the callable's name is wrong, or there is Python code here but no such application in it.
    """
    if application is not None and not _APPLICATION.fullmatch(application):
        raise ConfigurationError(f"{application!r} must be module:callable, such as shop.web:app")
    present = application or _find(folder, kind)
    starts = present is None
    wrapper = next((name for name in _WRAPPERS if not (folder / f"{name}.py").exists()), _WRAPPERS[-1])
    values = {
        "runtime": runtime,
        "target": f"{wrapper}:app",
        "application": present or kind.application,
        "wheel": f"./vendor/{wheel.file_name()}",
        "requirements": "".join(f"{line}\n" for line in kind.requirements),
        "statics": "",
    }
    files: dict[str, str | bytes] = dict(project.render(kind.name if starts else _around(kind), values))
    if not starts:
        files = {
            name: text for name, text in files.items() if not name.startswith(f"{STARTER}/") and name != "manage.py"
        }
    files[f"{wrapper}.py"] = files.pop("main.py")
    files[patterns.IGNORE_FILE] = put("", "".join(generate.lines(BundleSettings())), generate.COMMAND)
    files[f"vendor/{wheel.file_name()}"] = wheel.build()
    return _around_what_is_there(folder, files)


def _around(kind: Kind) -> str:
    """Return the templates for an application that is there: those of all kinds, except for py4web's own mounts."""
    return "py4web" if kind.name == "py4web" else "common"


def _around_what_is_there(folder: Path, files: dict[str, str | bytes]) -> project.Plan:
    """Leave out the files that exist, and say what those need."""
    kept = {name: text for name, text in files.items() if (folder / name).exists()}
    notes = [f"kept {name}, which was there" for name in sorted(kept)]
    requirements = kept.get("requirements.txt")
    if isinstance(requirements, str):
        there = (folder / "requirements.txt").read_text("utf-8", "replace").lower()
        lines = [line for line in requirements.splitlines() if line and not line.startswith("#")]
        wanted = [line for line in lines if re.split(r"[<>=\[]", line)[0].lower() not in there]
        notes += ["requirements.txt needs these lines too:", *(f"  {line}" for line in wanted)] if wanted else []
    app = kept.get("app.yaml")
    if isinstance(app, str):
        notes += [
            "app.yaml needs this entrypoint:",
            *(f"  {line}" for line in app.splitlines() if "entrypoint:" in line),
        ]
    return project.Plan(folder, {name: text for name, text in files.items() if name not in kept}, notes)


def _find(folder: Path, kind: Kind) -> str | None:
    """Return the application that is in a folder as "module:name"; None where there is no Python code at all.

    Raises:
        ConfigurationError: there is code, but none that makes such an application at a module's top level.
    """
    sources = list(_sources(folder))
    if not sources or kind.name == "py4web":
        return None
    for path in sources:
        name = _made_in(path, kind.calls)
        if name is not None:
            module = path.relative_to(folder).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")
            return f"{module}:{name}"
    raise ConfigurationError(
        f"{folder} has Python code, but none that makes {kind.help} at the top of a module; "
        "name it: --wsgi module:callable, also one that makes it, such as shop:create_app()"
    )


def _sources(folder: Path) -> Iterator[Path]:
    """Yield the Python files of a folder, those nearest to its top first."""
    found = [
        path
        for path in folder.rglob("*.py")
        if not any(part in _SKIPPED or part.startswith(".") for part in path.relative_to(folder).parts[:-1])
    ]
    yield from sorted(found, key=lambda path: (len(path.parts), path))


def _made_in(path: Path, calls: tuple[str, ...]) -> str | None:
    """Return the name that a module's top level gives to what one of some calls returns."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            made = ast.unparse(node.value.func).rpartition(".")[2]
            if made in calls:
                return node.targets[0].id
    return None
