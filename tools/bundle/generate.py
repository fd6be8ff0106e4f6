"""One list of what not to upload, written as .gcloudignore or as app.yaml's `skip_files`."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from gaeport.errors import ConfigurationError
from gaeport.settings import BundleSettings

from ..blocks import put
from .defaults import GROUPS, Group
from .patterns import IGNORE_FILE, Pattern, parse, parse_line
from .skip_files import expressions

APP_FILE = "app.yaml"
COMMAND = "gaeport bundle generate"
_KEY = "skip_files"


def groups(bundle: BundleSettings) -> list[Group]:
    """Return the patterns that gaeport.toml's `[bundle]` stands for, in order: the defaults, its own, what to keep."""
    found = list(GROUPS) if bundle.defaults else []
    if bundle.ignore:
        found.append(Group("gaeport.toml, [bundle] ignore", bundle.ignore))
    if bundle.keep:
        found.append(Group("gaeport.toml, [bundle] keep", tuple(f"!{line}" for line in bundle.keep)))
    return found


def lines(bundle: BundleSettings) -> Iterator[str]:
    """Yield the lines of a .gcloudignore for `[bundle]`, each ended; a comment says why before each group."""
    for number, group in enumerate(groups(bundle)):
        yield f"\n# {group.reason}\n" if number else f"# {group.reason}\n"
        yield from (f"{line}\n" for line in group.lines)


def patterns(bundle: BundleSettings) -> list[Pattern]:
    """Return the patterns of `[bundle]`."""
    parsed = (parse_line(line, "gaeport.toml") for group in groups(bundle) for line in group.lines)
    return [pattern for pattern in parsed if pattern is not None]


def generate(root: Path, bundle: BundleSettings) -> dict[Path, str]:
    """Return the files to write, with their new text: .gcloudignore, or app.yaml where its runtime takes skip_files.

    Lines of .gcloudignore outside the generated block stay, after it.

    Args:
        root: the application's folder.
        bundle: gaeport.toml's table.

    Raises:
        ConfigurationError: app.yaml is not YAML; or its runtime takes skip_files and a .gcloudignore lies beside it,
            which gcloud refuses.
    """
    app_file, ignore_file = root / APP_FILE, root / IGNORE_FILE
    app_text = app_file.read_text("utf-8") if app_file.exists() else ""
    if takes_skip_files(app_text):
        if ignore_file.exists():
            raise ConfigurationError(
                f"{ignore_file}: gcloud refuses it beside {_KEY}, which {APP_FILE}'s runtime takes; remove one of them"
            )
        return {app_file: _with_skip_files(app_text, patterns(bundle))}
    own = ignore_file.read_text("utf-8") if ignore_file.exists() else ""
    return {ignore_file: put(own, "".join(lines(bundle)), COMMAND)}


def takes_skip_files(app_yaml: str) -> bool:
    """Whether an app.yaml's runtime takes `skip_files`: Python 2.7's does, no Python 3 runtime does.

    Raises:
        ConfigurationError: the text is not YAML.
    """
    try:
        table = yaml.safe_load(app_yaml)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{APP_FILE}: is not YAML: {error}") from error
    return isinstance(table, dict) and table.get("runtime") == "python27"


def parse_generated(root: Path, bundle: BundleSettings) -> list[Pattern]:
    """Return the patterns that would count after `generate`. Raises ConfigurationError as generate() does."""
    for path, text in generate(root, bundle).items():
        if path.name == IGNORE_FILE:
            return parse(text, root)
    return patterns(bundle)


def _with_skip_files(text: str, found: list[Pattern]) -> str:
    """Return app.yaml with its `skip_files` replaced or put at the end, everything else as it was."""
    block = f"{_KEY}:\n" + "".join(f"- '{regex.replace(chr(39), chr(39) * 2)}'\n" for regex in expressions(found))
    node = yaml.compose(text)
    if isinstance(node, yaml.MappingNode):
        starts = [key.start_mark.line for key, _ in node.value]
        for (key, _), start, end in zip(node.value, starts, [*starts[1:], None], strict=True):
            if key.value == _KEY:
                kept = text.splitlines(keepends=True)
                tail = kept[start:end]
                comments = len(tail) - len(re.sub(r"(?:\A|(?<=\n))(?:#[^\n]*\n|\n)+\Z", "", "".join(tail)).splitlines())
                return "".join([*kept[:start], block, *tail[len(tail) - comments :], *(kept[end:] if end else [])])
    return f"{text.rstrip()}\n\n{block}" if text.strip() else block
