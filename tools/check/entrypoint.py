"""How the service starts: the entrypoint, main.py, requirements.txt, and variables."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from gaeport.settings import Settings

from ..bundle.imports import module_file
from ..findings import Finding
from .documents import Document

REQUIREMENTS = "requirements.txt"
_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key|private_?key|credential)")
_LOCAL = re.compile(r"(?P<path>(?:\.{0,2}/)?[^\s:\[]+?(?:\.whl|\.tar\.gz|/))(?:\[(?P<extras>[^\]]*)\])?(?:\s*;.*)?")
_OWN = ("GAE_", "GOOGLE_CLOUD_PROJECT", "PORT")  # App Engine's own
_EMULATORS = ("DATASTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "GAEPORT_DATA")


def check(document: Document, root: Path, config: Settings) -> Iterator[Finding]:
    """Yield what would keep the service from starting, or from working where it starts."""
    top = document.root
    if top is None:
        return
    yield from _variables(document)
    needed = _requirements(root)
    names = {name for name, _ in needed[0]}
    yield from needed[1]
    written = top.get("entrypoint")
    if written is not None:
        yield from _entrypoint(document, written.text, root, names)
    elif not (root / "main.py").is_file():
        message = "without entrypoint App Engine runs main.py's app, and there is no main.py"
        yield document.finding("app.entrypoint", message, "entrypoint: gunicorn --bind :$PORT package.module:app")
    elif not _assigns(root / "main.py", "app"):
        message = "without entrypoint App Engine runs main.py's app; main.py has no `app` at its top level"
        yield document.finding("app.entrypoint", message, "call it app, or write an entrypoint")
    if config.uses_bundled_apis and top.text_of("app_engine_apis") != "true":
        message = "gaeport.toml names the bundled memcache (appengine://), which app.yaml does not switch on"
        yield document.finding("app.bundled-apis", message, "app_engine_apis: true")


def _entrypoint(document: Document, text: str, root: Path, names: set[str]) -> Iterator[Finding]:
    assert document.root is not None
    line = document.root.line_of("entrypoint")
    try:
        words = shlex.split(text)
    except ValueError as error:
        yield document.finding("app.entrypoint", f"entrypoint: {error}", at=line)
        return
    programs = [Path(word).name for word in words if "=" not in word.partition("/")[0]]
    for server in ("gunicorn", "waitress-serve", "uwsgi", "uvicorn"):
        package = server.partition("-")[0]
        if server in programs and package not in names and (root / REQUIREMENTS).is_file():
            message = f"entrypoint runs {server}, which {REQUIREMENTS} does not install: the service cannot start"
            yield document.finding("app.entrypoint", message, f"add {package} to {REQUIREMENTS}", at=line)
    if "gunicorn" in programs:
        yield from _gunicorn(document, words, root, line)
    if "$PORT" not in text and "${PORT}" not in text and re.search(r"(?:--bind|-b|--port|-p)\b", text):
        message = "entrypoint listens on a fixed port; App Engine asks at $PORT"
        yield document.finding("app.port", message, "--bind :$PORT", at=line)


def _gunicorn(document: Document, words: list[str], root: Path, line: int) -> Iterator[Finding]:
    target = next((word for word in reversed(words) if re.fullmatch(r"[\w.]+:[\w.]+(\(.*\))?", word)), None)
    if target is None:
        return
    module, _, name = target.partition(":")
    file = module_file(root, module)
    if file is None:
        if (root / module.split(".")[0]).exists() or "." not in module:
            message = f"entrypoint: there is no module {module} here"
            yield document.finding("app.entrypoint", message, at=line)
    elif name.isidentifier() and not _assigns(root / file, name):
        yield document.finding("app.entrypoint", f"entrypoint: {file} has no {name} at its top level", at=line)
    count = next((int(n) for n in re.findall(r"(?:-w|--workers)[ =](\d+)", " ".join(words))), 1)
    size = {"F2": 768, "B2": 768, "F4": 1536, "B4": 1536}.get(
        document.root.text_of("instance_class").split("_")[0] if document.root else "", 384
    )
    if count * 120 > size:
        message = f"{count} workers need about {count * 120} MB; the instance has {size} MB and would be ended"
        yield document.warning(
            "app.workers", message, f"--workers {max(1, size // 120 - 1)}, or a larger instance_class", at=line
        )


def _variables(document: Document) -> Iterator[Finding]:
    assert document.root is not None
    for block in ("env_variables", "build_env_variables"):
        table = document.root.get(block)
        for name, value in table.entries.items() if table is not None else ():
            at = table.line_of(name) if table is not None else None
            if value.kind in ("flag", "number", "nothing", "other"):
                became = str(value.value) if value.kind != "nothing" else "nothing"
                message = f"{block}: {name}: {value.text} is a {value.kind} in YAML: the program would read {became!r}"
                yield document.warning("app.variable", message, f'write {name}: "{value.text}"', at=at)
            if _SECRET.search(name) and value.text and "projects/" not in value.text:
                message = f"{block}: {name} is in clear: everybody who may see the version reads it"
                yield document.warning("app.secret", message, "keep it in Secret Manager", at=at)
            if name in _EMULATORS:
                message = f"{block}: {name} would send production to {value.text}"
                yield document.finding("app.emulator", message, "set it in your shell instead", at=at)
            elif name.startswith(_OWN):
                yield document.finding("app.variable", f"{block}: {name} is App Engine's own", "remove it", at=at)


def _requirements(root: Path) -> tuple[list[tuple[str, int]], list[Finding]]:
    """Return the names that requirements.txt installs, with their lines, and what is wrong with it."""
    path = root / REQUIREMENTS
    if not path.is_file():
        fix = "write one; App Engine installs what it names"
        return [], [Finding("requirements.missing", "error", f"there is no {REQUIREMENTS}", fix)]
    names: list[tuple[str, int]] = []
    findings: list[Finding] = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip().rstrip("\\").strip()
        if text:
            _read_requirement(text, number, root, names, findings)
    seen: dict[str, int] = {}
    for name, number in names:
        if name in seen:
            message = f"{name} stands in line {seen[name]} already"
            findings.append(Finding("requirements.twice", "warning", message, "keep one", REQUIREMENTS, number))
        seen.setdefault(name, number)
    return names, findings


def _read_requirement(
    text: str, number: int, root: Path, names: list[tuple[str, int]], findings: list[Finding]
) -> None:
    def wrong(code: str, message: str, fix: str) -> None:
        findings.append(Finding(f"requirements.{code}", "error", message, fix, REQUIREMENTS, number))

    if re.search(r"://[^/\s:@]+:[^/\s@]+@", text):
        wrong("secret", "a password stands in the address", "use Artifact Registry, or upload the wheel")
    option = re.match(r"(-[a-zA-Z]|--[a-z-]+)[ =]?(.*)", text)
    if option is not None:
        if option[1] in ("-r", "--requirement", "-c", "--constraint") and not (root / option[2].strip()).is_file():
            wrong("file", f"{option[2]} is not here", "remove the line, or add the file")
        if option[1] in ("-e", "--editable"):
            wrong(
                "editable",
                f"{text}: App Engine's build cannot install what lies outside the upload",
                "name a wheel in the folder",
            )
        return
    local = _LOCAL.fullmatch(text)
    if local is not None:
        path, extras = local["path"], local["extras"] or ""
        if not (root / path).is_file() or path.startswith(("../", "/")):
            wrong("file", f"{path} is not in the application's folder", "put it there, in vendor/ for example")
        names.append((canonicalize_name(Path(path).name.split("-")[0]), number))
        # An extra mostly has the name of the package that it brings; gaeport[gunicorn] does.
        names.extend((canonicalize_name(extra.strip()), number) for extra in extras.split(",") if extra.strip())
        return
    try:
        names.append((canonicalize_name(Requirement(text.split(" --")[0]).name), number))
    except InvalidRequirement as error:
        wrong(
            "line",
            f"{text!r} is no requirement: {str(error).splitlines()[0]}",
            "see packaging.python.org, version specifiers",
        )


def _assigns(path: Path, name: str) -> bool:
    """Whether a module has a name at its top level; also where it cannot be read, or takes names from elsewhere."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return True
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            return True
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and any(
            (alias.asname or alias.name.split(".")[0]) == name or alias.name == "*" for alias in node.names
        ):
            return True
    return False
