"""What several processes on one store see of each other, through Python's own functions."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.processes import Start, proceed, run, run_all, starter


@pytest.fixture
def start(each_datastore: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a process that has `data` mounted and runs a script when it is told to go."""
    with starter(tmp_path, each_datastore) as begin:
        yield begin


def read(start: Start, name: str) -> str:
    """Return a file's content as a new process reads it."""
    return run(start(f"print(open('data/{name}').read())"))


def test_a_file_closed_in_one_process_is_read_in_another_at_once(start: Start) -> None:
    writer = start(
        """
        for number in range(3):
            with open("data/f", "w") as file:
                file.write(f"round {number}")
            print("written", flush=True)
            sys.stdin.readline()
        """
    )
    reader = start(
        """
        while True:
            print(open("data/f").read(), flush=True)
            sys.stdin.readline()
        """
    )
    for number in range(3):
        assert proceed(writer) == "written"
        assert proceed(reader) == f"round {number}"


def test_exclusive_open_has_one_winner_among_8_processes(start: Start) -> None:
    script = """
        try:
            with open("data/lock", "x") as file:
                file.write(sys.argv[1])
            print("won")
        except FileExistsError:
            print("lost")
        """
    processes = [start(script, str(number)) for number in range(8)]
    results = run_all(processes)
    assert sorted(results) == ["lost"] * 7 + ["won"]
    assert read(start, "lock") == str(results.index("won"))


def test_a_process_killed_between_write_and_close_leaves_the_old_content(start: Start) -> None:
    run(start("open('data/f', 'w').write('old')"))
    victim = start(
        """
        file = open("data/f", "w")
        file.write("new" * 100_000)
        file.flush()
        print("flushed", flush=True)
        sys.stdin.readline()
        """
    )
    assert proceed(victim) == "flushed"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert read(start, "f") == "old"


def test_fsync_commits_what_was_written_so_far(start: Start) -> None:
    victim = start(
        """
        file = open("data/f", "w")
        file.write("synced")
        file.flush()
        os.fsync(file.fileno())
        file.write(" and lost")
        file.flush()
        print("synced", flush=True)
        sys.stdin.readline()
        """
    )
    assert proceed(victim) == "synced"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert read(start, "f") == "synced"


def test_appends_from_several_processes_are_all_kept(start: Start) -> None:
    script = """
        for number in range(25):
            with open("data/log", "a") as file:
                print(sys.argv[1], number, file=file)
        """
    processes = [start(script, str(number)) for number in range(4)]
    run_all(processes)
    lines = read(start, "log").splitlines()
    assert sorted(lines) == sorted(f"{process} {number}" for process in range(4) for number in range(25))


def test_a_forked_child_shares_the_files(start: Start) -> None:
    script = """
        with open("data/f", "w") as file:
            file.write("parent")
        child = os.fork()
        if child == 0:
            with open("data/f", "a") as file:
                file.write(" and child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(open("data/f").read())
        """
    assert run(start(script)) == "parent and child"
