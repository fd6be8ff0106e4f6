"""Operations on what is open: file objects, descriptors and maps, several of one file kept open at once."""

import io
import mmap
import os
import random
import stat
from typing import Any

from tests.fs.differential.world import World, data, operation, shown


@operation(6)
def open_and_keep(world: World, rng: random.Random) -> Any:
    mode = rng.choice(["rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "r+b", "a+b"])
    opened = open(world.file(rng), mode, rng.choice([-1, 0, 7]))  # noqa: SIM115 - it stays open
    world.put(rng, opened)
    return opened.mode, opened.tell(), opened.readable(), opened.writable(), opened.seekable(), opened.isatty()


@operation(4)
def open_text_and_keep(world: World, rng: random.Random) -> Any:
    mode = rng.choice(["r", "w", "a", "x", "r+", "w+", "a+"])
    options: dict[str, Any] = {"newline": rng.choice([None, "", "\n", "\r\n"]), "buffering": rng.choice([-1, 1])}
    options["encoding"] = rng.choice(["utf-8", "utf-8", "latin-1", "utf-16"])
    opened = open(world.file(rng), mode, errors="replace", **options)  # noqa: SIM115 - it stays open
    world.put(rng, opened)
    return opened.mode, opened.encoding, opened.line_buffering, opened.newlines


@operation(6)
def os_open_and_keep(world: World, rng: random.Random) -> Any:
    flags = rng.choice([os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR])
    for flag, chance in ((os.O_CREAT, 0.5), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.2), (os.O_APPEND, 0.4)):
        flags |= flag if rng.random() < chance else 0
    flags |= rng.choice([0, 0, 0, os.O_NOFOLLOW, os.O_CLOEXEC, os.O_SYNC, os.O_NONBLOCK])
    if not flags & os.O_CREAT:  # what both together do differs between kernels
        flags |= rng.choice([0, 0, 0, 0, os.O_DIRECTORY])
    fd = os.open(world.file(rng), flags, rng.choice([0o640, 0o666]))
    world.put(rng, fd)
    return os.lseek(fd, 0, os.SEEK_CUR), shown(os.fstat(fd)), os.get_inheritable(fd)


@operation()
def os_open_of_anything(world: World, rng: random.Random) -> Any:
    flags = rng.choice([os.O_RDONLY, os.O_RDWR]) | rng.choice([0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC])
    fd = os.open(world.path(rng), flags | rng.choice([0, os.O_NOFOLLOW]), 0o600)
    try:
        return shown(os.fstat(fd))
    finally:
        os.close(fd)


@operation(3)
def close_one(world: World, rng: random.Random) -> Any:
    if not world.slots:
        return None
    opened = world.slots.pop(rng.choice(sorted(world.slots)))
    return os.close(opened) if isinstance(opened, int) else opened.close()


# File objects


@operation(5)
def write_to_a_file(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    try:
        written = file.write("zeile\né" * rng.randrange(4) if isinstance(file, io.TextIOBase) else data(rng))
        if written > 4_000 or rng.random() < 0.7:  # how much is buffered is Python's own affair
            file.flush()
    except OSError as error:
        world.give_up(file)
        return error.errno
    return written, file.tell()


@operation(4)
def read_from_a_file(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    calls: list[Any] = [
        lambda: file.read(rng.randrange(12)),
        lambda: file.read(),
        lambda: file.readline(),
        lambda: file.readlines(20),
        lambda: next(file, None) and None,
    ]
    return rng.choice(calls)()


@operation(2)
def readinto(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.RawIOBase, io.BufferedIOBase)
    if file is None:
        return None
    buffer = bytearray(rng.randrange(1, 30))
    count = rng.choice([file.readinto, getattr(file, "readinto1", file.readinto)])(buffer)
    return count, bytes(buffer), file.tell()


@operation()
def peek(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.BufferedReader, io.BufferedRandom)
    return None if file is None else (file.peek()[:5], file.read1(4), file.tell())


@operation(4)
def seek(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    if isinstance(file, io.TextIOBase):
        position = rng.choice([0, file.tell()])
        return file.seek(*rng.choice([(0, 0), (0, 2), (0, 1), (position, 0)])), file.tell()
    return file.seek(rng.randrange(-3, 30), rng.choice([0, 0, 1, 2])), file.tell()


@operation(2)
def tell_and_come_back(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    first = file.readline()
    place = file.tell()
    second = file.read(3)
    file.seek(place)
    return first, place, second, file.read(3)


@operation(3)
def truncate_a_file(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    return None if file is None else (file.truncate(rng.choice([None, 0, 3, 25])), file.tell())


@operation(2)
def writelines(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    file.writelines(["eins\n", "zwei\r\n"] if isinstance(file, io.TextIOBase) else [b"eins\n", b"zwei\r\n"])
    return file.flush()


@operation(2)
def descriptor_of_a_file(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    fd = file.fileno()
    return shown(os.fstat(fd)), os.lseek(fd, 0, os.SEEK_CUR), os.get_blocking(fd)


@operation()
def sync_a_file(world: World, rng: random.Random) -> Any:
    opened = world.pick(rng, io.IOBase, int)
    return None if opened is None else rng.choice([os.fsync, os.fdatasync])(opened)


@operation()
def reconfigure(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.TextIOWrapper)
    return None if file is None else file.reconfigure(line_buffering=True, write_through=rng.choice([True, False]))


@operation()
def detach(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.TextIOWrapper)
    if file is None:
        return None
    number = next(key for key, value in world.slots.items() if value is file)
    world.slots[number] = file.detach()
    return world.slots[number].tell()


@operation()
def properties_of_a_file(world: World, rng: random.Random) -> Any:
    file = world.pick(rng, io.IOBase)
    if file is None:
        return None
    name = file.name if isinstance(file.name, int) else world.short(file.name)
    return None if isinstance(name, int) else name, file.mode, file.closed, file.readable(), file.writable()


# Descriptors


@operation(4)
def os_write(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else (os.write(fd, data(rng)), os.lseek(fd, 0, os.SEEK_CUR))


@operation(4)
def os_read(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else (os.read(fd, rng.choice([0, 4, 30, 20_000])), os.lseek(fd, 0, os.SEEK_CUR))


@operation(3)
def pwrite(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else (os.pwrite(fd, data(rng), rng.randrange(40)), os.lseek(fd, 0, os.SEEK_CUR))


@operation(3)
def pread(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else os.pread(fd, 30, rng.randrange(20))


@operation()
def writev(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else (os.writev(fd, [data(rng), data(rng)]), os.pwritev(fd, [b"v"], 2))


@operation()
def readv(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None:
        return None
    one, two = bytearray(3), bytearray(9)
    return os.readv(fd, [one, two]), bytes(one), bytes(two), os.preadv(fd, [one], 1), bytes(one)


@operation(3)
def lseek(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None or stat.S_ISDIR(os.fstat(fd).st_mode):  # a directory's positions are its file system's own affair
        return None
    return os.lseek(fd, rng.randrange(-2, 50), rng.choice([0, 0, 1, 2]))


@operation(2)
def ftruncate(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else os.ftruncate(fd, rng.choice([0, 2, 33]))


@operation(2)
def fstat(world: World, rng: random.Random) -> Any:
    opened = world.pick(rng, int)
    if opened is None:
        return None
    found = os.fstat(opened)
    return shown(found), shown(os.stat(opened)), os.path.sameopenfile(opened, opened)


@operation(2)
def is_it_this_file(world: World, rng: random.Random) -> Any:
    fd, path = world.descriptor(rng), world.file(rng)
    return None if fd is None else os.path.samestat(os.fstat(fd), os.stat(path))


@operation()
def are_they_one_file(world: World, rng: random.Random) -> Any:
    one, two = world.descriptor(rng), world.descriptor(rng)
    return None if one is None or two is None else os.path.sameopenfile(one, two)


@operation(2)
def dup(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None:
        return None
    new = os.dup(fd)
    world.put(rng, new)
    return os.get_inheritable(new), os.lseek(new, 0, os.SEEK_CUR)


@operation()
def dup2(world: World, rng: random.Random) -> Any:
    numbers = sorted(number for number, opened in world.slots.items() if isinstance(opened, int))
    if len(numbers) < 2:
        return None
    one, two = rng.sample(numbers, 2)
    return os.dup2(world.slots[one], world.slots[two]) == world.slots[two]


@operation(2)
def fdopen(world: World, rng: random.Random) -> Any:
    numbers = sorted(number for number, opened in world.slots.items() if isinstance(opened, int))
    if not numbers:
        return None
    number = rng.choice(numbers)
    mode = rng.choice(["rb", "r+b", "ab", "wb", "r", "a+"])
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "latin-1", "newline": ""}
    world.slots[number] = os.fdopen(world.slots[number], mode, **options)
    return world.slots[number].tell()


@operation()
def open_a_descriptor_a_second_time(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None:
        return None
    with open(fd, rng.choice(["rb", "ab", "r+b"]), buffering=0, closefd=False) as file:
        return file.read(3) if file.readable() else file.write(b"+"), file.tell()


@operation()
def change_by_descriptor(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None:
        return None
    calls: list[Any] = [
        lambda: os.fchmod(fd, rng.choice([0o600, 0o755])),
        lambda: os.chmod(fd, 0o640),
        lambda: os.fchown(fd, 3, -1),
        lambda: os.utime(fd, ns=(9, 10_000)),
        lambda: os.truncate(fd, 4),
        lambda: os.fstatvfs(fd).f_bsize > 0,
        lambda: os.access(f"/dev/fd/{fd}", os.F_OK),
    ]
    return rng.choice(calls)(), shown(os.fstat(fd))


@operation()
def allocate(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    return None if fd is None else os.posix_fallocate(fd, rng.randrange(10), rng.randrange(1, 40))


@operation()
def copy_between_descriptors(world: World, rng: random.Random) -> Any:
    one, two = world.descriptor(rng), world.descriptor(rng)
    if one is None or two is None or one == two:
        return None
    if os.path.sameopenfile(one, two):
        return None  # overlapping ranges of one file are refused, or not, as the ranges happen to lie
    return os.sendfile(two, one, rng.choice([None, 1]), 20)


@operation(2)
def map_and_keep(world: World, rng: random.Random) -> Any:
    fd = world.descriptor(rng)
    if fd is None:
        return None
    made = mmap.mmap(fd, 0, access=rng.choice([mmap.ACCESS_READ, mmap.ACCESS_WRITE, mmap.ACCESS_COPY]))
    world.put(rng, made)
    return len(made), made[:5]


@operation(2)
def use_a_map(world: World, rng: random.Random) -> Any:
    found = world.pick(rng, mmap.mmap)
    if found is None or found.size() < len(found):  # what lies past the end of its file is a bus error, on a disk too
        return None
    calls: list[Any] = [
        lambda: found.__setitem__(slice(0, 1), b"M"),
        lambda: found[:10],
        lambda: found.flush(),
        lambda: (found.seek(0), found.write(b"m"), found.read(3), found.tell()),
        lambda: found.find(b"M"),
        lambda: found.size(),
    ]
    return rng.choice(calls)()


# Names taken away from what is open


@operation(3)
def unlink_what_may_be_open(world: World, rng: random.Random) -> Any:
    return os.unlink(world.file(rng))


@operation(3)
def rename_what_may_be_open(world: World, rng: random.Random) -> Any:
    return os.rename(world.file(rng), world.file(rng))


@operation(2)
def write_through_two_descriptors(world: World, rng: random.Random) -> Any:
    """Two appending descriptors of one file, and a third that reads."""
    path = world.file(rng)
    one = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    two = os.open(path, os.O_WRONLY | os.O_APPEND)
    reader = os.open(path, os.O_RDONLY)
    try:
        for _ in range(2):
            os.write(one, b"one")
            os.write(two, b"two!")
        return os.read(reader, 100_000), os.lseek(one, 0, os.SEEK_CUR), os.lseek(two, 0, os.SEEK_CUR)
    finally:
        for fd in (two, one, reader):
            os.close(fd)


@operation(2)
def file_and_descriptor_at_once(world: World, rng: random.Random) -> Any:
    path = world.file(rng)
    with open(path, rng.choice(["r+b", "w+b", "a+b"]), 0) as file:
        fd = os.open(path, os.O_RDWR)
        try:
            file.write(b"file")
            seen = os.pread(fd, 9, 0)
            os.pwrite(fd, b"fd", rng.randrange(6))
            file.seek(0)
            os.ftruncate(fd, 12)
            return seen, file.read(9), os.fstat(file.fileno()).st_size
        finally:
            os.close(fd)
