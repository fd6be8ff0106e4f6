"""`gaeport fs`."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gaeport import settings
from gaeport.cli.command import add_command, read_settings

if TYPE_CHECKING:
    from gaeport.fs.sync_command import Options


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "fs",
        "list, copy, sync, move and remove files in mounts; remove content that nothing needs",
        """
        Works on the mounts of gaeport.toml from the command line. A path that leads into a mount means the mount, any
        other the disk, so that cp, mv and sync copy either way; gaeport://NAME/PATH names a place in a mount by the
        mount's name, wherever you are. A copied file appears when it is complete: interrupted, the old content stays.
        Long work shows how far it is, on a terminal.
        """,
        """
        examples:
          gaeport fs ls                                   the mounts
          gaeport fs ls -l uploads
          gaeport fs cp -r backup/pictures uploads        from the disk into a mount
          gaeport --project shop fs cp uploads/a.png .    from production to here
          gaeport fs sync pictures uploads/pictures       thousands of files, as far as they differ
          gaeport fs gc --dry-run
          gaeport fs verify && echo complete

        `gaeport fs ACTION --help` describes an action. In production, commands that write say where first; mv, rm
        and sync --delete ask there, and gc with fewer than 8 days asks everywhere. --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for add in (_add_reading, _add_writing, _add_sync, _add_care):
        add(actions)
    for name, action in actions.choices.items():
        action.set_defaults(run=_run, action=name, parser=action)


def _add_reading(actions: Any) -> None:
    ls = add_command(
        actions,
        "ls",
        "list directories; without a path, the mounts",
        """
        Lists the names in each directory, sorted, hidden ones included; of a file, itself. Without a path, lists the
        mounts with their names in the store. One query for each 300 names, with -l too.
        """,
        "",
    )
    ls.add_argument("-l", "--long", action="store_true", help="mode, links, owner, group, bytes and time too")
    ls.add_argument("paths", nargs="*", metavar="PATH")
    cat = add_command(
        actions, "cat", "write files to standard output", "Writes the files one after another, in bounded memory.\n", ""
    )
    cat.add_argument("paths", nargs="+", metavar="PATH")
    du = add_command(
        actions,
        "du",
        "tell how much is below each path",
        "Tells the bytes and the number of the files (and links) below each path, by listing; no file is read.\n",
        "",
    )
    du.add_argument("-b", "--bytes", action="store_true", help="exact, in place of KiB, MiB …")
    du.add_argument("paths", nargs="+", metavar="PATH")


def _add_writing(actions: Any) -> None:
    cp = add_command(
        actions,
        "cp",
        "copy files, or with -r directories",
        """
        Copies files with their modes, and with -r links as links, between mounts and the disk. An existing file is
        replaced when its copy is complete, directories are merged. Of two sources with one name none is copied. For
        many files use sync, which copies only what differs.
        """,
        "",
    )
    mv = add_command(
        actions,
        "mv",
        "rename, or copy and remove between mounts and disk",
        """
        Within a mount a rename is one change, whatever the size of a directory. Between mounts and the disk it copies,
        with times, and then removes the source. A directory takes the place of an empty one only. Asks in production.
        """,
        "",
    )
    rm = add_command(
        actions,
        "rm",
        "remove files, or with -r directories",
        """
        Removes names. What large files held is kept for `gaeport fs gc`, 8 days. Asks in production. A mount, or a
        directory that holds one, is refused; `gaeport fs sync --delete` with an empty directory empties a mount.
        """,
        "",
    )
    for action in (cp, rm):
        action.add_argument("-r", "--recursive", action="store_true", help="directories, with everything in them")
    for action in (cp, mv):
        action.add_argument("paths", nargs="+", metavar="PATH", help="the last one is the target, or its directory")
    rm.add_argument("paths", nargs="+", metavar="PATH")
    for action in (cp, mv, rm):
        action.add_argument("--yes", action="store_true", help="do not ask")


def _add_sync(actions: Any) -> None:
    sync = add_command(
        actions,
        "sync",
        "make a directory as another one is, in few calls, and verify it",
        """
        Copies what TARGET lacks and what differs, with modes, modification times and symbolic links. What is in SOURCE
        comes to lie in TARGET itself. Either may be on the disk or in a mount. A file counts as equal when its size
        and its time are (to the nanosecond).

        First both are listed, and what there is to do is told, with its calls and its price in production. Into a
        mount, small files are written 250 in one call; large ones are streamed. Files appear whole; interrupted or
        killed, call it again: what is there and equal is found by listing alone. A file that changes while it is copied
        is told, and so is one that still differs at the end, when both are listed again.

        TARGET keeps its own mode, and what only TARGET has stays unless --delete is given. Owners, and which names
        are one file, are not kept.
        """,
        """
        examples:
          gaeport fs sync pictures uploads/pictures
          gaeport --project shop fs sync --dry-run pictures uploads/pictures
          gaeport --project shop fs sync --delete --exclude '*.tmp' --exclude cache/ pictures uploads/pictures
          gaeport --project shop fs sync --checksum uploads backup/uploads
        """,
        exit_codes="""
        exit codes:
          0  done, and the two are equal (with --dry-run: told)
          1  something could not be copied, changed meanwhile, or differs in the end
          2  wrong usage: no such directory, a file for a directory, one inside the other; nothing was done
        """,
    )
    sync.add_argument("source", metavar="SOURCE", help="a directory")
    sync.add_argument("target", metavar="TARGET", help="a directory; made when only its last part is missing")
    sync.add_argument("--delete", action="store_true", help="remove what only TARGET has, when all else went well")
    sync.add_argument(
        "--checksum", action="store_true", help="compare contents, not times: reads every file of equal size"
    )
    sync.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave names alone that fit (*, ?, [a-z]), with --delete too; with a slash in it, whole paths; with "
        "one at its end, directories. May be repeated",
    )
    sync.add_argument("-n", "--dry-run", action="store_true", help="tell what would be done, and its price")
    sync.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="at the end list both again and compare sizes and times (with --checksum contents)",
    )
    sync.add_argument("--yes", action="store_true", help="do not ask before --delete removes in production")


def _add_care(actions: Any) -> None:
    gc = add_command(
        actions,
        "gc",
        "delete content that was dropped, and what abandoned writers left",
        """
        Content that was replaced or removed is kept for 8 days, so that a restored database has its blobs and a
        reader finishes what it reads; gc deletes what is older, and what writers left that died. Run it now and then,
        from cron in production; it may be interrupted, and several may run at once.
        """,
        "",
    )
    gc.add_argument(
        "--keep-days",
        type=_days,
        default=8.0,
        metavar="DAYS",
        help="how long dropped content is kept; a writer that is slower than this fails (default: %(default)g)",
    )
    gc.add_argument("--dry-run", action="store_true", help="only count what would be deleted")
    gc.add_argument("--yes", action="store_true", help="do not ask")
    add_command(
        actions,
        "verify",
        "list files whose content is gone",
        "Looks whether every blob and chunk that a file needs is there; reads none. Exit code 1 if any is gone.\n",
        "",
    )
    shadowed = add_command(
        actions,
        "shadowed",
        "list written files that hide a newer deployed one",
        "A file written in a mount hides the deployed one of its name, also a newer one. Exit code 1 if any does.\n",
        "",
    )
    shadowed.add_argument("paths", nargs="*", metavar="PATH", help="directories (default: every mount)")


def _run(args: argparse.Namespace) -> int:
    from gaeport.fs import commands

    if args.action in ("cp", "mv") and len(args.paths) < 2:
        args.parser.error("from where, and to where? Give at least two paths")
    settings.use(read_settings(args))
    if args.action == "sync":
        return commands.sync(args.source, args.target, _options(args), yes=args.yes)
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


def _options(args: argparse.Namespace) -> "Options":
    from gaeport.fs.sync_command import Options

    return Options(args.checksum, args.delete, args.dry_run, tuple(args.exclude), args.verify)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36_500:  # a century; also refuses nan and inf
        raise argparse.ArgumentTypeError(f"{text} is not a number of days, 0 or more")
    return days
