"""The part of a text file that a tool writes, between two marker lines; the rest is its owner's."""

_START = "# >>> gaeport: made by `{command}`; what is outside these two lines is yours"
_END = "# <<< gaeport"


def put(text: str, block: str, command: str) -> str:
    """Return a file's text with the tool's block replaced, or put first where there was none.

    Args:
        text: the file's text; "" for a new one.
        block: the lines between the markers, each ended.
        command: what made them, for the marker.
    """
    start = _START.format(command=command)
    made = f"{start}\n{block}{_END}\n"
    before, found, rest = text.partition(f"{start}\n")
    if not found:
        return f"{made}\n{text}" if text else made
    _, closed, after = rest.partition(f"{_END}\n")
    return f"{before}{made}{after}" if closed else f"{before}{made}"
