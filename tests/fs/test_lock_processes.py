"""Locks between processes on one store: never two holders, and a killed holder's lock is free after the lease time."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fs.processes import Start, proceed, run, run_all, starter

PRELUDE = """\
import fcntl, os, sys, time
import gaeport
from gaeport.fs.datastore import leases
leases.SECONDS = 1.5
gaeport.mount("data")
print("ready", flush=True)
sys.stdin.readline()
"""

COUNTING = """
    for _ in range(int(sys.argv[1])):
        with open("data/counter", "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.close(os.open("held", os.O_CREAT | os.O_EXCL))  # on the disk: fails where another holds the lock
            number = int(file.read())
            file.seek(0)
            file.write(str(number + 1))
            os.unlink("held")
    """


@pytest.fixture
def start(each_datastore: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a process that has `data` mounted, a lease time of 1.5 s, and runs a script when it is told to go."""
    with starter(tmp_path, each_datastore, PRELUDE) as begin:
        yield begin


@pytest.mark.parametrize(("processes", "rounds"), [(3, 4), pytest.param(8, 25, marks=pytest.mark.long)])
def test_a_lock_never_has_two_holders(start: Start, processes: int, rounds: int) -> None:
    run(start("open('data/counter', 'w').write('0')"))
    run_all([start(COUNTING, str(rounds)) for _ in range(processes)], 240)
    assert run(start("print(open('data/counter').read())")) == str(processes * rounds)


def test_a_killed_holders_lock_is_free_after_the_lease_time(start: Start) -> None:
    victim = start(
        """
        file = open("data/f", "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        print("locked", flush=True)
        sys.stdin.readline()
        """
    )
    heir = start(
        """
        file = open("data/f", "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("refused", flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
        print("got it", flush=True)
        """
    )
    assert proceed(victim) == "locked"
    assert proceed(heir) == "refused"
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    killed = time.monotonic()
    assert heir.stdout is not None
    assert heir.stdout.readline() == "got it\n"
    assert time.monotonic() - killed < 60  # 1.5 s and a poll on a quiet machine


def test_a_process_that_was_stopped_and_lost_its_lock_cannot_write(start: Start) -> None:
    sleeper = start(
        """
        file = open("data/f", "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("the sleeper's")
        print("locked", flush=True)
        sys.stdin.readline()
        try:
            file.close()
        except OSError as error:
            print(error, flush=True)
        """
    )
    assert proceed(sleeper) == "locked"
    sleeper.send_signal(signal.SIGSTOP)
    heir = start(
        """
        with open("data/f", "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write("the heir's")
        """
    )
    run(heir)
    sleeper.send_signal(signal.SIGCONT)
    assert "lock was lost" in run(sleeper)
    assert run(start("print(open('data/f').read())")) == "the heir's"


def test_the_lock_of_a_process_that_ends_is_free_at_once(start: Start) -> None:
    run(start("open('data/f', 'w').close(); file = open('data/f'); fcntl.flock(file, fcntl.LOCK_SH)"))
    run(start("fcntl.flock(open('data/f'), fcntl.LOCK_EX | fcntl.LOCK_NB)"))


def test_a_child_that_closes_what_it_inherited_leaves_the_lock_to_its_parent(start: Start) -> None:
    script = """
        open("data/f", "w").close()
        file = open("data/f")
        fcntl.flock(file, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            file.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("held", flush=True)
        sys.stdin.readline()
        """
    holder = start(script)
    assert proceed(holder) == "held"
    contender = """
        try:
            fcntl.flock(open("data/f"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("refused")
        """
    assert run(start(contender)) == "refused"
