"""Runs the sections, each in a process of its own, and prints their tables."""

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib import import_module

from gaeport.devserver.emulator import Emulator
from gaeport.errors import ConfigurationError, EmulatorError
from tests.benchmarks.options import ROOT, Options, forget_variables
from tests.benchmarks.report import Section, as_markdown, as_text, machine, with_sections

SECTIONS = (
    "imports",
    "outside",
    "calls",
    "ratios",
    "engine",
    "server",
    "growth",
    "sessions",
    "overhead",
    "dal",
    "startup",
    "folders",
    "copies",
    "syncs",
    "peers",
)


def main() -> int:
    """Run what was asked for; returns 1 when a budget was missed and --strict asked to tell."""
    arguments = _parse()
    forget_variables()
    options = Options(arguments.emulator_host, arguments.copy_mb << 20, arguments.entities, arguments.files)
    options = replace(options, folder_files=arguments.folder_files)
    if arguments.only:
        _say(import_module(f"tests.benchmarks.{arguments.only}").measure(options).to_json())
        return 0
    names = arguments.sections or list(SECTIONS)
    with ExitStack() as stack:
        host = "" if arguments.no_emulator else _emulator(stack)
        emulator = "with Google's Firestore emulator (Datastore mode)" if host else "without emulator"
        sections = {name: (f"{machine()}; {emulator}", _section(name, host, options)) for name in names}
        return _finish(sections, arguments)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; by default all")
    parser.add_argument(
        "--markdown", metavar="FILE", help="also write the tables as Markdown, below FILE's marker line"
    )
    parser.add_argument("--no-emulator", action="store_true", help="leave Google's Firestore emulator out")
    parser.add_argument("--copy-mb", type=int, default=256, metavar="MB", help="size of the copied file (%(default)s)")
    parser.add_argument(
        "--entities", type=int, default=100_000, metavar="N", help="entities of a large Datastore (%(default)s)"
    )
    parser.add_argument("--files", type=int, default=20_000, metavar="N", help="files that are synced (%(default)s)")
    parser.add_argument(
        "--folder-files", type=int, default=100_000, metavar="N", help="files of a large folder (%(default)s)"
    )
    parser.add_argument(
        "--large",
        action="store_true",
        help="copy 1 GiB, fill a Datastore with 1,000,000 entities, and sync 200,000 files",
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 when a budget is missed")
    parser.add_argument("--only", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--emulator-host", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.large:
        arguments.copy_mb, arguments.entities, arguments.files = 1024, 1_000_000, 200_000
    for name in arguments.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; valid: {', '.join(SECTIONS)}")
    return arguments


def _emulator(stack: ExitStack) -> str:
    try:
        return stack.enter_context(Emulator("firestore")).host
    except (ConfigurationError, EmulatorError) as error:
        _say(f"without the Firestore emulator: {error}\n")
        return ""


def _section(name: str, host: str, options: Options) -> Section:
    start = time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks", "--only", name, "--emulator-host", host]
    command += ["--copy-mb", str(options.copy_bytes >> 20), "--entities", str(options.entities)]
    command += ["--files", str(options.files), "--folder-files", str(options.folder_files)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        section = Section(name, ("",))
        section.add(f"the measurement ended with code {done.returncode}", budget="ends with 0", kept=False)
    else:
        section = Section.from_json(done.stdout.splitlines()[-1])
    _say(f"{as_text(section)}  [{time.monotonic() - start:.0f} s]\n")
    return section


def _finish(sections: dict[str, tuple[str, Section]], arguments: argparse.Namespace) -> int:
    found = [section for _, section in sections.values()]
    missed = [(section.title, row.cells[0]) for section in found for row in section.rows if row.kept is False]
    _say(next(iter(sections.values()))[0])
    _say(f"{len(missed)} budgets missed" + "".join(f"\n  {title}: {row}" for title, row in missed))
    if arguments.markdown:
        pages = {name: as_markdown(section, about) for name, (about, section) in sections.items()}
        _write_markdown(arguments.markdown, pages)
    return 1 if missed and arguments.strict else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _write_markdown(path: str, sections: dict[str, str]) -> None:
    page = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            page = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(with_sections(page, sections, SECTIONS))


if __name__ == "__main__":
    sys.exit(main())
