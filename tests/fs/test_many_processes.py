"""Eight processes at one file: nothing is lost, nobody waits for long. GAEPORT_LONG=1 gives the full counts."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.processes import Start, run, run_all, starter

PROCESSES = 8
LONG = os.environ.get("GAEPORT_LONG") == "1"
LINES = 1000 if LONG else 40
ON_AN_EMULATOR = 100 if LONG else 8
LONGEST_WAIT = 5.0  # seconds; measured: 0.7 s on a busy machine, and 10 s without turns


@pytest.fixture
def store(each_datastore: str, tmp_path: Path) -> Iterator[tuple[Start, int]]:
    """Starts processes; and how often each does its work."""
    with starter(tmp_path, each_datastore) as begin:
        yield begin, ON_AN_EMULATOR if each_datastore else LINES


APPENDING = """
    for number in range(int(sys.argv[2])):
        with open("data/log", "a") as file:
            print("process", sys.argv[1], "line", number, "." * (number % 50), file=file)
    """


@pytest.mark.long
def test_every_line_that_8_processes_append_is_there_and_whole(store: tuple[Start, int]) -> None:
    start, lines = store
    run_all([start(APPENDING, str(process), str(lines)) for process in range(PROCESSES)], 600)
    found = run(start("print(open('data/log').read())")).splitlines()
    expected = [(str(process), str(number)) for process in range(PROCESSES) for number in range(lines)]
    assert len(found) == len(expected)
    told = [line.split(" ") for line in found]
    assert sorted((words[1], words[3]) for words in told) == sorted(expected)
    assert all(len(words[4]) == int(words[3]) % 50 for words in told)
    for process in range(PROCESSES):  # and each one's in its order
        mine = [int(words[3]) for words in told if words[1] == str(process)]
        assert mine == sorted(mine)


RANGES = """
    number, rounds = int(sys.argv[1]), int(sys.argv[2])
    for turn in range(rounds):
        with open("data/f", "r+b") as file:
            file.seek(number * 5000 + turn * (5000 // rounds))
            file.write(bytes([65 + number]) * (5000 // rounds))
    """


@pytest.mark.long
def test_the_ranges_that_8_processes_write_are_all_there(store: tuple[Start, int]) -> None:
    start, rounds = store
    rounds //= 4
    run(start("open('data/f', 'wb').write(b'.' * 50000)"))
    run_all([start(RANGES, str(process), str(rounds)) for process in range(PROCESSES)], 600)
    found = run(start("print(open('data/f').read())"))
    written = 5000 // rounds * rounds
    expected = "".join((chr(65 + process) * written).ljust(5000, ".") for process in range(PROCESSES))
    assert found == expected.ljust(50_000, ".")


BUSY = """
    import time
    end = time.monotonic() + float(sys.argv[1])
    with open("data/log", "ab", 0) as file:
        while time.monotonic() < end:
            file.write(b"busy\\n")
            os.fsync(file)
    """

WAITING = """
    import time
    longest, count, end = 0.0, 0, time.monotonic() + float(sys.argv[1]) - 1
    while time.monotonic() < end:
        began = time.monotonic()
        with open("data/log", "ab", 0) as file:
            file.write(b"mine\\n")
        longest, count = max(longest, time.monotonic() - began), count + 1
        time.sleep(0.02)
    print(longest, count)
    """


@pytest.mark.long
def test_who_commits_one_file_without_pause_lets_others_through(tmp_path: Path) -> None:
    with starter(tmp_path) as start:
        run(start("open('data/log', 'w').close()"))
        seconds = "20" if LONG else "5"
        told = run_all([start(BUSY, seconds), start(WAITING, seconds), start(WAITING, seconds)])
        waits = [line.split() for line in told[1:]]
        assert max(float(longest) for longest, _ in waits) < LONGEST_WAIT
        lines = run(start("print(open('data/log').read())")).splitlines()
        assert lines.count("mine") == sum(int(count) for _, count in waits)
