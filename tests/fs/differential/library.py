"""Operations of the standard library on top of `os`: what copies, packs, rotates and keeps things in files."""

import configparser
import dbm.dumb
import fileinput
import io
import logging.handlers
import mailbox
import os
import random
import shelve
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tests.fs.differential.world import World, data, operation, shown, tree


@operation(2)
def write_text(world: World, rng: random.Random) -> Any:
    with open(world.path(rng), rng.choice(["w", "a", "x", "w+", "a+"]), encoding="utf-8") as file:
        return file.write("line é\n" * rng.randrange(5)), file.tell()


@operation(2)
def write_bytes(world: World, rng: random.Random) -> Any:
    with open(world.path(rng), rng.choice(["wb", "ab", "xb", "w+b"]), rng.choice([-1, 0, 7])) as file:
        return file.write(data(rng)), file.tell(), file.mode


@operation()
def write_much(world: World, rng: random.Random) -> Any:
    with open(world.file(rng), rng.choice(["wb", "ab", "r+b"])) as file:
        return file.write(bytes([rng.randrange(256)]) * rng.choice([70_000, 300_000])), file.tell()


@operation()
def read_text(world: World, rng: random.Random) -> Any:
    with open(world.path(rng), encoding="utf-8", errors="replace", newline=rng.choice([None, "", "\n"])) as file:
        return file.readline(), file.read(), file.newlines


@operation()
def read_bytes(world: World, rng: random.Random) -> Any:
    with open(world.path(rng), "rb", rng.choice([-1, 0, 3])) as file:
        return file.read(5), file.tell(), file.seek(-1, 2), file.read()


@operation()
def update(world: World, rng: random.Random) -> Any:
    with open(world.path(rng), "r+b") as file:
        position = file.seek(rng.randrange(20))
        file.write(rng.randbytes(3))
        file.seek(0)
        return position, file.read(), file.truncate(rng.randrange(30)), file.tell()


@operation()
def wrong_mode(world: World, rng: random.Random) -> Any:
    mode = rng.choice(["rw", "q", "", "rbt", "b", "r", "r+w", "ra"])
    return open(world.path(rng), mode, rng.choice([-1, 0]), newline=rng.choice([None, "x"])).close()


@operation()
def raw_file(world: World, rng: random.Random) -> Any:
    with io.FileIO(world.path(rng), rng.choice(["r", "w", "a", "x", "r+", "w+"])) as file:
        written = file.write(b"raw") if file.writable() else None
        return written, file.mode, file.tell(), file.readall() if file.readable() else None


@operation()
def own_opener(world: World, rng: random.Random) -> Any:
    folder = os.open(world.root, os.O_RDONLY)
    try:
        opener = lambda path, flags: os.open(path, flags, 0o600, dir_fd=folder)  # noqa: E731
        with open(rng.choice(["a", "b", "d"]), rng.choice(["r", "w", "a", "x"]), opener=opener) as file:
            return file.read() if file.readable() else file.write("by opener")
    finally:
        os.close(folder)


@operation()
def copy(world: World, rng: random.Random) -> Any:
    function = rng.choice([shutil.copyfile, shutil.copy, shutil.copy2])
    return world.short(function(world.path(rng), world.path(rng), follow_symlinks=rng.choice([True, False])))


@operation()
def copystat(world: World, rng: random.Random) -> Any:
    try:
        return rng.choice([shutil.copystat, shutil.copymode])(world.path(rng), world.path(rng))
    except OSError as error:
        return error.errno  # os.utime of the system does not say which file it was


@operation()
def copytree(world: World, rng: random.Random) -> Any:
    if world.has_ways_back():
        return None  # what is copied would grow by its copy, without an end
    symlinks = rng.choice([True, False])
    options: dict[str, Any] = {"symlinks": symlinks, "dirs_exist_ok": rng.choice([True, False])}
    return world.short(shutil.copytree(os.path.join(world.root, "d"), os.path.join(world.root, "t"), **options))


@operation()
def rmtree(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, rng.choice(["d", "t", "a", "l", "nothing", "g"]))
    return shutil.rmtree(path, ignore_errors=rng.random() < 0.3)


@operation()
def move(world: World, rng: random.Random) -> Any:
    return world.short(shutil.move(world.path(rng), world.path(rng)))


@operation()
def disk_usage(world: World, rng: random.Random) -> Any:
    return shutil.disk_usage(world.path(rng)).total > 0


@operation()
def temporary_files(world: World, rng: random.Random) -> Any:
    with tempfile.NamedTemporaryFile("w+", dir=world.root, suffix=".x") as file:
        file.write("temporary")
        file.flush()
        status = os.stat(file.name)
        seen = Path(file.name).read_text(), oct(status.st_mode), status.st_nlink
        if rng.random() < 0.3 and not os.path.isdir(os.path.join(world.root, "a")):
            os.replace(file.name, os.path.join(world.root, "a"))
            Path(file.name).touch()
    return seen, os.path.exists(file.name)


@operation()
def unnamed_temporary_file(world: World, rng: random.Random) -> Any:
    with tempfile.SpooledTemporaryFile(4, dir=world.root) as file:
        file.write(b"more than four")
        file.seek(2)
        return file.read(), sorted(os.listdir(world.root))


@operation()
def temporary_folder(world: World, rng: random.Random) -> Any:
    with tempfile.TemporaryDirectory(dir=world.root) as folder:
        Path(folder, "x").write_text("x")
        os.symlink("x", os.path.join(folder, "y"))
        found = sorted(os.listdir(folder)), oct(os.stat(folder).st_mode)
    fd, name = tempfile.mkstemp(dir=world.root)
    os.write(fd, b"by descriptor")
    os.close(fd)
    try:
        os.rename(name, os.path.join(world.root, "b"))
    except OSError as error:  # the name is another one each time
        os.unlink(name)
        return error.errno
    return found, os.path.exists(folder)


@operation()
def edit_in_place(world: World, rng: random.Random) -> Any:
    path = world.file(rng)
    backup = rng.choice(["", ".bak"])
    with fileinput.FileInput(path, inplace=True, backup=backup, encoding="latin-1") as lines:
        for line in lines:
            lines._output.write(line.upper())  # what print() would write to
    return Path(path).read_bytes(), os.path.exists(f"{path}.bak")


@operation()
def zip_archive(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, rng.choice(["z.zip", "z.zip", "a"]))
    with zipfile.ZipFile(path, rng.choice(["a", "w", "a", "r"])) as archive:
        if archive.mode != "r":
            archive.writestr(zipfile.ZipInfo(f"n{rng.randrange(9)}"), rng.randbytes(20))
        return sorted(archive.namelist()), archive.testzip()


@operation()
def tar_archive(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, "t.tar")
    with tarfile.open(path, rng.choice(["a", "w", "a", "r"])) as archive:
        if archive.mode != "r":
            member = tarfile.TarInfo(f"n{rng.randrange(9)}")
            member.size = 20
            archive.addfile(member, io.BytesIO(rng.randbytes(20)))
        return archive.mode, None if archive.mode == "w" else sorted(archive.getnames())


@operation()
def unpack(world: World, rng: random.Random) -> Any:
    target = os.path.join(world.root, "unpacked")
    shutil.unpack_archive(os.path.join(world.root, rng.choice(["t.tar", "z.zip"])), target)
    return sorted(os.listdir(target))


@operation()
def shelf(world: World, rng: random.Random) -> Any:
    with shelve.Shelf(dbm.dumb.open(os.path.join(world.root, "shelf"), rng.choice(["c", "n", "w"]))) as kept:
        kept[rng.choice("xyz")] = rng.randrange(99)
        return sorted(kept.items())


@operation()
def rotating_log(world: World, rng: random.Random) -> Any:
    handler = logging.handlers.RotatingFileHandler(os.path.join(world.root, "log"), maxBytes=40, backupCount=2)
    try:
        for number in range(rng.randrange(1, 5)):
            handler.emit(logging.makeLogRecord({"msg": f"record {number} {rng.random():.3f}"}))
    finally:
        handler.close()
    return sorted(name for name in os.listdir(world.root) if name.startswith("log"))


@operation()
def watched_log(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, "watched")
    handler = logging.handlers.WatchedFileHandler(path)
    try:
        handler.emit(logging.makeLogRecord({"msg": "before"}))
        os.rename(path, f"{path}.1")
        handler.emit(logging.makeLogRecord({"msg": "after"}))
    finally:
        handler.close()
    return Path(path).read_text(), Path(f"{path}.1").read_text()


@operation()
def ini_file(world: World, rng: random.Random) -> Any:
    path = os.path.join(world.root, "settings.ini")
    parser = configparser.ConfigParser()
    read = parser.read(path)
    parser["section"] = {"number": str(rng.randrange(9))}
    with open(path, "w") as file:
        parser.write(file)
    return len(read)


@operation()
def mail_folder(world: World, rng: random.Random) -> Any:
    box = mailbox.mbox(os.path.join(world.root, "mbox"))
    box.lock()
    try:
        message = mailbox.mboxMessage(f"From: a@example.com\n\nbody {rng.randrange(9)}\n")
        message.set_from("a@example.com Thu Jan  1 00:00:00 1970")
        box.add(message)
        box.flush()
        if len(box) > 3:
            box.remove(box.keys()[0])
    finally:
        box.unlock()
        box.close()
    return len(box), sorted(name for name in os.listdir(world.root) if name.startswith("mbox"))


@operation()
def the_whole_tree(world: World, rng: random.Random) -> Any:
    return shown(os.stat(world.root))[0], tree(world.root)
