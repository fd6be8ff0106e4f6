"""`gaeport fs`."""

import argparse
from collections.abc import Callable
from typing import Any

from gaeport import settings
from gaeport.cli.command import add_command, read_settings


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "fs",
        "list, copy, move and remove files in mounts; remove content that nothing needs",
        """
        Works on the mounts of gaeport.toml from the command line. A path that leads into a mount means the mount, any
        other the disk, so that cp and mv copy either way. A copied file appears when it is complete: interrupted, the
        old content stays. Long work shows how far it is, on a terminal.

        Content that was replaced or removed is kept for 8 days, so that a restored database has its blobs and a
        reader finishes what it reads; gc deletes what is older, and what writers left that died. Run it now and then,
        from cron in production; it may be interrupted, and several may run at once.
        """,
        """
        examples:
          gaeport fs ls                                   the mounts
          gaeport fs ls -l uploads
          gaeport fs cp -r backup/pictures uploads        from the disk into a mount
          gaeport --project shop fs cp uploads/a.png .    from production to here
          gaeport fs gc --dry-run
          gaeport fs verify && echo complete

        In production, commands that write say where first, and mv and rm ask. gc with fewer than 8 days asks
        everywhere. --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_files, _add_writing, _add_care):
        add(actions)
    for name, action in actions.choices.items():
        action.set_defaults(run=_run, action=name)


def _add_files(actions: Any) -> None:
    ls = actions.add_parser("ls", help="list directories, hidden files included; without a path, the mounts")
    ls.add_argument("-l", "--long", action="store_true", help="mode, links, owner, group, bytes and time too")
    ls.add_argument("paths", nargs="*", metavar="PATH")
    cat = actions.add_parser("cat", help="write files to standard output")
    cat.add_argument("paths", nargs="+", metavar="PATH")
    du = actions.add_parser("du", help="tell how much is below each path")
    du.add_argument("-b", "--bytes", action="store_true", help="exact, in place of KiB, MiB …")
    du.add_argument("paths", nargs="+", metavar="PATH")


def _add_writing(actions: Any) -> None:
    cp = actions.add_parser("cp", help="copy files, or with -r directories; an existing file is replaced")
    mv = actions.add_parser("mv", help="rename, or copy and remove between mounts and disk")
    rm = actions.add_parser("rm", help="remove files, or with -r directories")
    for action in (cp, rm):
        action.add_argument("-r", "--recursive", action="store_true", help="directories, with everything in them")
    for action in (cp, mv):
        action.add_argument("paths", nargs="+", metavar="PATH", help="the last one is the target, or its directory")
        action.set_defaults(parser=action)
    rm.add_argument("paths", nargs="+", metavar="PATH")
    for action in (cp, mv, rm):
        action.add_argument("--yes", action="store_true", help="do not ask")


def _add_care(actions: Any) -> None:
    gc = actions.add_parser("gc", help="delete content that was dropped, and what abandoned writers left")
    gc.add_argument(
        "--keep-days",
        type=_days,
        default=8.0,
        metavar="DAYS",
        help="how long dropped content is kept; a writer that is slower than this fails (default: %(default)g)",
    )
    gc.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
    gc.add_argument("--yes", action="store_true", help="do not ask")
    actions.add_parser("verify", help="list files whose content is gone; exit code 1 if there are any")
    shadowed = actions.add_parser(
        "shadowed", help="list written files that hide a newer deployed one; exit code 1 if there are any"
    )
    shadowed.add_argument("paths", nargs="*", metavar="PATH", help="directories (default: every mount)")


def _run(args: argparse.Namespace) -> int:
    from gaeport.fs import commands

    if args.action in ("cp", "mv") and len(args.paths) < 2:
        args.parser.error("from where, and to where? Give at least two paths")
    settings.use(read_settings(args))
    actions: dict[str, Callable[[], int]] = {
        "ls": lambda: commands.ls(args.paths, long=args.long),
        "cat": lambda: commands.cat(args.paths),
        "du": lambda: commands.du(args.paths, exact=args.bytes),
        "cp": lambda: commands.cp(args.paths, recursive=args.recursive, yes=args.yes),
        "mv": lambda: commands.mv(args.paths, yes=args.yes),
        "rm": lambda: commands.rm(args.paths, recursive=args.recursive, yes=args.yes),
        "gc": lambda: commands.gc(keep_days=args.keep_days, dry_run=args.dry_run, yes=args.yes),
        "verify": commands.verify,
        "shadowed": lambda: commands.shadowed(args.paths),
    }
    return actions[args.action]()


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < 36_500:  # a century; also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text} is not a number of days, 0 or more")
    return days
