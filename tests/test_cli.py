"""The command line: help like a manual, clear exit codes, settings put over gaeport.toml's."""

import argparse
import sys
from pathlib import Path

import pytest

from gaeport import __version__, cli, settings
from tests.devserver.serving import run


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = cli.build_parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no commands")


def arguments(*given: str) -> argparse.Namespace:
    return cli.build_parser().parse_args(given)


@pytest.mark.parametrize("name", commands())
def test_a_commands_help_says_what_it_does_with_examples_and_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main([name, "--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    for part in ("usage: gaeport " + name, "examples:", "exit codes:"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for name in commands():
        assert f"    {name} " in text


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"gaeport {__version__}\n"


@pytest.mark.parametrize(
    "given",
    [[], ["nonsense"], ["serve", "--port", "70000"], ["serve", "--port", "x"], ["serve", "--emulator", "x"], ["run"]],
)
def test_wrong_usage_exits_with_2(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        sys.exit(cli.main(given))
    assert leaving.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("ap = 'x'", "unknown key 'ap'"),
        ("app = 3", "app = 3 must be"),
        ("=", "is not TOML"),
        ("[[mount]]\npath = 'shop.py'\n", "shop.py"),
        ("[[mount]]\npath = 'a'\n[[mount]]\npath = 'a/b'\n", "a/b"),
    ],
)
@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["run", "python", "-c", "pass"]])
def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path, toml: str, words: str, command: list[str]) -> None:
    (tmp_path / "gaeport.toml").write_text(toml)
    (tmp_path / "shop.py").write_text("")
    done = run(tmp_path, *command)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("gaeport: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["workers", "threads"])
def test_a_count_below_one_is_refused(project: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", f"--{option}", "0"]) == 2
    assert capsys.readouterr().err == f"gaeport: --{option} must be 1 or more\n"


def test_options_are_put_over_gaeport_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gaeport.toml").write_text('project = "from-file"\ndatabase = "d"\nnamespace = "n"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "_current", None)
    config = cli.read_settings(arguments("--namespace", "m", "run", "x"))
    assert (config.project, config.database, config.namespace) == ("from-file", "d", "m")
    assert config.environment == "embedded"


def test_a_project_on_the_command_line_means_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "_current", None)
    config = cli.read_settings(arguments("--project", "shop-123", "run", "x"))
    assert (config.project, config.environment) == ("shop-123", "production")
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    assert config.environment == "emulator"


def test_an_interrupt_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("gaeport.cli.run._run", interrupted)
    assert cli.main(["run", "x"]) == 130
