"""index.yaml: every rule of gcloud and of the service, one finding for each line that breaks one."""

import re
from collections.abc import Iterator
from pathlib import Path

from gaeport.datastore import index_yaml
from gaeport.errors import ConfigurationError

from ..findings import Finding
from ..indexes import entries

_PLACE = re.compile(r".*?:(\d+): (.*)", re.DOTALL)


def check(root: Path) -> Iterator[Finding]:
    """Yield what is wrong with an index.yaml."""
    path = root / index_yaml.FILE_NAME
    if not path.is_file():
        return
    text = path.read_text("utf-8", "replace")
    try:
        index_yaml.parse(text, path.name)
    except ConfigurationError as error:
        found = _PLACE.fullmatch(str(error))
        line = int(found[1]) if found else None
        message = found[2] if found else str(error).removeprefix(f"{path.name}: ")
        fix = "write `indexes:`" if "is empty" in message else ""
        yield Finding("index.value", "error", message, fix, path.name, line)
        return
    try:
        listed = entries.parse(text, path.name)
    except ConfigurationError:  # written in braces: right, but not to be edited by line
        return
    first: dict[object, int] = {}
    for entry in listed:
        if entry.index in first:
            message = f"the same index stands in line {first[entry.index]}"
            yield Finding("index.twice", "warning", message, "gaeport indexes prune", path.name, entry.line)
        first.setdefault(entry.index, entry.line)
        if len(entry.index.properties) == 1 and not entry.index.ancestor and entry.index.properties[0][0] != "__key__":
            message = "an index of one property: every property has one built in, and the service refuses a second"
            yield Finding("index.single", "error", message, "remove it", path.name, entry.line)
