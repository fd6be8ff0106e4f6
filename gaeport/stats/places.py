"""Lines of code by name."""

from gaeport import meter


def line_of(place: meter.Place, root: str) -> tuple[str, int, str]:
    """Return a place as file, below the application's folder where it lies there, line and function."""
    code, number = place
    return code.co_filename.removeprefix(root), number, code.co_qualname
