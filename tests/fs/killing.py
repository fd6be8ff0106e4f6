"""A workload for a process that is killed in the midst of it: what each step makes of the tree is known beforehand.

Run as a program it works on, in the folder `data` of an application, until it is killed, and notes each step in a
journal on the disk before and after it.
"""

import copy
import hashlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

NAMES = ("a", "b", "c", "d", "d/a", "d/b", "e", "e/a", "e/d", "e/d/b")
SIZES = (0, 5, 300, 20_000, 100_000, 400_000, 1_500_000)

Step = list[Any]  # its kind, then paths and numbers


class State:
    """A tree: what each name stands for ("/" a directory, else a file's number), and how each file was written."""

    def __init__(self, names: dict[str, str] | None = None, files: dict[str, list[Step]] | None = None) -> None:
        self.names = names or {}
        self.files = files or {}

    def after(self, step: Step) -> "State":
        """Return the tree that a step leaves."""
        made = State(dict(self.names), copy.deepcopy(self.files))
        kind, path, *rest = step
        if kind in ("write", "append", "patch"):
            number = made.names.setdefault(path, f"n{rest[0]}")
            written = made.files.get(number, [])
            made.files[number] = [step] if kind == "write" else [*written, step]
        elif kind == "mkdir":
            made.names[path] = "/"
        elif kind in ("unlink", "rmdir"):
            del made.names[path]
        elif kind == "link":
            made.names[rest[0]] = made.names[path]
        elif made.names.get(path) != made.names.get(rest[0]) or made.names[path] == "/":  # else rename does nothing
            made.names.pop(rest[0], None)
            for name in [name for name in made.names if f"{name}/".startswith(f"{path}/")]:
                made.names[rest[0] + name[len(path) :]] = made.names.pop(name)
        return made

    def step(self, chosen: random.Random) -> Step:
        """Return a step that can be done here."""
        while True:
            kind = chosen.choice(
                ["write", "write", "append", "patch", "rename", "rename", "unlink", "link", "mkdir", "rmdir"]
            )
            path, other = chosen.choice(NAMES), chosen.choice(NAMES)
            step = [kind, path]
            if kind in ("write", "append", "patch"):
                step += [chosen.randrange(2**60), chosen.choice(SIZES)]
            if kind in ("rename", "link"):
                step.append(other)
            if self._fits(step):
                return step

    def _fits(self, step: Step) -> bool:
        kind, path, *rest = step
        there = self.names.get(path)
        is_file, empty = there not in (None, "/"), not any(name.startswith(f"{path}/") for name in self.names)
        if kind == "write" or kind == "append":
            return there != "/" and self._has_parent(path)
        if kind == "mkdir":
            return there is None and self._has_parent(path)
        if kind == "rmdir":
            return there == "/" and empty
        if kind == "link":
            return is_file and rest[0] not in self.names and self._has_parent(rest[0])
        if kind != "rename":
            return is_file
        target = self.names.get(rest[0])
        free = target is None or (is_file and target != "/")
        return there is not None and free and self._has_parent(rest[0]) and not f"{rest[0]}/".startswith(f"{path}/")

    def _has_parent(self, path: str) -> bool:
        parent = os.path.dirname(path)
        return not parent or self.names.get(parent) == "/"

    def told(self) -> dict[str, Any]:
        """Return what `tree` returns of such a folder."""
        names: dict[str, list[str]] = {}
        for name, number in self.names.items():
            names.setdefault(number, []).append(name)
        return {
            name: "/" if number == "/" else [_digest(_content(self.files[number])), sorted(names[number])]
            for name, number in self.names.items()
        }


def perform(root: str, step: Step) -> None:
    """Do a step in a folder."""
    kind, path, *rest = step
    here = os.path.join(root, path)
    if kind in ("write", "append", "patch"):
        with open(here, {"write": "wb", "append": "ab", "patch": "r+b"}[kind]) as file:
            if kind == "patch":
                file.seek(_offset(rest[0]))
            file.write(_piece(step))
    elif kind in ("rename", "link"):
        (os.replace if kind == "rename" else os.link)(here, os.path.join(root, rest[0]))
    else:
        {"mkdir": os.mkdir, "rmdir": os.rmdir, "unlink": os.unlink}[kind](here)


def tree(root: str) -> dict[str, Any]:
    """Return what is below a folder: the content's digest of each file, with all the names that the file has."""
    found = {str(path.relative_to(root)): path for path in Path(root).rglob("*")}
    names: dict[int, list[str]] = {}
    for name, path in found.items():
        names.setdefault(path.stat().st_ino, []).append(name)
    return {
        name: "/" if path.is_dir() else [_digest(path.read_bytes()), sorted(names[path.stat().st_ino])]
        for name, path in found.items()
    }


def replay(state: State, journal: Path) -> tuple[State, Step | None]:
    """Return the tree after every step that ended, and the step that had only begun, if any."""
    begun = None
    for line in journal.read_text().splitlines():
        word, step = json.loads(line)
        if word == "end":
            state = state.after(step)
        begun = step if word == "begin" else None
    return state, begun


def _content(steps: list[Step]) -> bytes:
    content = bytearray()
    for step in steps:
        piece = _piece(step)
        start = _offset(step[2]) if step[0] == "patch" else len(content)
        if piece:
            content += bytes(max(0, start - len(content)))
            content[start : start + len(piece)] = piece
    return bytes(content)


def _piece(step: Step) -> bytes:
    return random.Random(step[2]).randbytes(step[3])


def _offset(token: int) -> int:
    return token % 50_000


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def main(folder: str, state: str, seed: str, journal: str) -> None:
    """Work on until the process is killed."""
    import gaeport
    from gaeport.fs.datastore import storage

    for name in ("CHUNK", "WITH_COMMIT", "SPILL", "BLOCK"):  # so that content is large sooner
        setattr(storage, name, getattr(storage, name) // 20)
    gaeport.configure(root=folder, data="store")
    gaeport.mount(os.path.join(folder, "data"), inline_limit=65_536)
    known, chosen = State(**json.loads(Path(state).read_text())), random.Random(int(seed))
    with open(journal, "w", buffering=1) as notes:
        print("ready", flush=True)  # noqa: T201 - whoever kills it waits for that
        while True:
            step = known.step(chosen)
            notes.write(json.dumps(["begin", step]) + "\n")
            perform(os.path.join(folder, "data"), step)
            notes.write(json.dumps(["end", step]) + "\n")
            known = known.after(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
