"""`gaeport serve`."""

import argparse
from typing import Any

from gaeport.cli.command import add_command, port, read_settings


def add(commands: Any) -> None:
    parser = add_command(
        commands,
        "serve",
        "serve the application here as App Engine would",
        """
        Serves the application under App Engine's rules: app.yaml's static handlers and env_variables are in force, the
        variables that App Engine sets are set (GAE_ENV excepted), X-Appengine-* headers from outside are stripped, and
        every file outside the mounts and the temporary folder is read-only. A refused write says which line of
        gaeport.toml would allow it. The application is gaeport.toml's `app`, else `app` of main.py, else the welcome
        application; it starts in gaeport.toml's folder. A variable that is set in the shell keeps its value.

        Data is kept in .gaeport/ beside gaeport.toml ($GAEPORT_DATA names another folder, or :memory:), or in the
        emulator at $DATASTORE_EMULATOR_HOST.

        For each request a line says what it was, its status, how long it took, how many calls it made to Datastore
        and Cloud Storage, and what those would cost in production.
        """,
        """
        examples:
          gaeport serve
          gaeport serve --app shop.web:app --port 9000 --reload
          gaeport serve --workers 4 --latency 5
          gaeport serve --emulator firestore

        SIGINT (Ctrl-C) and SIGTERM stop it after the requests that are running, with exit code 0.
        """,
    )
    parser.add_argument("--app", metavar="MODULE:CALLABLE", help="the WSGI application, in place of gaeport.toml's")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=8, metavar="N", help="requests at once in each process (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        choices=["waitress", "gunicorn"],
        default="waitress",
        help="what speaks HTTP; gunicorn needs gaeport[gunicorn] (default: %(default)s)",
    )
    parser.add_argument("--reload", action="store_true", help="restart when a .py, .toml or .yaml file changes")
    parser.add_argument(
        "--latency", type=float, default=0.0, metavar="MS", help="milliseconds to add to each call, to feel production"
    )
    parser.add_argument(
        "--require-indexes",
        action="store_true",
        help="refuse queries that lack their composite index in index.yaml, as production does",
    )
    parser.add_argument(
        "--emulator",
        nargs="?",
        choices=["firestore", "datastore"],
        const="firestore",
        help="start Google's own emulator from the installed Cloud SDK, use it and stop it (alone: firestore)",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from gaeport.devserver.serve import Options, serve

    options = Options(
        app=args.app,
        host=args.host,
        port=args.port,
        workers=args.workers,
        threads=args.threads,
        server=args.server,
        reload=args.reload,
        latency_ms=args.latency,
        emulator=args.emulator,
    )
    return serve(options, lambda: read_settings(args))
