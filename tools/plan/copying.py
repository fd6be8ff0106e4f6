"""A folder of links to an application's files: gcloud may write into it, and reads the same files from it."""

import os
from pathlib import Path


def link_tree(source: Path, target: Path) -> None:
    """Make a folder with the same tree, each file a symbolic link to the original.

    Links within the tree lead to the same place within the copy, so that one that leads in a circle still does; links
    out of it, and to nothing, lead where they led.

    Args:
        source: the folder; it is only read.
        target: the folder to make.
    """
    root = Path(os.path.realpath(source))
    target.mkdir(parents=True)
    for folder, folders, names in os.walk(root):
        here = target / os.path.relpath(folder, root)
        for name in (*folders, *names):
            original = os.path.join(folder, name)
            if os.path.islink(original):
                (here / name).symlink_to(_destination(original, root, target))
            elif name in folders:
                (here / name).mkdir()
            else:
                (here / name).symlink_to(original)


def _destination(link: str, root: Path, target: Path) -> str:
    """Return where the copy of a link leads."""
    reached = os.path.realpath(link)
    if not os.path.exists(link):
        return os.path.join(os.path.dirname(link), os.readlink(link))
    if os.path.commonpath([reached, root]) == str(root):
        return os.path.normpath(os.path.join(target, os.path.relpath(reached, root)))
    return reached
