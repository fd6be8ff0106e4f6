"""What `gaeport console` does."""

import getpass
import sys

from gaeport.console import passwords

_NEXT = """\
Put this into gaeport.toml, or into the variable GAEPORT_CONSOLE_PASSWORD_HASH of app.yaml's env_variables:

  [console]
  password_hash = "{hashed}"

"""


def password(*, from_stdin: bool) -> int:
    """Print the hash of a password, on standard output; what to do with it goes to standard error.

    Args:
        from_stdin: read the password's one line instead of asking for it twice.

    Returns:
        0, or 1 when the two differ or the password is too short.
    """
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked()
    try:
        if given is None:
            raise ValueError("the two differ")
        hashed = passwords.make_hash(given)
    except ValueError as error:
        sys.stderr.write(f"gaeport console password: {error}\n")
        return 1
    sys.stderr.write(_NEXT.format(hashed=hashed))
    sys.stdout.write(f"{hashed}\n")
    return 0


def _asked() -> str | None:
    first = getpass.getpass("Password for the console: ")
    return first if getpass.getpass("Once more: ") == first else None
