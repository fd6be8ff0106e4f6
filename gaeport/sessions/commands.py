"""The work of `gaeport sessions …`: purge, list, revoke, rotate-key."""

import re
import sys
import time
from collections.abc import Callable

from gaeport import settings as _settings
from gaeport.commands import FAILED, OK, agreed, say
from gaeport.errors import ConfigurationError
from gaeport.sessions.keys import StoredKeys
from gaeport.sessions.purge import Progress
from gaeport.sessions.purge import purge as _purge
from gaeport.sessions.stores import About, Store, connect
from gaeport.settings import SessionSettings

_NAME = re.compile(r"[0-9a-f]{64}")
_LEAST_PREFIX = 8  # characters of a name that are enough


def purge(*, older_than: float | None, user: str | None, everything: bool, yes: bool) -> int:
    """Remove expired sessions, or others by choice, and show how far it is. Returns the exit code."""
    what = "every session: everybody is logged out" if everything else "sessions of one user" if user else ""
    if older_than is not None:
        what = what or f"sessions unused for {older_than:,.0f} s"
    if not agreed(f"remove {what or 'expired sessions'}", ask=bool(what), yes=yes):
        return FAILED
    show = _progress() if sys.stderr.isatty() else _silent
    done = _purge(_store(), older_than=older_than, user=user, everything=everything, report=show)
    say(f"{done.removed:,} of {done.seen:,} sessions removed")
    return OK


def show(user: str | None) -> int:
    """List sessions, of one user or all. Returns the exit code."""
    store = _store()
    count = 0
    for about in store.of_user(user) if user is not None else store.every():
        say(_line(about))
        count += 1
    say(f"{count:,} sessions")
    return OK


def revoke(*, user: str | None, names: list[str], yes: bool) -> int:
    """End the sessions of a user, or those of the names that `list` shows. Returns the exit code."""
    if bool(user) == bool(names):
        raise ConfigurationError("revoke what? Give --user U, or the names that `gaeport sessions list` shows")
    store = _store()
    found = [about.name for about in store.of_user(user)] if user else _complete(store, names)
    if not found:
        say("no such session")
        return FAILED
    if not agreed(f"end {len(found):,} sessions", ask=True, yes=yes):
        return FAILED
    say(f"{store.revoke(found):,} sessions ended{_delay()}")
    return OK


def rotate_key(*, at_once: bool, yes: bool) -> int:
    """Add a signing key for cookies, and retire the ones before. Returns the exit code."""
    options = _options()
    if options.keys:
        raise ConfigurationError(
            "the signing keys are in the settings (keys, or GAEPORT_SESSION_KEYS): put a new one first there, "
            "and take the old ones away when their cookies have expired"
        )
    what = "replace the signing key: all cookie sessions end" if at_once else "add a signing key"
    if not agreed(what, ask=at_once, yes=yes):
        return FAILED
    keep = 0.0 if at_once else float(options.lifetime or options.idle)
    key = StoredKeys().rotate(keep, at_once=at_once)
    start = "now" if at_once else time.strftime("%H:%M:%S UTC", time.gmtime(key.signs_from))
    say(f"key {key.name} signs from {start}; cookies signed before count for {keep:,.0f} s more")
    return OK


def _options() -> SessionSettings:
    return _settings.current().sessions or SessionSettings()


def _store() -> Store:
    return connect(_options())


def _complete(store: Store, names: list[str]) -> list[str]:
    """Return the full names of those given, which may be cut to eight characters."""
    short = [name for name in names if not _NAME.fullmatch(name)]
    for name in short:
        if not re.fullmatch(rf"[0-9a-f]{{{_LEAST_PREFIX},63}}", name):
            raise ConfigurationError(f"{name!r} is not a session's name; `gaeport sessions list` shows them")
    found = [name for name in names if name not in short]
    if short:
        found += [about.name for about in store.every() if about.name.startswith(tuple(short))]
    return found


def _delay() -> str:
    options = _options()
    if options.store == "memcache+datastore":
        return f"; instances whose cache cannot be reached from here notice within {options.cache_ttl} s"
    return ""


def _line(about: About) -> str:
    state = "expired" if about.expires <= time.time() else f"until {_time(about.expires)}"
    return f"{about.name[:16]}  begun {_time(about.created)}  used {_time(about.touched)}  {state}  {about.user or '-'}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))


def _progress() -> Callable[[Progress], None]:
    def report(done: Progress) -> None:
        sys.stderr.write(f"\r{done.seen:,} seen, {done.removed:,} removed")
        if done.complete:
            sys.stderr.write("\n")
        sys.stderr.flush()

    return report


def _silent(done: Progress) -> None:
    pass
