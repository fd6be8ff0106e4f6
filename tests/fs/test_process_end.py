"""What the end of a process, orderly or not, leaves in the store."""

import subprocess
import sys
import textwrap
from pathlib import Path


def run(folder: Path, body: str) -> "subprocess.CompletedProcess[str]":
    lines = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        import gaeport
        gaeport.configure(root={str(folder)!r}, data="store")
        gaeport.mount({str(folder / "uploads")!r})
        os.chdir({str(folder / "uploads")!r})
    """
    script = textwrap.dedent(lines) + textwrap.dedent(body)
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_open_is_committed_at_an_orderly_end(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        log, note = open("log", "a"), open("note", "w")
        log.write("buffered"); note.write("new")
        fd = os.open("fd", os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"by descriptor")
        os.mkdir("folder")
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = run(tmp_path, "print([open(n).read() for n in ('log', 'note', 'fd')], sorted(os.listdir()))")
    assert done.stdout == "['buffered', 'new', 'by descriptor'] ['fd', 'folder', 'log', 'note']\n", done.stderr


def test_a_killed_process_leaves_the_old_content_whole(tmp_path: Path) -> None:
    run(tmp_path, "open('note', 'w').write('old')")
    killed = run(
        tmp_path,
        """
        note = open("note", "w")
        note.write("half"); note.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert killed.returncode == -9, killed.stderr
    assert run(tmp_path, "print(open('note').read())").stdout == "old\n"


def test_a_forked_child_commits_for_itself_and_not_what_its_parent_has_open(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        log = open("log", "a", buffering=1)
        log.write("parent\\n")
        if os.fork() == 0:
            child = open("child", "w")
            child.write("child")
            sys.exit(0)
        os.wait()
        log.write("parent again\\n")
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = run(tmp_path, "print([open(n).read() for n in ('log', 'child')])")
    assert done.stdout == "['parent\\nparent again\\n', 'child']\n", done.stderr


def test_children_forked_while_other_threads_write_neither_hang_nor_write_for_them(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # since 3.12: a fork amid threads, which this is about
        for name in ("one", "two"):  # both are there at the first fork, whenever the threads come to them
            open(name, "w").close()  # and everything is imported: a fork amid an import hangs, whoever imports
        ended = threading.Event()

        def write(name):
            with open(name, "a", buffering=1) as file:
                count = 0
                while not ended.is_set():
                    file.write(f"{name}{count}\\n")
                    os.fsync(file)
                    count += 1
                    ended.wait(0.02)  # others get their turn at the file

        threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for number in range(3):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                with open("one", "a") as file:
                    file.write(f"child{number}\\n")
                os.stat("two")
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        ended.set()
        for thread in threads:
            thread.join()
        for name in ("one", "two"):
            lines = open(name).read().splitlines()
            mine = [line for line in lines if line.startswith(name)]
            assert mine == [f"{name}{count}" for count in range(len(mine))], name
            assert len(lines) == len(mine) + (3 if name == "one" else 0)
        """,
    )
    assert (done.returncode, done.stderr) == (0, "")
