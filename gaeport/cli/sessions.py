"""`gaeport sessions`."""

import argparse
from typing import Any

from gaeport import settings
from gaeport.cli.command import add_command, age, read_settings


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "sessions",
        "list and end visitors' sessions, remove expired ones, rotate the signing key",
        """
        Works on the sessions that gaeport.toml's [sessions] names (Datastore's, where there is no such table). purge
        removes those that have expired, and others by choice; in production a TTL policy or cron does the same
        (docs/sessions.md).
        list and revoke name a session by the hash that it is stored under; its id is stored nowhere.
        """,
        """
        examples:
          gaeport sessions purge                          what has expired
          gaeport sessions purge --older-than 30d --yes
          gaeport sessions list --user 7
          gaeport --project shop sessions revoke --user 7
          gaeport sessions rotate-key                     old cookies count until they would expire

        What ends sessions that have not expired asks first; --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    purge = actions.add_parser("purge", help="remove expired sessions")
    purge.add_argument("--older-than", type=age, metavar="AGE", help="also those unused so long: 30d, 12h, 45m, 90s")
    purge.add_argument("--user", metavar="U", help="only this user's, expired or not")
    purge.add_argument("--all", action="store_true", dest="everything", help="every session")
    listing = actions.add_parser("list", help="show sessions")
    listing.add_argument("--user", metavar="U", help="only this user's")
    revoke = actions.add_parser("revoke", help="end sessions")
    revoke.add_argument("--user", metavar="U", help="all of this user's")
    revoke.add_argument("names", nargs="*", metavar="NAME", help="as `list` shows them")
    rotate = actions.add_parser("rotate-key", help="add a signing key for the cookie store, and retire the old ones")
    rotate.add_argument("--at-once", action="store_true", help="sign by it now, and end all cookie sessions")
    for action in (purge, revoke, rotate):
        action.add_argument("--yes", action="store_true", help="do not ask")
    for action, name in ((purge, "purge"), (listing, "list"), (revoke, "revoke"), (rotate, "rotate-key")):
        action.set_defaults(run=_run, action=name)


def _run(args: argparse.Namespace) -> int:
    from gaeport.sessions import commands

    settings.use(read_settings(args))
    if args.action == "purge":
        return commands.purge(older_than=args.older_than, user=args.user, everything=args.everything, yes=args.yes)
    if args.action == "list":
        return commands.show(args.user)
    if args.action == "revoke":
        return commands.revoke(user=args.user, names=args.names, yes=args.yes)
    return commands.rotate_key(at_once=args.at_once, yes=args.yes)
