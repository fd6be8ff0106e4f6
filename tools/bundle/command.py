"""`gaeport bundle`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gaeport.cli.command import FAILED, OK, add_command, read_settings

_UNITS = ("B", "KiB", "MiB", "GiB")


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "bundle",
        "what gcloud app deploy uploads: the list, its mistakes, .gcloudignore",
        """
        gcloud uploads every file of the application's folder that .gcloudignore does not name; a version takes 10,000
        of them. generate writes .gcloudignore (for Python 2.7, app.yaml's skip_files) from one list: what hardly any
        application wants uploaded, and gaeport.toml's

          [bundle]
          ignore = ["/notes/", "*.psd"]        patterns, as .gcloudignore has them
          keep = ["/fixtures/seed.sqlite3"]    what goes although another pattern leaves it out
          defaults = true

        Lines of .gcloudignore outside the generated block stay as they are. list and check read .gcloudignore as
        gcloud does, whoever wrote it; the folder is gaeport.toml's.
        """,
        """
        examples:
          gaeport bundle generate           write .gcloudignore
          gaeport bundle generate --check   exit 1 if it is not current
          gaeport bundle list               each file that would go, its size, and why the others stay
          gaeport bundle check              secrets, large files, modules that would be missing, …
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    generate = actions.add_parser("generate", help="write .gcloudignore, or skip_files into app.yaml")
    generate.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file would change")
    listing = actions.add_parser("list", help="name each file that would be uploaded, and why the others would not")
    checking = actions.add_parser("check", help="find mistakes; exit code 1 if there are any")
    for action in (listing, checking):
        action.add_argument("--json", action="store_true", help="for machines")
    for action, run in ((generate, _generate), (listing, _list), (checking, _check)):
        action.set_defaults(run=run)


def _generate(args: argparse.Namespace) -> int:
    from .generate import COMMAND, generate

    config = read_settings(args)
    changed = [
        (path, text)
        for path, text in generate(config.root, config.bundle).items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in changed:
        if args.check:
            sys.stderr.write(f"{path} is not current: run {COMMAND}\n")
        else:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"wrote {path}\n")
    if not changed:
        sys.stdout.write("nothing to change\n")
    return FAILED if changed and args.check else OK


def _list(args: argparse.Namespace) -> int:
    from .patterns import load
    from .tree import walk

    root = read_settings(args).root
    entries = list(walk(root, load(root)))
    if args.json:
        sys.stdout.write(f"{json.dumps([_as_json(entry) for entry in entries], indent=2)}\n")
        return OK
    going = [entry for entry in entries if entry.goes]
    for entry in going:
        sys.stdout.write(f"{size(entry.size):>10}  {entry.path}\n")
    _list_staying([entry for entry in entries if not entry.goes])
    total = sum(entry.size for entry in going)
    sys.stdout.write(f"{len(going):,} files would be uploaded, {size(total)}\n")
    return OK


def _list_staying(staying: list[Any]) -> None:
    if staying:
        sys.stdout.write("\nwhat stays, and the line that says so:\n")
    for entry in staying:
        pattern = entry.pattern
        place = f"{pattern.file}:{pattern.line}"
        name = f"{entry.path}/ ({entry.files:,} files)" if entry.folder else entry.path
        sys.stdout.write(f"{size(entry.size):>10}  {name}    {pattern.text}  {place}\n")
    if staying:
        sys.stdout.write("\n")


def _as_json(entry: Any) -> dict[str, Any]:
    pattern = entry.pattern
    why = None if pattern is None else {"pattern": pattern.text, "file": pattern.file, "line": pattern.line}
    return {"path": entry.path, "size": entry.size, "files": entry.files, "goes": entry.goes, "why": why}


def _check(args: argparse.Namespace) -> int:
    from ..findings import report
    from .check import check

    config = read_settings(args)
    return report(check(Path(config.root), config), json_form=args.json)


def size(count: float) -> str:
    """Return a number of bytes for people, such as "1.5 MiB"."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
