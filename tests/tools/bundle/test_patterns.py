"""A .gcloudignore selects here what it selects for gcloud."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaeport.errors import ConfigurationError
from tests.tools.bundle import oracle, trees
from tools.bundle import patterns, skip_files, tree

LONG = bool(os.environ.get("GAEPORT_REQUIRE_SERVERS"))


def going(lines: str, *paths: str) -> list[str]:
    """Return the files that a .gcloudignore lets through."""
    parsed = patterns.parse(lines)
    return [path for path in paths if patterns.deciding(parsed, path.split("/"), folder=False) is None]


@pytest.mark.parametrize(
    ("lines", "path", "goes"),
    [
        ("*.pyc", "a/b/c.pyc", False),
        ("/a", "a", False),
        ("/a", "b/a", True),
        ("a/", "a", True),
        ("a/", "a/b", False),
        ("a/b", "x/a/b", False),
        ("/a/b", "x/a/b", True),
        ("a/**", "x/a/b", True),
        ("a/**", "a/b/c", False),
        ("**/b", "x/y/b", False),
        ("a/**/b", "a/x/y/b", False),
        ("*.key\n!auth.key", "auth.key", True),
        ("*.key\n!private/auth.key", "x/private/auth.key", True),
        ("*.key\n!private/auth.key", "auth.key", False),
        ("a/\n!a/b", "a/b", False),
        ("#a", "#a", True),
        ("\\#a", "#a", False),
        ("\\!a", "!a", False),
        ("a  ", "a", False),
        ("a\\ ", "a ", False),
        ("a\\", "a\\", True),
        ("[ab].py", "b.py", False),
        ("[!a].py", "a.py", True),
        ("*/b", "a/b", False),
        ("*/b", "b", False),
        ("?", "é", False),
    ],
)
def test_a_line_selects(lines: str, path: str, goes: bool) -> None:
    assert (going(lines, path) == [path]) is goes


def test_an_included_file_counts_where_the_line_stands_and_its_own_inclusions_do_not(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n#!include:other\n")
    (tmp_path / ".gcloudignore").write_text("#!include:.gitignore\n!keep.log\n")
    assert [(found.text, found.file, found.line) for found in patterns.load(tmp_path)] == [
        ("*.log", ".gitignore", 1),
        ("!keep.log", ".gcloudignore", 2),
    ]


@pytest.mark.parametrize(("line", "words"), [("#!include:none", "none"), ("#!include:a/b", "same folder")])
def test_an_included_file_that_gcloud_would_refuse_is_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / ".gcloudignore").write_text(f"\n{line}\n")
    with pytest.raises(ConfigurationError, match=rf"\.gcloudignore:2.*{words}"):
        patterns.load(tmp_path)


def test_without_an_ignore_file_gclouds_own_default_counts(tmp_path: Path) -> None:
    for name in (".env", ".git", "main.py", "setup.cfg"):
        (tmp_path / name).touch()
    assert [entry.path for entry in tree.uploaded(tmp_path, patterns.load(tmp_path))] == [".env", "main.py"]


def test_a_link_to_a_folder_above_is_refused_as_gcloud_does(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(OSError, match="leads to a folder that it is in"):
        tree.uploaded(tmp_path, [])


def grown(folder: Path, count: int, *, deep: bool = True) -> list[Path]:
    """Return so many random folders, each with an ignore list."""
    made = []
    for seed in range(count):
        path = folder / str(seed)
        path.mkdir()
        trees.grow(path, random.Random(seed))
        (path / ".gcloudignore").write_text(trees.lines(random.Random(seed), deep=deep))
        made.append(path)
    return made


def listed(folder: Path) -> list[str]:
    """Return what would be uploaded, in the order of gcloud's answers."""
    return sorted(entry.path for entry in tree.uploaded(folder, patterns.load(folder)))


def test_300_random_folders_give_what_gcloud_gives(tmp_path: Path, sdk: Path) -> None:
    folders = grown(tmp_path, 300)
    command = [sys.executable, oracle.__file__, str(sdk), *map(str, folders)]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert {str(folder): listed(folder) for folder in folders} == answers


@pytest.mark.long
def test_the_command_of_gcloud_itself_lists_the_same(tmp_path: Path, sdk: Path) -> None:
    for folder in grown(tmp_path, 5):
        command = [str(sdk / "bin" / "gcloud"), "meta", "list-files-for-upload", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert sorted(done.stdout.split("\n")[:-1]) == listed(folder), (folder / ".gcloudignore").read_text()


def by_expressions(root: Path, expressions: list[str]) -> list[str]:
    """Return what is uploaded under skip_files: a folder or file whose path matches is left out."""
    skip = re.compile("|".join(expressions) if expressions else "(?!)")
    found, waiting = [], [root]
    while waiting:
        for path in waiting.pop().iterdir():
            name = path.relative_to(root).as_posix()
            if skip.match(name):
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                found.append(name)
    return sorted(found)


def test_skip_files_expressions_select_the_same_files(tmp_path: Path) -> None:
    compared = 0
    for folder in grown(tmp_path, 300):
        try:
            expressions = skip_files.expressions(patterns.load(folder))
        except ConfigurationError:
            continue
        compared += 1
        assert by_expressions(folder, expressions) == listed(folder), (folder / ".gcloudignore").read_text()
    assert compared > 200


def test_what_skip_files_cannot_say_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\.gcloudignore:1: a/\*\*/b: "):
        skip_files.expressions(patterns.parse("a/**/b\n!c\n"))
    with pytest.raises(ConfigurationError, match="takes back only folders"):
        skip_files.expressions(patterns.parse("*\n!c/\n"))
