"""Imports go one way, layer by layer, and `import gaeport` stays cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PACKAGE = CHECKOUT / "gaeport"

#: The layer of each module or package of gaeport: it imports only from lower ones, or from its own package.
LAYERS = {
    "errors": 0,
    "formats": 0,
    "meter": 0,
    "settings": 0,
    "blobs": 1,
    "codec": 1,
    "commands": 1,
    "datastore": 1,
    "kv": 1,
    "cache": 2,
    "dal": 2,
    "fs": 2,
    "models": 2,
    "sessions": 2,
    "stats": 2,
    "tasks": 2,
    "tickets": 2,
    "console": 3,
    "loader": 3,
    "upgrading": 3,
    "web2py": 3,
    "wsgi": 3,
    "devserver": 4,
    "testing": 4,
    "welcome": 4,
    "cli": 5,
    "__main__": 5,
}
#: Layer 0 in its own order: a later one may import an earlier one.
FOUNDATION = ["errors", "formats", "settings", "meter"]


#: The packages of gaeport.fs in their order; its own modules come before all of them, or, if named here, after.
FILES = ["datastore", "gcs", "patching", "syncing"]
ABOVE = {"addresses", "commands", "copying", "fsspec", "log_volume", "mounts", "named", "sync_command"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(name: str) -> str:
    """Return the module or package directly under gaeport that a dotted name belongs to; "" for gaeport itself."""
    return name.split(".")[1] if "." in name else ""


def dotted(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, own: str) -> Iterator[str]:
    """Yield the dotted names that a module imports, inside functions too, but not under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for statement in node.orelse:
                yield from imports(statement, own)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{own}: imports inside gaeport are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, own)


def imported_parts(path: Path) -> set[str]:
    """Return the parts of gaeport that a module imports; "" where it imports a name of gaeport itself."""
    found = set()
    for name in imports(ast.parse(path.read_text("utf-8")), dotted(path)):
        if name == "gaeport" or name.startswith("gaeport."):
            part = part_of(name)
            found.add(part if part in LAYERS else "")
    return found


def test_every_part_has_a_layer() -> None:
    present = {entry.stem for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert present - {"__init__"} <= set(LAYERS)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_from_lower_layers_only(path: Path) -> None:
    own = part_of(dotted(path))
    if not own:
        return  # gaeport/__init__.py loads its names when they are first used
    for part in imported_parts(path) - {own, ""}:
        if LAYERS[part] == LAYERS[own] == 0:
            assert FOUNDATION.index(part) < FOUNDATION.index(own), f"{dotted(path)} imports {part}"
        elif own == "wsgi" and part in ("loader", "console"):
            continue  # the same layer, one way: wrap() finds what it wraps, and serves the console beside it
        elif own == "__main__" and part == "cli":
            continue  # `python -m gaeport` is the command line under another name
        else:
            assert LAYERS[part] < LAYERS[own], f"{dotted(path)} (layer {LAYERS[own]}) imports {part}"


def rank(name: str) -> int:
    """Return the place of a module of gaeport.fs in the order of its packages."""
    part = name.split(".")[2]
    return FILES.index(part) if part in FILES else len(FILES) if part in ABOVE else -1


@pytest.mark.parametrize("path", [path for path in modules() if path.is_relative_to(PACKAGE / "fs")], ids=dotted)
def test_the_packages_for_files_import_one_way(path: Path) -> None:
    own = dotted(path)
    if own == "gaeport.fs":
        return  # it loads its names when they are first used
    for name in imports(ast.parse(path.read_text("utf-8")), own):
        if name.startswith("gaeport.fs."):
            assert rank(name) <= rank(own), f"{own} imports {name}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    known = {dotted(path): path for path in modules()}

    def targets(name: str) -> set[str]:
        found = set()
        for imported in imports(ast.parse(known[name].read_text("utf-8")), name):
            target = imported if imported in known else imported.rpartition(".")[0]
            # A package's table of contents names its modules; a module that imports the package's name gets the module.
            if target in known and target != name and known[target].name != "__init__.py":
                found.add(target)
        return found

    graph = {name: targets(name) for name in known}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after a statement and did not have before."""
    script = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return set(done.stdout.split())


def test_import_gaeport_loads_nothing_but_itself_and_the_standard_library() -> None:
    loaded = loaded_by("import gaeport")
    assert {name for name in loaded if name.startswith("gaeport")} == {"gaeport"}
    outside = {name for name in loaded if name.split(".")[0] not in {*sys.stdlib_module_names, "gaeport"}}
    assert outside == set()
    assert len(loaded) < 20, loaded


@pytest.mark.parametrize("module", ["gaeport.settings", "gaeport.wsgi", "gaeport.cli", "gaeport.fs"])
def test_the_first_steps_load_no_google_package(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert not {name for name in loaded if name.split(".")[0] in {"google", "grpc"}}


def test_a_running_application_never_imports_the_deploy_time_tools() -> None:
    for path in modules():
        names = set(imports(ast.parse(path.read_text("utf-8")), dotted(path)))
        assert not {name for name in names if name.split(".")[0] in {"tools", "gaeport_tools"}}, dotted(path)
