"""`gaeport tickets`."""

import argparse
from typing import Any

from gaeport import settings
from gaeport.cli.command import add_command, age, read_settings


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "tickets",
        "list and show errors, their groups and how often they happened",
        """
        An exception that ends a request becomes a ticket; the visitor gets its number. Tickets of the same error are a
        group, whose name is the number's first six characters. What could not be written to Datastore, or to Cloud
        Logging, waits in the data folder until `collect`.
        """,
        """
        examples:
          gaeport tickets list                              groups, the newest first
          gaeport tickets list --group K7QF2B               one group's tickets
          gaeport tickets show K7QF2B-3M2XAB-9TZQ           one ticket: traceback, variables, request
          gaeport --project shop tickets stats --days 30
          gaeport tickets collect                           may be killed and run again at any time
          gaeport tickets clear --older-than 30d --yes

        What removes tickets that are younger than keep_days asks first; --yes answers.
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show groups, or one group's tickets")
    listing.add_argument("--group", metavar="G", help="the tickets of this group")
    listing.add_argument("--since", type=age, metavar="AGE", help="only what happened in that time: 30d, 12h, 45m")
    listing.add_argument("--limit", type=_positive, default=50, metavar="N", help="lines at most (50)")
    show = actions.add_parser("show", help="print one ticket")
    show.add_argument("number", metavar="NUMBER", help="as the visitor saw it")
    stats = actions.add_parser("stats", help="how many errors happened when, and of which groups")
    stats.add_argument("--days", type=_positive, default=7, metavar="N", help="days back from now (7)")
    collect = actions.add_parser("collect", help="write what waits in the data folder")
    clear = actions.add_parser("clear", help="remove tickets that are older than keep_days, or others by choice")
    clear.add_argument("--older-than", type=age, metavar="AGE", help="those that are older: 30d, 12h, 45m")
    clear.add_argument("--group", metavar="G", help="only this group's; all of them, unless --older-than says which")
    clear.add_argument("--all", action="store_true", dest="everything", help="every ticket")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    for action in (listing, show, stats):
        action.add_argument("--json", action="store_true", dest="as_json", help="JSON, for programs")
    named = (("list", listing), ("show", show), ("stats", stats), ("collect", collect), ("clear", clear))
    for name, action in named:
        action.set_defaults(run=_run, action=name)


def _run(args: argparse.Namespace) -> int:
    from gaeport.tickets import commands

    settings.use(read_settings(args))
    if args.action == "list" and args.group:
        return commands.show_group(args.group, limit=args.limit, as_json=args.as_json)
    if args.action == "list":
        return commands.show_groups(since=args.since, limit=args.limit, as_json=args.as_json)
    if args.action == "show":
        return commands.show(args.number, as_json=args.as_json)
    if args.action == "stats":
        return commands.stats(days=args.days, as_json=args.as_json)
    if args.action == "collect":
        return commands.collect()
    return commands.clear(older_than=args.older_than, group=args.group, everything=args.everything, yes=args.yes)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} must be 1 or more")
    return number
