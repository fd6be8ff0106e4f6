"""Random folders and ignore lists that use every form of a pattern."""

import random
from pathlib import Path

_NAMES = ["a", "b", "ab", "c.py", "c.pyc", "venv", "x y", "[z]", "#n", "!m", "private", "auth.key", "k.key", "é"]
_PARTS = [*_NAMES[:8], "*", "*", "?", "*.key", "*.py*", "[ab]", "[!a]b", "a*", "private", "auth.key", "é"]


def grow(folder: Path, random_: random.Random, depth: int = 4) -> None:
    """Fill a folder with files and folders of few names, so that patterns match often."""
    for name in random_.sample(_NAMES, random_.randint(1, 6)):
        if depth and random_.random() < 0.45:
            (folder / name).mkdir()
            grow(folder / name, random_, depth - 1)
        else:
            (folder / name).write_text(name)


def line(random_: random.Random, *, deep: bool = True) -> str:
    """Return one line of a .gcloudignore.

    Args:
        random_: the source of chance.
        deep: whether `**` may stand anywhere.
    """
    if deep and random_.random() < 0.1:
        return random_.choice(
            ["# a", "", "   ", "\\#n", "\\!m", "a\\", "a ", "x\\ y", "ab\\ ", "\\a", "a//b", "/", "**/"]
        )
    parts = [random_.choice(_PARTS) for _ in range(random_.choice([1, 1, 1, 2, 2, 3]))]
    if random_.random() < 0.2:
        parts.insert(random_.randint(0, len(parts)) if deep else 0, "**")
    text = "/".join(parts)
    text = f"/{text}" if random_.random() < 0.25 else text
    text = f"{text}/" if random_.random() < 0.25 else text
    return f"!{text}" if random_.random() < 0.3 else text


def lines(random_: random.Random, *, deep: bool = True) -> str:
    """Return the text of a .gcloudignore."""
    return "".join(f"{line(random_, deep=deep)}\n" for _ in range(random_.randint(1, 6)))
