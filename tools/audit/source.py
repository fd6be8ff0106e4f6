"""Likely refusals, found in source without running it."""

import ast
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

from .events import DATABASE, PROCESS, SCHEDULER, SCHEDULERS, THREAD, WRITE, Matter
from .recorder import Seen

_SKIPPED = {"tests", "test", "venv", "env", "node_modules", "build", "dist", "site-packages", "docs", "tools"}
_OF_PATHS = ("write_text", "write_bytes", "touch")
_OPENS = ("io.open", "codecs.open", "gzip.open", "bz2.open", "lzma.open")  # as open(): the path comes first
_UNKNOWN = "?"  # a path that is made when the program runs
#: By the last name of what is called: the matter, and which argument is the path (None: there is none).
_CALLS: dict[str, tuple[Matter, int | None]] = {
    "makedirs": (WRITE, 0),
    "mkdir": (WRITE, 0),
    "FileHandler": (WRITE, 0),
    "RotatingFileHandler": (WRITE, 0),
    "TimedRotatingFileHandler": (WRITE, 0),
    "WatchedFileHandler": (WRITE, 0),
    "system": (PROCESS, 0),
    "Popen": (PROCESS, 0),
    "check_output": (PROCESS, 0),
    "check_call": (PROCESS, 0),
    "fork": (PROCESS, None),
    "Timer": (THREAD, None),
    "Thread": (THREAD, None),
    "ProcessPoolExecutor": (PROCESS, None),
}
_QUALIFIED = {
    "sqlite3.connect": (DATABASE, 0),
    "subprocess.run": (PROCESS, 0),
    "subprocess.call": (PROCESS, 0),
    "multiprocessing.Process": (PROCESS, None),
    "multiprocessing.Pool": (PROCESS, None),
    "shelve.open": (WRITE, 0),
    "dbm.open": (WRITE, 0),
    "shutil.copy": (WRITE, 1),
    "shutil.copyfile": (WRITE, 1),
    "shutil.move": (WRITE, 1),
    "os.rename": (WRITE, 1),
    "os.replace": (WRITE, 1),
    "os.remove": (WRITE, 0),
    "os.unlink": (WRITE, 0),
}


def scan(root: Path) -> dict[Seen, int]:
    """Return what an application's own source seems to do, with how often each line was found.

    Paths that are made at run time have "?" for their name.

    Args:
        root: the application's folder.
    """
    seen: dict[Seen, int] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts[:-1]
        if any(part in _SKIPPED or part.startswith(".") for part in parts) or _is_gaeport(path, root):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # gaeport new and the interpreter name it
        for matter, what, line in _found(tree):
            name = str(root / what) if matter in (WRITE, DATABASE) and what != _UNKNOWN else what
            key = (matter, name, f"{path}:{line}")
            seen[key] = seen.get(key, 0) + 1
    return seen


def _is_gaeport(path: Path, root: Path) -> bool:
    """Whether a file is gaeport's own, where that lies beside the application; its example is an application."""
    inside = path.relative_to(root).parts
    return inside[0] == "gaeport" and (root / "gaeport" / "wsgi.py").is_file() and inside[1:2] != ("welcome",)


def _found(tree: ast.Module) -> Iterator[tuple[Matter, str, int]]:
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            for name in names:
                if name.split(".")[0] in SCHEDULERS:
                    yield SCHEDULER, name.split(".")[0], node.lineno
        elif isinstance(node, ast.Call):
            yield from _call(_Named(constants).visit(node))


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what a module's top level gives names to, once each: paths are often there."""
    found: dict[str, list[ast.expr]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


class _Named(ast.NodeTransformer):
    """Puts values in place of names."""

    def __init__(self, constants: dict[str, ast.expr], depth: int = 3) -> None:
        self._constants = constants
        self._depth = depth  # names that stand for names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return what a name stands for, where that is a path or text."""
        value = self._constants.get(node.id)
        if value is None or not self._depth:
            return node
        found: ast.expr = _Named(self._constants, self._depth - 1).visit(deepcopy(value))
        return node if _text(found) == _UNKNOWN else found


def _call(node: ast.Call) -> Iterator[tuple[Matter, str, int]]:
    name = ast.unparse(node.func)
    last = name.rpartition(".")[2]
    if last == "open" and name != "os.open" and _writes(node):
        path = node.func.value if isinstance(node.func, ast.Attribute) and name not in _OPENS else None
        yield WRITE, _literal(node, 0) if path is None else _text(path), node.lineno
    elif isinstance(node.func, ast.Attribute) and (last in _OF_PATHS or (last == "mkdir" and name != "os.mkdir")):
        yield WRITE, _text(node.func.value), node.lineno
    elif name in _QUALIFIED or last in _CALLS:
        matter, position = _QUALIFIED.get(name) or _CALLS[last]
        what = last if position is None else _literal(node, position)
        if not (matter is DATABASE and what == ":memory:"):
            yield matter, what, node.lineno


def _writes(node: ast.Call) -> bool:
    """Whether an open() has a mode that writes: its second argument, or the first one of a path's own open()."""
    of_path = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) not in _OPENS
    given = node.args[0 if of_path else 1 :][:1]
    given += [word.value for word in node.keywords if word.arg == "mode"]
    modes = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return any(set(mode) & set("wax+") and set(mode) <= set("rwaxbt+U") for mode in modes)


def _literal(node: ast.Call, position: int) -> str:
    return _text(node.args[position]) if position < len(node.args) else _UNKNOWN


def _text(node: ast.expr) -> str:
    """Return a path that stands in the source, Path("…") included; what it begins with, where the rest is made."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value or _UNKNOWN
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Path" and node.args:
        return _text(node.args[0])
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        inside = _text(node.value)
        return _UNKNOWN if inside == _UNKNOWN else os.path.dirname(inside) or "."
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add | ast.Mod):
        left, right = _text(node.left), _text(node.right)
        return _UNKNOWN if left == _UNKNOWN else f"{left.rstrip('/')}/{right}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.path.join" and node.args:
        parts = [_text(part) for part in node.args]
        return _UNKNOWN if parts[0] == _UNKNOWN else "/".join(parts)
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        return f"{node.values[0].value!s}{_UNKNOWN}"
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return _text(node.elts[0])
    return _UNKNOWN
