"""What the functions of `os` that take descriptors do in a folder."""

import mmap
import os
import socket
from typing import Any

from tests.fs.probing import Probe, got, put, raised

PROBES: dict[str, Probe] = {}
FREE = 900  # not in use from here on: a number that was closed may be another thread's at once


def probe(function: Probe) -> Probe:
    """Run a function on both folders; what it returns must be the same."""
    PROBES[function.__name__] = function
    return function


# Descriptors


@probe
def reading_and_writing(root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    answers: list[Any] = [os.write(fd, b"0123456789"), os.pwrite(fd, b"AB", 2), os.pread(fd, 4, 1), os.lseek(fd, 0, 0)]
    buffers = [bytearray(2), bytearray(3)]
    answers += [
        os.readv(fd, buffers),
        buffers,
        os.writev(fd, [b"x", b"yz"]),
        os.preadv(fd, buffers, 0),
        bytes(buffers[1]),
    ]
    answers += [os.pwritev(fd, [b"P", b"Q"], 8), os.read(fd, 100), os.lseek(fd, 0, os.SEEK_END), got(f"{root}/a")]
    answers += [os.lseek(fd, 3, os.SEEK_DATA), os.lseek(fd, 3, os.SEEK_HOLE), raised(os.lseek, fd, 99, os.SEEK_DATA)]
    os.posix_fallocate(fd, 0, 20)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    os.fsync(fd)
    os.fdatasync(fd)
    os.sync()
    answers += [
        os.fstat(fd).st_size,
        os.isatty(fd),
        os.get_blocking(fd),
        os.device_encoding(fd),
        raised(os.ttyname, fd),
    ]
    answers += [raised(os.get_terminal_size, fd), raised(os.tcgetpgrp, fd), raised(os.lseek, fd, -1, 0)]
    os.set_blocking(fd, True)
    os.dup2(fd, FREE)
    os.close(fd)
    os.close(FREE)
    return answers, got(f"{root}/a"), raised(os.close, FREE), raised(os.fstat, FREE), raised(os.write, FREE, b"")


@probe
def flags_of_open(root: str) -> Any:
    put(f"{root}/a", b"abc")
    os.mkdir(f"{root}/d")
    os.symlink("a", f"{root}/l")
    os.symlink("none", f"{root}/m")
    r, w, c, x = os.O_RDONLY, os.O_WRONLY, os.O_CREAT, os.O_EXCL
    tried = [
        ("d", w),
        ("d", c),
        ("d", c | x),
        ("none", r),
        ("a/", r),
        ("a/b", c | w),
        ("a", os.O_DIRECTORY),
        ("l", os.O_NOFOLLOW),
    ]
    tried += [
        ("a", c | x),
        ("l", c | x),
        ("m", c | x),
        ("m", r),
        ("none/", c | w),
        ("d/", r | os.O_TRUNC),
        ("x" * 256, c),
    ]
    answers: list[Any] = [_opened(f"{root}/{name}", flags) for name, flags in tried]
    more = (w | os.O_APPEND, w | os.O_TRUNC, w | os.O_SYNC, w | os.O_DSYNC | os.O_NONBLOCK, os.O_RDWR | os.O_NOATIME)
    answers += [_written(f"{root}/a", flags) for flags in more]
    answers.append(_written(f"{root}/m", w | c))
    return answers, sorted(os.listdir(root)), raised(os.open, f"{root}/a", r, 0o600, dir_fd="x")


def _opened(path: str, flags: int) -> Any:
    found = raised(os.open, path, flags)
    if isinstance(found, tuple):
        os.close(found[1])
        return "opened"
    return found


def _written(path: str, flags: int) -> Any:
    fd = os.open(path, flags)
    os.write(fd, b"XY")
    os.close(fd)
    return got(path)


@probe
def wrong_use_of_a_descriptor(root: str) -> Any:
    put(f"{root}/a")
    reading, writing = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/a", os.O_WRONLY)
    folder = os.open(root, os.O_RDONLY)
    answers = [raised(os.write, reading, b"x"), raised(os.read, writing, 1), raised(os.ftruncate, reading, 1)]
    answers += [raised(os.read, folder, 1), raised(os.write, folder, b"x"), raised(os.listdir, reading)]
    for function in (os.unlink, os.rmdir, os.mkdir, os.readlink, os.mkfifo, os.mknod, os.lstat):
        answers.append(raised(function, reading))
    answers += [raised(os.open, reading, 0), raised(os.access, reading, 0), raised(os.rename, reading, f"{root}/b")]
    answers += [raised(os.stat, "x", dir_fd=reading), raised(os.fchdir, reading), raised(os.scandir, reading)]
    for fd in (reading, writing, folder):
        os.close(fd)
    return answers


@probe
def duplicates(root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_WRONLY | os.O_CREAT)
    second = os.dup(fd)
    third = os.dup2(fd, FREE + 10)
    os.write(fd, b"1")
    os.close(fd)
    os.write(second, b"2")
    os.close(second)
    answers: list[Any] = [os.get_inheritable(third), os.lseek(third, 0, os.SEEK_CUR)]
    os.set_inheritable(third, False)
    answers.append(os.get_inheritable(third))
    with os.fdopen(third, "wb") as file:
        file.write(b"3")
    return answers, got(f"{root}/a")


@probe
def descriptors_closed_together(root: str) -> Any:
    for number, name in enumerate("abc", FREE):  # where no other descriptor of the process is
        fd = os.open(f"{root}/{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(fd, number)
        os.close(fd)
        os.write(number, b"written")
    os.closerange(FREE, FREE + 3)
    return [got(f"{root}/{name}") for name in "abc"], raised(os.fstat, FREE + 1)


@probe
def copying_between_descriptors(root: str) -> Any:
    put(f"{root}/a", b"0123456789")
    source, target = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/b", os.O_RDWR | os.O_CREAT)
    answers: list[Any] = [os.copy_file_range(source, target, 4), os.copy_file_range(source, target, 3, 1, 5)]
    answers += [os.sendfile(target, source, 0, 2), os.lseek(target, 0, os.SEEK_CUR)]
    ours, theirs = socket.socketpair()
    answers += [os.sendfile(ours.fileno(), source, 2, 5), theirs.recv(20)]
    reader, writer = os.pipe()
    answers += [
        os.splice(source, writer, 3, offset_src=1),
        os.splice(reader, target, 3),
        os.lseek(target, 0, os.SEEK_CUR),
    ]
    for fd in (source, target, reader, writer):
        os.close(fd)
    ours.close()
    theirs.close()
    return answers, got(f"{root}/b")


@probe
def copying_from_and_to_the_disk(root: str) -> Any:
    put(f"{root}/a", b"0123456789")
    source, target = os.open(f"{root}/a", os.O_RDONLY), os.open(f"{root}/b", os.O_RDWR | os.O_CREAT)
    disk = os.open(__file__, os.O_RDONLY)
    scratch = os.open(f"{os.path.dirname(root)}/scratch", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    answers = [
        os.copy_file_range(disk, target, 10),
        os.copy_file_range(source, scratch, 10),
        os.sendfile(target, disk, 10, 5),
    ]
    answers += [os.pread(scratch, 20, 0)]
    for fd in (source, target, disk, scratch):
        os.close(fd)
    return answers, got(f"{root}/b")


@probe
def locking(root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
    os.lockf(fd, os.F_LOCK, 10)
    os.lockf(fd, os.F_TEST, 10)
    os.lockf(fd, os.F_ULOCK, 10)
    os.close(fd)
    return os.listdir(root)


@probe
def an_unlinked_file_that_is_open(root: str) -> Any:
    fd = os.open(f"{root}/a", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"content")
    with open(f"{root}/a", "r+b") as file:
        os.unlink(f"{root}/a")
        file.write(b"CON")
        file.flush()
        answers: list[Any] = [os.pread(fd, 10, 0)[3:], os.fstat(fd).st_nlink, os.fstat(fd).st_size]
        file.seek(0)
        answers.append(file.read())
    os.close(fd)
    return answers, os.listdir(root)


@probe
def maps(root: str) -> Any:
    put(f"{root}/a", b"0123456789")
    fd = os.open(f"{root}/a", os.O_RDWR)
    answers: list[Any] = []
    for access in (mmap.ACCESS_READ, mmap.ACCESS_COPY, mmap.ACCESS_WRITE, mmap.ACCESS_DEFAULT):
        with mmap.mmap(fd, 0, access=access) as found:
            answers += [found[2:4], found.size(), raised(found.__setitem__, 0, access + 65), found.flush()]
            answers += [found.find(b"5"), found.rfind(b"5"), bytes(found)]
    with mmap.mmap(fd, 5, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as found:
        found.resize(20)
        found[10:13] = b"new"
        found.move(0, 10, 3)
        answers += [len(found), os.fstat(fd).st_size]
    os.close(fd)
    return answers, got(f"{root}/a")


@probe
def files_without_a_name(root: str) -> Any:
    fd = os.open(root, os.O_TMPFILE | os.O_RDWR, 0o600)
    answers: list[Any] = [os.write(fd, b"unnamed"), os.pread(fd, 10, 2), os.fstat(fd).st_size, os.listdir(root)]
    os.close(fd)
    put(f"{root}/a")
    tried = [(root, os.O_RDONLY), (f"{root}/a", os.O_RDWR), (f"{root}/none", os.O_WRONLY)]
    return answers, [raised(os.open, path, flags | os.O_TMPFILE) for path, flags in tried], os.listdir(root)


@probe
def descriptors_of_a_path_alone(root: str) -> Any:
    put(f"{root}/a")
    os.symlink("a", f"{root}/l")
    folder, file = os.open(root, os.O_PATH | os.O_DIRECTORY), os.open(f"{root}/a", os.O_PATH)
    answers = [os.stat("a", dir_fd=folder).st_size, os.fstat(file).st_size, raised(os.open, f"{root}/none", os.O_PATH)]
    answers += [raised(os.open, f"{root}/a", os.O_PATH | os.O_DIRECTORY)]
    os.close(folder)
    os.close(file)
    return answers


@probe
def several_openings_of_one_file(root: str) -> Any:
    put(f"{root}/a", b"0123456789")
    one, two = os.open(f"{root}/a", os.O_RDWR), os.open(f"{root}/a", os.O_RDWR)
    ending = os.open(f"{root}/a", os.O_WRONLY | os.O_APPEND)
    reading = os.open(f"{root}/a", os.O_RDONLY)
    file = open(f"{root}/a", "r+b", 0)  # noqa: SIM115
    os.write(one, b"one")
    answers: list[Any] = [os.read(two, 5), os.read(reading, 4), file.read(4)]
    file.write(b"FILE")
    answers += [os.pread(one, 20, 0), os.pread(reading, 20, 0), os.write(ending, b"end"), os.fstat(two).st_size]
    answers += [file.seek(0, os.SEEK_END), file.write(b"."), os.pread(two, 20, 8)]
    os.truncate(f"{root}/a", 12)
    answers += [os.fstat(one).st_size, os.pread(reading, 20, 0), os.ftruncate(two, 6), file.seek(0), file.read()]
    file.truncate(8)
    answers += [os.pread(one, 20, 0), os.fstat(reading).st_size]
    os.close(os.open(f"{root}/a", os.O_WRONLY | os.O_TRUNC))
    answers += [os.pread(one, 20, 0), os.write(one, b"after"), file.seek(0), file.read()]
    with open(f"{root}/a", "w") as other:
        other.write("by path")
    answers += [os.pread(two, 20, 0), os.pread(reading, 20, 0)]
    for fd in (one, two, ending, reading):
        os.close(fd)
    file.close()
    return answers, got(f"{root}/a")


@probe
def a_file_cut_by_another_opening_while_it_is_written(root: str) -> Any:
    """As mailbox.MH does it."""
    put(f"{root}/a", b"a long line that is there before\n")
    with open(f"{root}/a", "rb+") as file:
        os.lockf(file.fileno(), os.F_TLOCK, 0)
        os.close(os.open(f"{root}/a", os.O_WRONLY | os.O_TRUNC))
        file.write(b"short\n")
    return got(f"{root}/a")
