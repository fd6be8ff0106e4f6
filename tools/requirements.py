"""requirements.txt, which App Engine installs, made from pyproject.toml, which everything else installs."""

import tomllib
from pathlib import Path

HEADER = "# What App Engine installs. Made from pyproject.toml by `python -m tools requirements`: change it there.\n"
PROJECT_FILE, REQUIREMENTS_FILE = "pyproject.toml", "requirements.txt"
_SERVER_EXTRA = "gunicorn"  # the entrypoint of app.yaml runs it


class ProjectError(Exception):
    """There is no pyproject.toml with the project's dependencies here."""


def render(root: Path) -> str:
    """Return what requirements.txt must hold: the core dependencies and gunicorn, sorted.

    Args:
        root: the folder of pyproject.toml.

    Raises:
        ProjectError: it is missing, is not TOML, or has no such dependencies.
    """
    path = root / PROJECT_FILE
    try:
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        listed = [*project["dependencies"], *project["optional-dependencies"][_SERVER_EXTRA]]
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read: {error.strerror}; run this in a checkout") from error
    except tomllib.TOMLDecodeError as error:
        raise ProjectError(f"{path}: is not TOML: {error}") from error
    except KeyError as error:
        raise ProjectError(
            f"{path}: has no {error} of the project; needed: dependencies and {_SERVER_EXTRA}"
        ) from error
    return HEADER + "".join(f"{requirement}\n" for requirement in sorted(listed, key=str.lower))


def is_current(root: Path) -> bool:
    """Whether requirements.txt agrees with pyproject.toml. Raises ProjectError as `render` does."""
    path = root / REQUIREMENTS_FILE
    return path.is_file() and path.read_text("utf-8") == render(root)


def write(root: Path) -> Path:
    """Write requirements.txt and return its path. Raises ProjectError as `render` does."""
    text = render(root)
    path = root / REQUIREMENTS_FILE
    path.write_text(text, "utf-8")
    return path
