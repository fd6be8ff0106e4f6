"""Places in mounts by the mounts' names, wherever the process stands: `gaeport://NAME/PATH`."""

from gaeport.errors import ConfigurationError
from gaeport.fs.patching import paths
from gaeport.fs.places import Mount

SCHEME = "gaeport://"


def split(address: str) -> tuple[Mount, str]:
    """Return the mount that an address names, and the path in it ("" for its root).

    A mount's name is its `name`, by default its `path` in gaeport.toml, and may have slashes in it; the longest name
    that fits counts.

    Args:
        address: with or without the scheme.

    Raises:
        ConfigurationError: no mount has such a name.
    """
    rest = address.removeprefix(SCHEME).strip("/")
    best: Mount | None = None
    for mount in paths.mounts():
        name = name_of(mount)
        if name and f"{rest}/".startswith(f"{name}/") and (best is None or len(name) > len(name_of(best))):
            best = mount
    if best is None:
        raise ConfigurationError(f"{address}: no mount has that name; the mounts are: {known()}")
    return best, rest[len(name_of(best)) + 1 :]


def path_of(name: str) -> str:
    """Return the path of an address; what is none stays as it is. Raises ConfigurationError as `split`."""
    if not name.startswith(SCHEME):
        return name
    mount, rest = split(name)
    return f"{mount.spelled}/{rest}" if rest else mount.spelled


def name_of(mount: Mount) -> str:
    """Return the name of a mount; "" of a directory that only leads to mounts."""
    return mount.settings.name.strip("/") if mount.settings is not None else ""


def known() -> str:
    """Return the mounts' names for messages."""
    return ", ".join(name_of(mount) for mount in paths.mounts() if mount.settings is not None) or "none"
