"""A user's sessions: list them, end them."""

from gaeport import settings as _settings
from gaeport.sessions.stores import About, Store, connect
from gaeport.settings import SessionSettings


def configured_store() -> Store:
    """Return the store of gaeport.toml's `[sessions]`; Datastore where there is no such table."""
    return connect(_settings.current().sessions or SessionSettings())


def sessions_of(user: str, store: Store | None = None) -> list[About]:
    """Return the sessions of a user, expired ones included.

    Args:
        user: as `session.user` or the key named by `user_key` has it.
        store: by default the one that gaeport.toml names.

    Raises:
        UnsupportedByStore: the cookie store knows no sessions.
    """
    return list((store or configured_store()).of_user(user))


def revoke_user(user: str, store: Store | None = None) -> int:
    """End all sessions of a user: after a changed password, a lost laptop. Returns how many there were.

    Arguments and errors as for `sessions_of`.
    """
    store = store or configured_store()
    return store.revoke([about.name for about in store.of_user(user)])
