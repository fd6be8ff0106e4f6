"""What `gaeport check --fix` mends: only what has one right answer."""

import re
from collections.abc import Callable
from pathlib import Path

from gaeport.datastore.index_yaml import FILE_NAME as INDEX_FILE
from gaeport.settings import Settings

from ..bundle import generate
from ..findings import Finding

Fix = Callable[[Path, Settings, Finding], str]


def mend(root: Path, config: Settings, findings: list[Finding]) -> list[str]:
    """Mend what can be mended mechanically.

    Args:
        root: the application's folder.
        config: its settings.
        findings: what was found.

    Returns:
        What was done, a line each.
    """
    done = []
    # From the last line up, so that the lines of the others stay right.
    for finding in sorted(findings, key=lambda finding: -(finding.line or 0)):
        fix = _FIXES.get(finding.code)
        said = fix(root, config, finding) if fix is not None else ""
        if said and said not in done:
            done.append(said)
    return done


def _quote(root: Path, _: Settings, finding: Finding) -> str:
    """Put a value of a `key: value` line in quotes."""
    return _edit_line(root, finding, lambda line: re.sub(r"^(\s*[^:#]+:\s+)([^\s#\"']+)", r'\1"\2"', line), "quoted")


def _remove_line(root: Path, _: Settings, finding: Finding) -> str:
    """Take a whole `key: value` line out; a key with more lines below it is left to its owner."""
    path, lines = _lines(root, finding)
    number = (finding.line or 1) - 1
    below = lines[number + 1] if number + 1 < len(lines) else ""
    own = len(lines[number]) - len(lines[number].lstrip())
    if below.strip() and (len(below) - len(below.lstrip()) > own or below.lstrip().startswith("- ")):
        return ""
    removed = lines.pop(number).strip()
    path.write_text("".join(lines), "utf-8")
    return f"{path.name}:{number + 1}: removed {removed}"


def _gunicorn(root: Path, _: Settings, finding: Finding) -> str:
    found = re.search(r"add (\S+) to requirements\.txt", finding.fix)
    if found is None:
        return ""
    path = root / "requirements.txt"
    text = path.read_text("utf-8") if path.exists() else ""
    path.write_text(f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{found[1]}\n", "utf-8")
    return f"{path.name}: added {found[1]}"


def _index_file(root: Path, _: Settings, finding: Finding) -> str:
    path = root / INDEX_FILE
    if "is empty" in finding.message:
        text = path.read_text("utf-8")
        path.write_text(f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}indexes:\n", "utf-8")
        return f"{path.name}: wrote indexes:"
    found = re.search(r'quote it: "(.*)"', finding.message)
    if found is None:
        return ""
    word = re.escape(found[1])
    return _edit_line(
        root, finding, lambda line: re.sub(rf":(\s+){word}(?=\s|,|}}|$)", rf':\1"{found[1]}"', line), "quoted"
    )


def _ignore_file(root: Path, config: Settings, _: Finding) -> str:
    done = []
    for path, text in generate.generate(root, config.bundle).items():
        path.write_text(text, "utf-8")
        done.append(f"wrote {path.name}")
    return ", ".join(done)


def _script(root: Path, _: Settings, finding: Finding) -> str:
    return _edit_line(
        root, finding, lambda line: re.sub(r"(script:\s*)[^#\n]*?(\s*(?:#.*)?\n?)$", r"\1auto\2", line), "script"
    )


def _service(root: Path, _: Settings, finding: Finding) -> str:
    return _edit_line(root, finding, lambda line: line.replace("module:", "service:", 1), "renamed")


def _edit_line(root: Path, finding: Finding, edit: Callable[[str], str], word: str) -> str:
    path, lines = _lines(root, finding)
    number = (finding.line or 1) - 1
    changed = edit(lines[number])
    if changed == lines[number]:
        return ""
    lines[number] = changed
    path.write_text("".join(lines), "utf-8")
    return f"{path.name}:{number + 1}: {word}: {changed.strip()}"


def _lines(root: Path, finding: Finding) -> tuple[Path, list[str]]:
    path = root / (finding.file or "")
    return path, path.read_text("utf-8").splitlines(keepends=True)


_FIXES: dict[str, Fix] = {
    "app.variable": lambda root, config, finding: (
        _remove_line(root, config, finding) if finding.fix == "remove it" else _quote(root, config, finding)
    ),
    "app.refused-key": _remove_line,
    "app.emulator": _remove_line,
    "app.entrypoint": _gunicorn,
    "app.script": _script,
    "app.module": _service,
    "bundle.skip-files": _remove_line,
    "bundle.no-ignore-file": _ignore_file,
    "index.value": _index_file,
}
