"""What the standard library's modules for file formats, mail, logs and settings do in a folder."""

import bz2
import configparser
import csv
import dbm.dumb
import email.message
import fcntl
import fileinput
import gzip
import http.cookiejar
import json
import logging
import logging.config
import logging.handlers
import lzma
import mailbox
import mimetypes
import netrc
import os
import pickle
import plistlib
import shelve
import tarfile
import threading
import time
import tomllib
import wave
import xml.etree.ElementTree
import zipfile
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

from tests.fs.probing import Probe, got, put, raised

PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    """Run a function on both folders; what it returns must be the same."""
    PROBES[function.__name__] = function
    return function


def names(root: str) -> list[str]:
    return sorted(
        os.path.join(top, name)[len(root) :] for top, folders, files in os.walk(root) for name in folders + files
    )


def message(number: int) -> email.message.Message:
    made = email.message.Message()
    made["Subject"] = f"number {number}"
    made["From"] = "someone@example.org"
    made.set_payload(f"text {number}\n" * 3)
    return made


def _mailbox(box: Any) -> Any:
    box.lock()
    try:
        first, second = box.add(message(1)), box.add(message(2))
        box.flush()
        box[first] = message(3)
        box.remove(second)
        box.add(message(4))
        box.flush()
    finally:
        box.unlock()
    found = sorted(one["Subject"] for one in box), len(box), first in box, second in box
    texts = [box.get_string(key).count("text") for key in list(box.keys())]
    box.close()
    return found, texts


@probe
def mailboxes_in_one_file(root: str) -> Any:
    found = [_mailbox(kind(f"{root}/{kind.__name__}")) for kind in (mailbox.mbox, mailbox.MMDF, mailbox.Babyl)]
    again = mailbox.mbox(f"{root}/mbox", create=False)
    found.append([one["Subject"] for one in again])
    again.close()
    try:
        mailbox.mbox(f"{root}/none", create=False)
    except mailbox.NoSuchMailboxError:
        found.append("none")
    return found, names(root)


@probe
def mailboxes_in_folders(root: str) -> Any:
    maildir = mailbox.Maildir(f"{root}/maildir")
    found = [_mailbox(maildir), _mailbox(mailbox.MH(f"{root}/mh"))]
    sub = maildir.add_folder("sub")
    key = sub.add(mailbox.MaildirMessage(message(5)))
    moved = sub[key]
    moved.set_subdir("cur")
    moved.add_flag("S")
    sub[key] = moved
    maildir.clean()
    found.append((maildir.list_folders(), len(sub), sub[key].get_flags(), os.listdir(f"{root}/maildir/.sub/new")))
    sub.clear()
    maildir.remove_folder("sub")
    mh = mailbox.MH(f"{root}/mh")
    mh.set_sequences({"seen": [1]})
    mh.pack()
    return found, mh.get_sequences(), sorted(os.listdir(f"{root}/mh")), sorted(os.listdir(f"{root}/maildir"))


@probe
def databases(root: str) -> Any:
    with dbm.dumb.open(f"{root}/dumb", "n") as database:
        database[b"a"] = b"1"
        database["b"] = "2" * 1000
        del database[b"a"]
        database.sync()
    with dbm.dumb.open(f"{root}/dumb", "w") as database:
        database[b"c"] = b"3"
    with dbm.dumb.open(f"{root}/dumb", "r") as database:
        found = sorted(database.keys())
    with shelve.Shelf(dbm.dumb.open(f"{root}/shelf", "c"), writeback=True) as shelf:
        shelf["list"] = []
        shelf["list"].append(1)
        shelf.sync()
    with shelve.DbfilenameShelf(f"{root}/other") as made:
        made["x"] = {"y": 1}
    with shelve.open(f"{root}/other", "r") as made:
        return found, dict(made), dbm.whichdb(f"{root}/dumb"), raised(dbm.dumb.open, f"{root}/none", "w")


@probe
def zip_files(root: str) -> Any:
    for number, mode in enumerate("wxaa"):
        with zipfile.ZipFile(f"{root}/{min(number, 1)}.zip", mode, zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"d/{number}.txt", f"{number}" * 500)
            with archive.open(f"streamed{number}", "w") as member:
                member.write(b"streamed")
    put(f"{root}/plain", b"plain")
    with zipfile.ZipFile(Path(root, "1.zip"), "a") as archive:
        archive.write(f"{root}/plain", "renamed", zipfile.ZIP_LZMA)
        archive.mkdir("folder")
        archive.comment = b"comment"
    with zipfile.ZipFile(f"{root}/1.zip") as archive:
        archive.extractall(f"{root}/out")
        listed = archive.namelist(), archive.testzip(), archive.comment, archive.read("renamed")
    with zipfile.ZipFile(f"{root}/1.zip") as archive:
        top = zipfile.Path(archive)
        seen = sorted(one.name for one in top.iterdir()), (top / "d" / "1.txt").read_text()[:3], (top / "none").exists()
    return listed, seen, names(root), zipfile.is_zipfile(f"{root}/1.zip"), zipfile.is_zipfile(f"{root}/plain")


@probe
def tar_files(root: str) -> Any:
    os.makedirs(f"{root}/tree/sub")
    put(f"{root}/tree/a", b"a" * 3000)
    os.symlink("a", f"{root}/tree/s")
    os.link(f"{root}/tree/a", f"{root}/tree/sub/hard")
    found = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz", "w|", "w|gz", "x:"):
        name = f"{root}/{mode.replace(':', '-').replace('|', '-stream-')}.tar"
        with tarfile.open(name, mode) as archive:  # type: ignore[call-overload]
            archive.add(f"{root}/tree", "tree")
        with tarfile.open(name, "r|*" if "|" in mode else "r:*") as archive:
            archive.extractall(f"{name}.out", filter="data")
        found.append((names(f"{name}.out"), os.stat(f"{name}.out/tree/a").st_nlink, os.readlink(f"{name}.out/tree/s")))
    with tarfile.open(f"{root}/w.tar", "a") as archive:
        archive.add(f"{root}/tree/a", "again")
    with tarfile.open(f"{root}/w.tar") as archive:
        member = archive.extractfile("again")
        return found, archive.getnames(), member and member.read(3), tarfile.is_tarfile(f"{root}/w.tar")


@probe
def compressed_files(root: str) -> Any:
    found: list[Any] = []
    for module, ending in ((gzip, "gz"), (bz2, "bz2"), (lzma, "xz")):
        path = f"{root}/x.{ending}"
        for mode in ("wb", "ab"):
            with module.open(path, mode) as file:
                file.write(mode.encode() * 1000)
        with module.open(path, "rt") as text, module.open(path, "rb") as file:
            file.seek(1999)
            found += [text.read(5), file.read(4), file.tell()]
    with open(f"{root}/raw", "wb") as raw, gzip.GzipFile("name", "wb", fileobj=raw, mtime=0) as file:
        file.write(b"x")
    return found, got(f"{root}/raw")


def _rotated(root: str, handler: logging.Handler) -> Any:
    logger = logging.Logger("probe")
    logger.addHandler(handler)
    for number in range(40):
        logger.warning("line %d of a log that is rotated", number)
    handler.close()
    return sorted(name for name in os.listdir(root)), [got(f"{root}/{name}")[-20:] for name in sorted(os.listdir(root))]


@probe
def logs_rotated_by_size(root: str) -> Any:
    return _rotated(root, logging.handlers.RotatingFileHandler(f"{root}/log", maxBytes=300, backupCount=3))


@probe
def logs_rotated_by_hand(root: str) -> Any:
    handler = logging.handlers.RotatingFileHandler(f"{root}/log", maxBytes=500, backupCount=2, delay=True)
    handler.rotator = lambda source, target: (put(target, gzip.compress(got(source), mtime=0)), os.remove(source))
    handler.namer = lambda name: f"{name}.gz"
    return _rotated(root, handler)


@probe
def logs_rotated_by_time(root: str) -> Any:
    put(f"{root}/log", b"of yesterday\n")
    os.utime(f"{root}/log", (time.time() - 90_000, time.time() - 90_000))
    handler = logging.handlers.TimedRotatingFileHandler(f"{root}/log", when="S", interval=3600, backupCount=2, utc=True)
    first = logging.LogRecord("probe", logging.WARNING, "", 0, "of today", None, None)
    handler.emit(first)
    handler.doRollover()
    handler.emit(first)
    handler.close()
    return len(os.listdir(root)), got(f"{root}/log"), sorted(got(f"{root}/{name}") for name in os.listdir(root))


@probe
def logs_moved_by_others(root: str) -> Any:
    handler = logging.handlers.WatchedFileHandler(f"{root}/log")
    record = logging.LogRecord("probe", logging.WARNING, "", 0, "line", None, None)
    handler.emit(record)
    os.rename(f"{root}/log", f"{root}/log.1")
    handler.emit(record)
    os.unlink(f"{root}/log")
    handler.emit(record)
    handler.close()
    return [(name, got(f"{root}/{name}")) for name in sorted(os.listdir(root))]


@probe
def logs_configured_by_file(root: str) -> Any:
    put(
        f"{root}/logging.ini",
        b"[loggers]\nkeys=root,p\n[handlers]\nkeys=h\n[formatters]\nkeys=\n[logger_root]\nhandlers=\n[logger_p]\n"
        b"qualname=probe.configured\nhandlers=h\npropagate=0\n[handler_h]\nclass=FileHandler\nargs=('%(folder)s/log',)\n",
    )
    logging.config.fileConfig(f"{root}/logging.ini", {"folder": root}, disable_existing_loggers=False)
    logger = logging.getLogger("probe.configured")
    logger.error("configured")
    logger.handlers.pop().close()
    return got(f"{root}/log")


@probe
def settings_and_tables(root: str) -> Any:
    parser = configparser.ConfigParser()
    parser["a"] = {"key": "value"}
    with open(f"{root}/a.ini", "w") as file:
        parser.write(file)
    again = configparser.ConfigParser()
    found: list[Any] = [again.read([f"{root}/a.ini", f"{root}/none.ini"])[0][-5:], again["a"]["key"]]
    with open(f"{root}/a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["x", 'quo"ted'], [1, "two\nlines"]])
    with open(f"{root}/a.csv", newline="") as file:
        found += [list(csv.DictReader(file)), got(f"{root}/a.csv")]
    with open(f"{root}/a.json", "w+") as file:
        json.dump({"é": [1]}, file, ensure_ascii=False)
        file.seek(0)
        found.append(json.load(file))
    with open(f"{root}/a.pickle", "wb+") as binary:
        pickle.dump(found, binary)
        pickle.dump("second", binary)
        binary.seek(0)
        found += [len(pickle.load(binary)), pickle.load(binary)]
    put(f"{root}/a.toml", b"key = 1\n")
    with open(f"{root}/a.toml", "rb") as binary:
        found.append(tomllib.load(binary))
    with open(f"{root}/a.plist", "wb") as binary:
        plistlib.dump({"a": [1, b"2"]}, binary, fmt=plistlib.FMT_BINARY)
    with open(f"{root}/a.plist", "rb") as binary:
        found.append(plistlib.load(binary))
    xml.etree.ElementTree.ElementTree(xml.etree.ElementTree.Element("a", {"b": "c"})).write(f"{root}/a.xml")
    return found, xml.etree.ElementTree.parse(f"{root}/a.xml").getroot().attrib


@probe
def files_of_the_net(root: str) -> Any:
    put(f"{root}/mime.types", b"application/x-probe probe\n")
    put(f"{root}/netrc", b"machine example.org login me password secret\n")
    os.chmod(f"{root}/netrc", 0o600)
    jar = http.cookiejar.LWPCookieJar(f"{root}/cookies")
    fixed = ("example.org", True, False, "/", True, False, 4102444800, False, None, None, {})
    jar.set_cookie(http.cookiejar.Cookie(0, "name", "value", None, False, *fixed))
    jar.save()
    again = http.cookiejar.LWPCookieJar(f"{root}/cookies")
    again.load()
    types = mimetypes.MimeTypes([f"{root}/mime.types"])
    found = types.guess_type("a.probe"), netrc.netrc(f"{root}/netrc").authenticators("example.org")
    put(f"{root}/body", b"x" * 20_000)
    with open(f"{root}/body", "rb") as body:
        pieces = [len(piece) for piece in FileWrapper(body, 8192)]
    return found, [(one.name, one.value) for one in again], pieces


@probe
def sound(root: str) -> Any:
    with wave.open(f"{root}/a.wav", "wb") as writer:
        writer.setparams((1, 2, 8000, 0, "NONE", ""))
        writer.writeframes(b"\0\1" * 100)
    with wave.open(f"{root}/a.wav", "rb") as reader:
        return reader.getparams(), reader.readframes(3)


@probe
def files_edited_in_place(root: str) -> Any:
    for name in "ab":
        put(f"{root}/{name}", b"one\ntwo\n")
    seen = []
    with fileinput.input([f"{root}/a", f"{root}/b"], inplace=True, backup=".bak") as lines:
        for line in lines:
            seen.append((lines.filelineno(), lines.isfirstline(), lines.filename()[-1]))
            print(line.upper(), end="")  # noqa: T201  # into the file
    with fileinput.FileInput(f"{root}/a", openhook=fileinput.hook_compressed, encoding="ascii") as lines:
        again = list(lines)
    return seen, again, names(root), got(f"{root}/a.bak")


@probe
def locks(root: str) -> Any:
    with open(f"{root}/a", "a+") as one, open(f"{root}/a", "a+") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        answers = [raised(fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)]
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(other.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        answers += [raised(fcntl.flock, one, fcntl.LOCK_SH | fcntl.LOCK_NB), raised(fcntl.flock, one, 0)]
        fcntl.lockf(one, fcntl.LOCK_EX, 10, 0, os.SEEK_SET)
        fcntl.lockf(one, fcntl.LOCK_UN)
        flags = fcntl.fcntl(one, fcntl.F_GETFL) & os.O_APPEND, fcntl.fcntl(one, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    return answers, flags, raised(fcntl.flock, 999, fcntl.LOCK_EX)


@probe
def threads(root: str) -> Any:
    """As aiofiles and anyio do: each step of one file object in another thread."""
    opened: list[Any] = []
    steps = [
        lambda: opened.append(open(f"{root}/a", "w+")),  # noqa: SIM115
        lambda: opened[0].write("written"),
        lambda: opened[0].flush(),
        lambda: opened[0].seek(0),
        lambda: opened.append(opened[0].read()),
        lambda: opened[0].close(),
        lambda: opened.append(Path(root, "a").read_text()),
    ]
    for step in steps:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    return opened[1:], names(root)
