"""Every function of `os`: what it does on a mounted folder is what it does on a folder of the disk.

The tables name each function that this Python has. One that takes a path or a descriptor must have a probe, which runs
on both folders.
"""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gaeport.fs.volume import Volume
from tests.fs import os_descriptors, os_paths
from tests.fs.probing import DIFFERENT, put, raised

PROBES = os_paths.PROBES | os_descriptors.PROBES


@pytest.mark.parametrize("name", PROBES)
def test_it_does_what_it_does_on_the_disk(everywhere: Path, beside: Path, any_volume: Volume, name: str) -> None:
    if name in DIFFERENT.get(type(any_volume).__name__, ()):
        pytest.skip("the documents name a difference")
    assert PROBES[name](str(everywhere)) == PROBES[name](str(beside))


# The table

MOUNT = """access chdir chmod chown fchdir fchmod fchown fdatasync fsync fstat fstatvfs getcwd getcwdb
    getxattr lchown link listdir listxattr lstat mkdir open pathconf readlink remove removexattr
    rename replace rmdir scandir stat statvfs symlink sync truncate unlink utime close closerange
    copy_file_range dup dup2 lockf"""
REFUSED = {"setxattr": "ENOTSUP", "mkfifo": "EPERM", "mknod": "EPERM"}  # in a mount; docs/files.md says so
BUILT_ON_THEM = "fdopen fwalk makedirs removedirs renames walk"
KERNEL = """device_encoding fpathconf ftruncate get_blocking get_inheritable get_terminal_size isatty lseek
    posix_fadvise posix_fallocate pread preadv pwrite pwritev read readv sendfile set_blocking set_inheritable
    splice tcgetpgrp ttyname write writev readinto"""
PROGRAMS = """execl execle execlp execlpe execv execve execvp execvpe popen posix_spawn posix_spawnp spawnl
    spawnle spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe system"""
NO_FILES = """WCOREDUMP WEXITSTATUS WIFCONTINUED WIFEXITED WIFSIGNALED WIFSTOPPED WSTOPSIG WTERMSIG abort chroot
    confstr cpu_count ctermid eventfd eventfd_read eventfd_write fork forkpty fsdecode fsencode fspath
    get_exec_path getegid getenv getenvb geteuid getgid getgrouplist getgroups getloadavg getlogin getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresuid getsid getuid grantpt initgroups kill
    killpg login_tty major makedev memfd_create minor nice openpty pidfd_open pipe pipe2 posix_openpt
    process_cpu_count ptsname putenv register_at_fork reload_environ sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_rr_get_interval
    sched_setaffinity sched_setparam sched_setscheduler sched_yield setegid seteuid setgid setgroups setns
    setpgid setpgrp setpriority setregid setresgid setresuid setreuid setsid setuid strerror sysconf tcsetpgrp
    timerfd_create timerfd_gettime timerfd_gettime_ns timerfd_settime timerfd_settime_ns times umask uname
    unlockpt unsetenv unshare urandom wait wait3 wait4 waitid waitpid waitstatus_to_exitcode"""


def functions_of_os() -> set[str]:
    names = [name for name in dir(os) if not name.startswith("_") and callable(getattr(os, name))]
    return {name for name in names if not isinstance(getattr(os, name), type)}


@pytest.mark.skipif(sys.platform != "linux", reason="the table is of the functions that Linux has")
def test_every_function_of_os_is_in_the_table() -> None:
    tables = [set(table.split()) for table in (MOUNT, " ".join(REFUSED), BUILT_ON_THEM, KERNEL, PROGRAMS, NO_FILES)]
    assert functions_of_os() - set.union(*tables) == set()
    assert sum(map(len, tables)) == len(set.union(*tables)), "a function is in two tables"


def test_every_function_of_a_path_or_descriptor_has_a_probe() -> None:
    code = "".join(inspect.getsource(function) for function in PROBES.values())
    wanted = functions_of_os() & {*MOUNT.split(), *BUILT_ON_THEM.split(), *KERNEL.split()}
    assert sorted(name for name in wanted if f"os.{name}" not in code) == []


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows lack some of them")
def test_what_is_refused_in_a_mount_has_the_errno_that_the_documents_name(everywhere: Path) -> None:
    path = put(f"{everywhere}/a")
    assert raised(os.setxattr, path, "user.x", b"1") == REFUSED["setxattr"]
    assert raised(os.mkfifo, f"{everywhere}/b") == REFUSED["mkfifo"]
    assert raised(os.mknod, f"{everywhere}/b") == REFUSED["mknod"]


def test_every_function_of_a_path_is_replaced_in_a_mount(mounted: Path) -> None:
    assert [
        name
        for name in sorted(functions_of_os() & set(MOUNT.split()))
        if type(getattr(os, name)).__name__ != "Function"
    ] == []


# Programs


@pytest.fixture
def only_in_the_mount(everywhere: Path) -> Path:
    """A folder with a program in it that the disk does not have."""
    (everywhere / "d").mkdir()
    (everywhere / "d" / "tool").write_text("#!/bin/sh\necho ran\n")
    (everywhere / "d" / "tool").chmod(0o755)
    return everywhere / "d"


def test_a_program_is_not_started_in_a_mounted_folder_and_the_error_says_why(only_in_the_mount: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a program sees the disk and not the mount") as caught:
        subprocess.run([sys.executable, "--version"], cwd=only_in_the_mount, check=False)
    assert caught.value.filename == str(only_in_the_mount)


@pytest.mark.parametrize(
    "start",
    [
        lambda path: subprocess.run([path], check=False),
        lambda path: os.execv(path, [path]),
        lambda path: os.execve(path, [path], {}),
        lambda path: os.posix_spawn(path, [path], {}),
    ],
)
def test_a_program_in_a_mount_is_not_loaded_and_the_error_says_why(only_in_the_mount: Path, start: Any) -> None:
    with pytest.raises(PermissionError, match="programs are loaded from the disk"):
        start(str(only_in_the_mount / "tool"))


def test_programs_outside_and_deployed_ones_start_as_ever(everywhere: Path, beside: Path) -> None:
    (beside / "tool").write_text("#!/bin/sh\necho ran\n")
    (beside / "tool").chmod(0o755)
    assert subprocess.run([beside / "tool"], cwd=beside, capture_output=True, check=True).stdout == b"ran\n"
    assert subprocess.run(["true"], cwd=everywhere, check=False).returncode == 0  # the disk has this folder, too
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        subprocess.run([everywhere / "none"], check=False)
