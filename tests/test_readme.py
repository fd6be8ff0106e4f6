"""What README and docs print runs as printed (files, commands, settings, Python), and they leave no option out."""

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from gaeport import cli, settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PATIENCE = 60.0  # seconds for a server to start on a busy machine


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the file it is printed as (if any) and where it is."""

    language: str
    text: str
    file: str | None
    place: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    pattern = re.compile(r"(?:^`([\w./-]+)`[^\n]*:\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        Block(match[2], match[3], match[1], f"{page.name}:{text.count(chr(10), 0, match.start(2)) + 1}")
        for match in pattern.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [(line, block.place) for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]


def named(language: str) -> list[object]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language == language]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """The folder that README's steps make, all its files as printed."""
    for block in blocks_of(ROOT / "README.md"):
        if block.file:
            (tmp_path / block.file).write_text(block.text, "utf-8")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("HOME", "PATH", "SYSTEMROOT", "TMPDIR")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


@pytest.fixture
def served(notes: Path) -> Iterator[str]:
    """The URL of README's application under `gaeport serve`, on a free port."""
    log = notes.parent / "serve.log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "gaeport", "serve", "--port", "0"]
        server = subprocess.Popen(command, cwd=notes, env=environment(), stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"serving on (http://\S+)", log.read_text())) is None:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        server.terminate()
        server.wait()


def test_the_readme_s_steps_make_every_file_that_is_deployed(notes: Path) -> None:
    assert {path.name for path in notes.iterdir()} >= {
        ".gcloudignore",
        "app.yaml",
        "gaeport.toml",
        "main.py",
        "notes.py",
        "requirements.txt",
    }


def test_the_readme_s_application_keeps_notes_as_its_curl_lines_show(served: str, notes: Path) -> None:
    answers = []
    for line, place in COMMANDS:
        if line.startswith("curl ") and place.startswith("README"):
            words = shlex.split(line)[1:]
            data = words[words.index("-d") + 1].encode() if "-d" in words else None
            url = words[-1].replace("http://127.0.0.1:8080", served.rstrip("/"))
            with urllib.request.urlopen(url, data, timeout=30) as answer:
                answers.append(answer.read().decode())
    assert answers[-1] == "bread and milk\ncall Ann\n"
    assert not (notes / "data").exists()


def test_the_readme_s_main_serves_the_same_application(notes: Path) -> None:
    code = "import main, webtest; print(webtest.TestApp(main.app).get('/').text)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, cwd=notes, env=environment(GAEPORT_DATA=":memory:"), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "no notes yet", done.stderr


def test_make_has_the_verbs_that_the_pages_use() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    used = {line.split()[1] for line, _ in COMMANDS if line.startswith("make ")}
    assert used >= {"run", "test"}
    assert all(re.search(rf"^{verb}:", makefile, re.MULTILINE) for verb in used)


@pytest.mark.parametrize(
    "line", sorted({line for line, _ in COMMANDS if line.startswith("gaeport ")}), ids=lambda line: line
)
def test_every_gaeport_command_that_is_printed_is_one(line: str) -> None:
    cli.build_parser().parse_args(shlex.split(line)[1:])


@pytest.mark.parametrize("block", named("toml"))
def test_every_toml_block_is_a_valid_gaeport_toml(block: Block, tmp_path: Path) -> None:
    settings.parse(tomllib.loads(block.text), root=tmp_path, place=block.place)


@pytest.mark.parametrize("block", named("yaml"))
def test_every_yaml_block_is_a_valid_app_yaml(block: Block, tmp_path: Path) -> None:
    from gaeport.devserver import appyaml

    (tmp_path / "app.yaml").write_text(block.text, "utf-8")
    assert appyaml.load(tmp_path).runtime.startswith("python3")


@pytest.mark.parametrize("block", named("python"))
def test_every_python_block_runs(block: Block, notes: Path) -> None:
    path = notes / (block.file or "block.py")
    path.write_text(block.text, "utf-8")
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", path.name] if "pytest" in block.text else [path.name]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=notes,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.place}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_that_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).is_file(), target


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT).as_posix()})" in readme


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def test_every_command_and_option_is_documented() -> None:
    page = "".join(page.read_text("utf-8") for page in PAGES[1:])
    parser = cli.build_parser()
    commands = _subparsers(parser)
    for name in commands:
        assert f"## gaeport {name}" in page
    for each in (parser, *commands.values()):
        for action in each._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help") or f"`{option}" in page, option


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for kind in (
        settings.Settings,
        settings.MountSettings,
        settings.SessionSettings,
        settings.CacheSettings,
        settings.StatsSettings,
        settings.LimitsSettings,
        settings.PriceSettings,
        settings.ConsoleSettings,
        settings.TicketSettings,
        settings.BundleSettings,
    ):
        for item in fields(kind):
            if item.name not in settings.NOT_IN_FILE:
                assert f"| `{item.name.rstrip('_')}` |" in page, item.name
