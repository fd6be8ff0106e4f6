"""Several processes on one Datastore: a unique value stays one row's."""

import subprocess
import sys
from pathlib import Path

import pytest

import gaeport
from gaeport.dal import DAL, Field

_PROCESSES, _EACH = 4, 25
_SCRIPT = """
import sys, threading
import gaeport
from gaeport.dal import DAL, Field, IntegrityError, TransactionConflict

gaeport.configure(data=sys.argv[1])
uri, count = sys.argv[2], int(sys.argv[3])
refused = []

def register():
    db = DAL(uri, migrate=False)
    db.define_table("auth_user", Field("email", unique=True), Field("name"))
    try:
        db.auth_user.insert(email="ada@example.com", name="Ada")
        db.commit()
    except (IntegrityError, TransactionConflict):
        refused.append(1)
    finally:
        db._adapter.close(None)

print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=register) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(refused), flush=True)
"""


def start(folder: Path, uri: str) -> "subprocess.Popen[str]":
    """Start a process that waits for a line before it registers."""
    command = [sys.executable, "-c", _SCRIPT, str(folder), uri, str(_EACH)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "uri", ["datastore://", pytest.param("datastore://?buffer=request&ids=time", marks=pytest.mark.long)]
)
def test_of_a_hundred_registrations_at_once_with_one_address_one_gets_an_account(tmp_path: Path, uri: str) -> None:
    gaeport.configure(data=str(tmp_path))
    processes = [start(tmp_path, uri) for _ in range(_PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert sum(int(answer) for answer in answers) == _PROCESSES * _EACH - 1
    db = DAL(uri, migrate=False)
    db.define_table("auth_user", Field("email", unique=True), Field("name"))
    assert db(db.auth_user.email == "ada@example.com").count() == 1
    assert db(db.auth_user).count() == 1
    db.close()
