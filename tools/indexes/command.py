"""`gaeport indexes`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gaeport.cli.command import FAILED, OK, add_command, read_settings
from gaeport.datastore.recording import SUFFIX, VARIABLE
from gaeport.errors import ConfigurationError
from gaeport.settings import Settings

_FOLDER = "queries"  # in the data folder


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = add_command(
        commands,
        "indexes",
        "hold index.yaml against the queries that runs really ask",
        """
        Production refuses a query whose composite index is missing, and each index costs with every write. verify
        runs COMMAND (the tests, a server, a script) and records every query that goes through gaeport, NDB's and
        pyDAL's included, of its child processes too; then it compares them with index.yaml. Recordings hold the shape
        of queries and of entities, no values. They are kept in .gaeport/queries, so that update and prune work on the
        last ones; --add puts a run to those before, --from adds those of other machines.

        update and prune change the entries that they must and leave every other line as it is.
        """,
        """
        examples:
          gaeport indexes verify -- python -m pytest
          gaeport indexes verify --add -- gaeport serve     then use the application, and stop it
          gaeport indexes update --check                    exit 1 if index.yaml lacks an index
          gaeport indexes prune
          gaeport indexes explain "SELECT * FROM Note WHERE tags = 'a' ORDER BY created DESC"

        verify exits with 1 where there are findings, or where COMMAND fails.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="what is missing, unused, redundant, repeated, exploding")
    update = actions.add_parser("update", help="add what is missing to index.yaml")
    prune = actions.add_parser("prune", help="remove what no recorded query needs from index.yaml")
    for action in (verify, update, prune):
        action.add_argument("--add", action="store_true", help="keep the recordings of earlier runs too")
        action.add_argument(
            "--from", dest="folders", action="append", type=Path, default=[], metavar="DIR", help="more recordings"
        )
        action.add_argument("command", nargs="*", metavar="-- COMMAND", help="what to run and record")
    verify.add_argument("--json", action="store_true", help="for machines")
    for action in (update, prune):
        action.add_argument(
            "--check", action="store_true", help="change nothing; exit with 1 if index.yaml would change"
        )
    prune.add_argument("--yes", action="store_true", help="do not ask")
    explain = actions.add_parser("explain", help="say which index a query needs")
    explain.add_argument("gql", metavar="GQL", help="the query, as in the Cloud console")
    for action, run in ((verify, _verify), (update, _update), (prune, _prune), (explain, _explain)):
        action.set_defaults(run=run)


def _verify(args: argparse.Namespace) -> int:
    from ..findings import report
    from .comparison import findings

    config, found, code = _compared(args)
    return max(report(findings(found, config.root), json_form=args.json), FAILED if code else OK)


def _update(args: argparse.Namespace) -> int:
    from . import entries
    from .wording import index_text

    config, found, code = _compared(args)
    path = _path(config)
    if not found.lacking:
        sys.stdout.write(f"{path} lacks nothing that was recorded\n")
        return FAILED if code else OK
    for index in found.lacking:
        sys.stdout.write(f"{'lacks' if args.check else 'added'}: {index_text(index)}\n")
    if args.check:
        return FAILED
    path.write_text(entries.add(entries.read(path), found.lacking, str(path)), "utf-8")
    return FAILED if code else OK


def _prune(args: argparse.Namespace) -> int:
    from . import entries
    from .wording import index_text

    config, found, code = _compared(args)
    path = _path(config)
    if not found.removable:
        sys.stdout.write(f"{path} has nothing that the recorded queries could do without\n")
        return FAILED if code else OK
    for kind, listed in (("unused", found.unused), ("redundant", found.redundant), ("repeated", found.repeated)):
        for entry in listed:
            sys.stdout.write(f"{kind}: {index_text(entry.index)}  ({path.name}:{entry.line})\n")
    if args.check:
        return FAILED
    if not args.yes and not _agreed(f"remove {len(found.removable)} from {path}?"):
        return FAILED
    path.write_text(entries.remove(entries.read(path), found.removable), "utf-8")
    sys.stdout.write("gcloud app deploy leaves indexes alone that index.yaml names no more; then run:\n")
    sys.stdout.write("gcloud datastore indexes cleanup index.yaml\n")
    return FAILED if code else OK


def _explain(args: argparse.Namespace) -> int:
    from .explanation import explain

    config = read_settings(args)
    sys.stdout.write(explain(args.gql, _entries(config)))
    return OK


def _compared(args: argparse.Namespace) -> tuple[Settings, Any, int]:
    """Return the settings, the comparison with what was recorded, and COMMAND's exit code."""
    from .comparison import compare
    from .recordings import load

    config = read_settings(args)
    entries = _entries(config)
    folder, code = _folder(config, temporary=bool(args.command)), 0
    if args.command:
        code = _record(args.command, folder, config.root, keep=args.add)
    own = [folder] if args.command or folder.is_dir() or not args.folders else []
    recorded = load([*own, *args.folders])
    if not recorded.queries:
        raise ConfigurationError("no query was recorded: the program asked none, or not through gaeport")
    return config, compare(entries, recorded), code


def _record(command: list[str], folder: Path, root: Path, *, keep: bool) -> int:
    if not keep:
        for path in folder.glob(f"*{SUFFIX}"):
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    # First where this interpreter's own programs are, as in an active environment: `python` must know gaeport.
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    program = shutil.which(command[0], path=search)
    if program is None:
        raise ConfigurationError(f"{command[0]}: there is no such command")
    environment = {**os.environ, VARIABLE: str(folder), "PATH": search}
    try:
        code = subprocess.run([program, *command[1:]], cwd=root, env=environment, check=False).returncode
    except KeyboardInterrupt:  # that is how a server is stopped; it has had the signal too
        return OK
    if code:
        sys.stderr.write(f"gaeport: {' '.join(command)} ended with {code}; what it asked until then counts\n")
    return code


def _folder(config: Settings, *, temporary: bool) -> Path:
    if not config.in_memory:
        return config.data_path / _FOLDER
    if temporary:
        return Path(tempfile.mkdtemp(prefix="gaeport-queries-"))
    raise ConfigurationError('data = ":memory:" keeps no recordings; say -- COMMAND, or --from DIR')


def _path(config: Settings) -> Path:
    from gaeport.datastore.index_yaml import FILE_NAME

    return config.root / FILE_NAME


def _entries(config: Settings) -> Any:
    from . import entries

    path = _path(config)
    return entries.parse(entries.read(path), str(path))


def _agreed(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
