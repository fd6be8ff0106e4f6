"""What was seen, grouped by folder, as findings with the lines of gaeport.toml that would cure it."""

import os
from collections.abc import Mapping
from pathlib import Path

from gaeport.devserver import readonly
from gaeport.settings import Settings

from ..findings import Finding
from .events import WRITE, Matter
from .recorder import Seen

_SHOWN = 3


def findings(seen: Mapping[Seen, int], config: Settings) -> list[Finding]:
    """Return findings: one for each folder that is written, and one for each other thing and line.

    Args:
        seen: what a recorder or the source told.
        config: the settings; what is in mounts, the data folder and the temporary folder is no finding.
    """
    folders: dict[str, list[tuple[str, str, int]]] = {}
    others: dict[tuple[Matter, str], dict[str, int]] = {}
    for (matter, what, place), count in seen.items():
        if matter is not WRITE:
            others.setdefault((matter, place), {})[what] = count
        elif what == "?" or not _allowed(what, config):
            folder = "?" if what == "?" else os.path.dirname(what)
            folders.setdefault(folder, []).append((what, place, count))
    result = [_folder(folder, writes, config.root) for folder, writes in sorted(folders.items())]
    return result + [_other(matter, place, what, config.root) for (matter, place), what in others.items()]


def _allowed(path: str, config: Settings) -> bool:
    if readonly.Rules.of(config).allow(path):
        return True
    mounted = [str(config.root / mount.path) for mount in config.mounts]
    return any(parent.match(place) for place in mounted for parent in (Path(path), *Path(path).parents))


def _folder(folder: str, writes: list[tuple[str, str, int]], root: Path) -> Finding:
    places = sorted({_short(place, root) for _, place, _ in writes if place})
    by = f"\nby {', '.join(places[:_SHOWN])}{' …' if len(places) > _SHOWN else ''}" if places else ""
    file, line = _place(places[0]) if places else (None, None)
    if folder == "?":
        message = (
            f"files are written whose names are made when the program runs; gaeport audit -- COMMAND sees them{by}"
        )
        return Finding(WRITE.code, "note", message, "", file, line)
    names = sorted({os.path.basename(path) for path, _, _ in writes})
    inside = os.path.relpath(folder, root)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    if inside == ".":
        fix = 'keep it in a folder of its own, and mount that:\n[[mount]]\npath = "data"'
    else:
        fix = f'[[mount]]\npath = "{folder if inside.startswith("..") else inside}"'
    return Finding(WRITE.code, "error", f"{inside}/: {shown} would be refused{by}", fix, file, line)


def _other(matter: Matter, place: str, what: Mapping[str, int], root: Path) -> Finding:
    file, line = _place(_short(place, root)) if place else (None, None)
    shown = ", ".join(sorted(_short(one, root) for one in what)[:_SHOWN])
    return Finding(matter.code, "warning", f"{matter.what}: {shown}", matter.remedy, file, line)


def _short(place: str, root: Path) -> str:
    path, colon, line = place.rpartition(":")
    if not colon or not line.isdigit():
        path, colon, line = place, "", ""
    return f"{os.path.relpath(path, root)}{colon}{line}" if path.startswith(f"{root}/") else place


def _place(place: str) -> tuple[str, int | None]:
    file, _, line = place.rpartition(":")
    return (file, int(line)) if line.isdigit() and file else (place, None)
