"""Which directories are mounted: `mount`, `unmount` and what they refuse."""

import logging
import os
import threading
from dataclasses import replace

from gaeport import settings as configuration
from gaeport.errors import ConfigurationError
from gaeport.fs import native, patterns
from gaeport.fs.patching import importing, patch, paths, requests
from gaeport.fs.places import Mount
from gaeport.fs.volume import Volume
from gaeport.settings import INLINE_LIMIT, MountSettings, Settings

_lock = threading.RLock()
_listening = False


def mount(
    path: str | os.PathLike[str],
    *,
    store: str = "datastore",
    bucket: str | None = None,
    prefix: str = "",
    overlay: bool = True,
    inline_limit: int = INLINE_LIMIT,
    name: str | None = None,
    import_: bool = False,
    attr_ttl: float = 0.0,
) -> None:
    """Keep the files of a directory in Datastore (and Cloud Storage) from here on.

    Args:
        path: the directory, relative to the working directory; it need not exist on disk. A pattern
            (`applications/*/uploads`) stands for every directory that it fits now.
        store: what keeps the files: "datastore"; "gcs" for one object a file, under its own name; or "log" to make
            log entries of what is written.
        bucket: the Cloud Storage bucket for large content; by default the settings' one.
        prefix: put before the names of this mount's objects in the bucket.
        overlay: whether files that are in the directory on disk are visible until written or removed.
        inline_limit: bytes; content up to this size lives in the file's own entity.
        name: the directory's name in the store; by default its path from the application's folder.
        import_: whether Python modules may be imported from it.
        attr_ttl: seconds; attributes and the absence of files may be told from memory for so long.

    Raises:
        ConfigurationError: the directory cannot be mounted, or an argument is impossible; the message says why.
    """
    settings = configuration.current()
    if not patch.is_installed():
        paths.refresh_working_directory()  # os.chdir was not watched until now
    common: dict[str, object] = {"store": store, "prefix": prefix, "overlay": overlay, "inline_limit": inline_limit}
    common |= {"import": import_, "attr_ttl": attr_ttl}
    if bucket:
        common["bucket"] = bucket
    for absolute, given in _places(path, name):
        item = common | {"path": absolute, "name": given or _name(absolute, settings)}
        parsed = configuration.parse({"mount": [item]}, root=settings.root, place="mount()")
        _mount_settings(parsed.mounts[0], settings)


def _places(path: str | os.PathLike[str], name: str | None) -> list[tuple[str, str | None]]:
    """Return the absolute path of each directory that a path stands for, and its name in the store where it has one."""
    here = paths.absolute(".") or "/"
    if paths.absolute(path) is None:
        raise ConfigurationError(f"mount(): path = {path!r} must be the path of a directory")
    spelled = os.path.normpath(os.fsdecode(path))
    found = patterns.expanded(MountSettings(path=spelled, name=name or spelled), here)
    return [(paths.normal(os.path.join(here, one.path)), one.name if name else None) for one in found]


def mount_all(settings: Settings | None = None) -> None:
    """Mount what gaeport.toml lists under [[mount]], each directory that a pattern fits.

    What is mounted just so already stays.

    Args:
        settings: by default those in force.

    Raises:
        ConfigurationError: a directory cannot be mounted; the message says why.
    """
    settings = settings or configuration.current()
    for wanted in configured(settings):
        if not any(present.settings == wanted for present in paths.mounts()):
            _mount_settings(wanted, settings)


def configured(settings: Settings) -> list[MountSettings]:
    """Return the mounts of gaeport.toml with absolute paths, each directory that a pattern fits."""
    root = os.path.abspath(settings.root)
    items = [found for given in settings.mounts for found in patterns.expanded(given, root)]
    return [replace(item, path=paths.normal(os.path.join(root, os.path.expanduser(item.path)))) for item in items]


def _name(absolute: str, settings: Settings) -> str:
    for spelled, root in ((absolute, str(settings.root)), (native.realpath(absolute), os.path.realpath(settings.root))):
        if spelled.startswith(f"{root.rstrip('/')}/"):
            return os.path.relpath(spelled, root)
    return absolute


def _mount_settings(item: MountSettings, settings: Settings) -> None:
    _check(item.path, native.realpath(item.path), settings)
    _check_objects(item, settings)
    attach(item.path, volume_of(item, native.realpath(item.path)), item, settings)


def volume_of(item: MountSettings, root: str) -> Volume:
    """Return what keeps the files of a mount.

    Args:
        item: its settings.
        root: the directory on disk, absolute, links resolved.
    """
    if item.store == "log":
        from gaeport.fs.log_volume import LogVolume

        return LogVolume(item.name, root)
    if item.store == "gcs":
        from gaeport.fs import gcs

        return gcs.make_volume(item, root)
    from gaeport.fs.datastore.volume import make_volume

    return make_volume(item, root)


def attach(path: str, volume: Volume, item: MountSettings | None = None, settings: Settings | None = None) -> Mount:
    """Mount a volume of any kind.

    Args:
        path: the directory.
        volume: what keeps its files.
        item: how it was configured.
        settings: those in force, by default.

    Raises:
        ConfigurationError: the directory cannot be mounted; the message says why.
    """
    spelled = paths.absolute(path) or ""
    root = native.realpath(spelled)
    with _lock:
        _check(spelled, root, settings or configuration.current())
        made = Mount(root=root, spelled=spelled, volume=volume, settings=item)
        paths.set_mounts([*paths.mounts(), made])
        importing.refresh(paths.mounts())
        patch.install()
        _listen()
    return made


def unmount(path: str | os.PathLike[str]) -> None:
    """Commit what is pending in a mount and let the directory be an ordinary one again.

    Args:
        path: the directory, as it was given to `mount` or by any other spelling.

    Raises:
        ConfigurationError: nothing is mounted there.
        OSError: something could not be committed; the directory stays mounted.
    """
    spelled = paths.absolute(path) or ""
    with _lock:
        found = [item for item in paths.mounts() if spelled in (item.spelled, item.root)]
        found = found or [item for item in paths.mounts() if native.realpath(spelled) == item.root]
        if not found:
            mounted = ", ".join(item.spelled for item in paths.mounts()) or "nothing"
            raise ConfigurationError(f"unmount(): {spelled} is not mounted; mounted: {mounted}")
        patch.commit_everything()
        patch.release_locks(found)
        _detach(found)


def unmount_all() -> None:
    """Let every mounted directory be an ordinary one again, without committing (new settings are in force)."""
    with _lock:
        _detach(paths.mounts())


def _detach(found: object) -> None:
    gone = list(found) if isinstance(found, list | tuple) else []
    inside = paths.working_directory()
    paths.set_mounts([item for item in paths.mounts() if item not in gone])
    importing.refresh(paths.mounts())
    for item in gone:
        drop = getattr(item.volume, "drop", None)
        if drop is not None:
            drop()
    if inside is not None and any(f"{inside}/".startswith(f"{item.root}/") for item in gone):
        paths.refresh_working_directory()
    if not paths.mounts():
        patch.uninstall()


def _listen() -> None:
    """Drop the mounts when other settings are put in force: their volumes use the former connection."""
    global _listening
    if not _listening:
        _listening = True
        configuration.before_change(_finish)
        configuration.on_change(unmount_all)


def _finish() -> None:
    """Commit to the store that was in force until now; what it refuses is lost, and said."""
    if not paths.mounts():
        return
    try:
        requests.settle_all()
        patch.commit_everything()
        patch.release_locks()
    except OSError as error:
        logging.getLogger("gaeport.fs").error("other settings were put in force, and this was not committed: %s", error)


def _check(spelled: str, root: str, settings: Settings) -> None:
    if not spelled:
        raise ConfigurationError("a mount needs the path of a directory")
    if paths.on_disk(root) and not os.path.isdir(root):
        raise ConfigurationError(f"{spelled} cannot be mounted: it is a file, not a directory")
    for special, what in _special_directories(settings):
        if special == root or special.startswith(f"{root.rstrip('/')}/"):
            raise ConfigurationError(f"{spelled} cannot be mounted: it is or holds {what}; mount a folder of your data")
    for other in paths.mounts():
        if other.root == root:
            raise ConfigurationError(f"{spelled} is mounted already (as {other.spelled}); unmount it first")
        outer, inner = sorted((other.root, root), key=len)
        if inner.startswith(f"{outer}/"):
            raise ConfigurationError(
                f"{spelled} cannot be mounted: {inner} lies inside {outer}, and mounts cannot be nested; "
                "mount one of them, or two folders beside each other"
            )


def _check_objects(item: MountSettings, settings: Settings) -> None:
    """Refuse two mounts of the same objects: what is open in one would not be seen in the other."""
    for other in paths.mounts():
        known = other.settings
        if known is None or item.store != "gcs" or known.store != "gcs" or known.prefix != item.prefix:
            continue
        if (known.bucket or settings.bucket) == (item.bucket or settings.bucket):
            raise ConfigurationError(
                f"{item.path} cannot be mounted: {other.spelled} has the same bucket and prefix "
                f'({known.bucket or settings.bucket or "none"}, "{item.prefix}"); give each its own prefix'
            )


def _special_directories(settings: Settings) -> list[tuple[str, str]]:
    found = [
        ("/", "the root of the file system"),
        (os.path.realpath(settings.root), "the application's own folder (with its code)"),
        (os.path.realpath(os.environ.get("TMPDIR", "/tmp")), "the temporary folder"),
    ]
    if not settings.in_memory:
        found.append((os.path.realpath(settings.data_path), "the embedded data folder"))
    return found
