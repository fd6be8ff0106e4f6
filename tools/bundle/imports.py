"""Which of an application's own modules its entry points need, found by reading imports, never by running them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Need:
    """A module of the application that another one imports.

    Attributes:
        path: the imported file, from the application's folder.
        importer: the file that imports it.
        line: the line of the import.
        optional: whether the import stands in a function or in a `try`, so that the application may start without it.
    """

    path: str
    importer: str
    line: int
    optional: bool


@dataclass(frozen=True, slots=True)
class _Import:
    module: str
    names: tuple[str, ...]
    line: int
    optional: bool


def needs(root: Path, entries: list[str]) -> list[Need]:
    """Return each own module that is reached from the entry points, once for the import that needs it most.

    Args:
        root: the application's folder, where imports start.
        entries: files in it, such as "main.py".
    """
    found: dict[str, Need] = {}
    waiting = [(entry, False) for entry in entries]
    seen: set[tuple[str, bool]] = set()
    while waiting:
        path, optional = waiting.pop()
        if (path, optional) in seen or (path, False) in seen:
            continue
        seen.add((path, optional))
        for imported in _imports(root, path):
            may_miss = optional or imported.optional
            for target in _files(root, imported):
                if target not in found or (found[target].optional and not may_miss):
                    found[target] = Need(target, path, imported.line, may_miss)
                waiting.append((target, may_miss))
    return sorted(found.values(), key=lambda need: need.path)


def module_file(root: Path, module: str) -> str | None:
    """Return the file of a module or package below a folder, from there; None where it is not the folder's own."""
    path = root.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.relative_to(root).as_posix()
    return None


def _files(root: Path, imported: _Import) -> Iterator[str]:
    """Yield the files that an import runs: the packages above the module, the module, and submodules by their names."""
    parts = imported.module.split(".")
    names = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    names += [f"{imported.module}.{name}" for name in imported.names]
    for name in names:
        file = module_file(root, name)
        if file is not None:
            yield file


def _imports(root: Path, path: str) -> list[_Import]:
    try:
        tree = ast.parse((root / path).read_bytes())
    except (SyntaxError, ValueError):  # whoever runs it will be told; its imports cannot be read
        return []
    package = path.removesuffix("/__init__.py") if path.endswith("__init__.py") else path.rpartition("/")[0]
    return list(_found(tree, package.replace("/", "."), False))


def _found(node: ast.AST, package: str, optional: bool) -> Iterator[_Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _never_served(child.test):
            for statement in child.orelse:
                yield from _found(ast.Module([statement], []), package, optional)
        elif isinstance(child, ast.Import):
            yield from (_Import(alias.name, (), child.lineno, optional) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = _absolute(child, package)
            if module:
                yield _Import(module, tuple(alias.name for alias in child.names), child.lineno, optional)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try)
            yield from _found(child, package, optional or inside)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")
    base = above[: len(above) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _never_served(test: ast.expr) -> bool:
    """Whether a condition holds only for type checkers, or when the file is run as a program."""
    text = ast.unparse(test)
    return "TYPE_CHECKING" in text or text.replace('"', "'") == "__name__ == '__main__'"
