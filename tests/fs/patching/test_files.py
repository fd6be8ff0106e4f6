"""What open() returns for a mounted file."""

import builtins
import csv
import errno
import gc
import gzip
import io
import json
import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gaeport.fs.patching import files
from tests.fs.memory_volume import MemoryVolume


def committed(volume: MemoryVolume, name: str) -> bytes | None:
    return volume.root.children[name].committed


TEXT = ["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
BINARY = ["rb", "wb", "ab", "xb", "r+b", "w+b", "a+b", "x+b"]


@pytest.mark.parametrize(
    ("mode", "buffering"),
    [*((mode, n) for mode in TEXT for n in (-1, 512)), *((mode, n) for mode in BINARY for n in (-1, 0, 512))],
)
def test_file_objects_have_the_layers_and_attributes_of_io_open(
    mounted: Path, beside: Path, mode: str, buffering: int
) -> None:
    seen = []
    for folder in (mounted, beside):
        path = folder / "file"
        if "x" not in mode:
            path.write_bytes(b"some content")
        with open(path, mode, buffering) as file:
            raw = file
            layers = []
            while True:
                layers.append((type(raw).__name__.replace("RawFile", "FileIO"), raw.mode, raw.name == str(path)))
                layers.append((raw.readable(), raw.writable(), raw.seekable(), raw.isatty(), raw.closed))
                if not hasattr(raw, "buffer") and not hasattr(raw, "raw"):
                    break
                raw = raw.buffer if hasattr(raw, "buffer") else raw.raw
            layers.append((file.tell(), raw.closefd))
            assert isinstance(raw, io.FileIO)
        seen.append((layers, file.closed, raw.closed))
    assert seen[0] == seen[1]


WRONG: list[dict[str, Any]] = [
    {"mode": "q"},
    {"mode": "rr"},
    {"mode": "rw"},
    {"mode": "r++"},
    {"mode": ""},
    {"mode": "b"},
    {"mode": "rbt"},
    {"mode": "U"},
    {"mode": 3},
    {"mode": "rb", "encoding": "utf-8"},
    {"mode": "rb", "errors": "strict"},
    {"mode": "rb", "newline": ""},
    {"mode": "r", "buffering": 0},
    {"mode": "r", "newline": "x"},
    {"mode": "r", "encoding": "no-such-encoding"},
    {"mode": "r", "closefd": False},
    {"mode": "r", "no_such_argument": 1},
]


@pytest.mark.parametrize("arguments", WRONG, ids=[str(arguments) for arguments in WRONG])
def test_wrong_arguments_give_the_errors_of_io_open(mounted: Path, beside: Path, arguments: dict[str, Any]) -> None:
    said = []
    for folder in (mounted, beside):
        (folder / "file").write_text("x")
        with pytest.raises((ValueError, TypeError, LookupError)) as failure:
            open(folder / "file", **arguments)  # noqa: SIM115
        said.append((failure.type, str(failure.value)))
    assert said[0][0] == said[1][0]
    assert said[0][1] == said[1][1] or "argument" in said[0][1]


def test_operations_that_a_mode_forbids_give_the_errors_of_io(mounted: Path, beside: Path) -> None:
    said: list[list[tuple[type, str]]] = []
    for folder in (mounted, beside):
        (folder / "file").write_bytes(b"abc")
        here = []
        with open(folder / "file", "rb", 0) as reader, open(folder / "other", "wb", 0) as writer:
            calls = [
                lambda reader=reader: reader.write(b"x"),
                lambda reader=reader: reader.truncate(1),
                lambda writer=writer: writer.read(),
                lambda writer=writer: writer.read(4),
                lambda writer=writer: writer.readinto(bytearray(3)),
                lambda reader=reader: reader.seek(-1),
                lambda reader=reader: reader.seek(0, 9),
                lambda writer=writer: writer.truncate(-1),
            ]
            for call in calls:
                with pytest.raises((OSError, ValueError)) as failure:
                    call()
                here.append((failure.type, str(failure.value)))
        for call in (reader.read, reader.tell, reader.fileno, reader.isatty, reader.readable):
            with pytest.raises(ValueError, match="closed file") as closed:
                call()
            here.append((closed.type, str(closed.value)))
        said.append(here)
    assert said[0] == said[1]


def test_content_reaches_the_volume_at_close_and_not_before(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "note").write_text("old")
    file = open(mounted / "note", "w")  # noqa: SIM115
    file.write("new")
    file.flush()
    assert committed(volume, "note") == b"old"
    assert (mounted / "note").read_text() == "new", "flushed data is visible by path in this process"
    file.close()
    assert committed(volume, "note") == b"new"


def test_a_with_block_left_by_an_exception_commits_as_on_a_disk(mounted: Path, volume: MemoryVolume) -> None:
    def fail_midway() -> None:
        with open(mounted / "note", "w") as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_midway()
    assert committed(volume, "note") == b"half"


def test_appended_data_goes_through_append(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "log").write_text("1\n")
    volume.calls.clear()
    with open(mounted / "log", "a+") as file:
        assert file.tell() == 2
        file.write("2\n")
        file.seek(0)
        assert file.read() == "1\n2\n"
    assert "append" in volume.calls
    assert "pwrite" not in volume.calls


def test_a_file_never_closed_warns_and_commits(mounted: Path, volume: MemoryVolume) -> None:
    def forget() -> None:
        open(mounted / "note", "w").write("kept")  # noqa: SIM115

    with pytest.warns(ResourceWarning, match="unclosed file <_io.TextIOWrapper"):  # noqa: PT031
        forget()
        gc.collect()
    assert committed(volume, "note") == b"kept"


def test_a_raw_file_never_closed_warns_too(mounted: Path) -> None:
    (mounted / "note").write_text("x")
    with pytest.warns(ResourceWarning, match="unclosed file <_io.FileIO name="):  # noqa: PT031
        open(mounted / "note", "rb", 0)  # noqa: SIM115
        gc.collect()


def test_a_commit_that_fails_at_close_raises_once_and_releases(mounted: Path, volume: MemoryVolume) -> None:
    file = open(mounted / "note", "w")  # noqa: SIM115
    file.write("x")
    volume.failing = errno.ENOSPC
    with pytest.raises(OSError, match="No space left") as failure:
        file.close()
    assert failure.value.errno == errno.ENOSPC
    assert failure.value.filename == str(mounted / "note")
    assert file.closed
    file.close()
    volume.failing = 0
    assert not (mounted / "note").exists()


def test_sequential_reading_and_writing_take_few_calls_of_the_volume(mounted: Path, volume: MemoryVolume) -> None:
    size = 4 * 1024 * 1024
    with open(mounted / "big", "wb") as file:
        file.writelines(bytes(1000) for _ in range(size // 1000))
    assert volume.calls.count("pwrite") <= size // files.WRITE_BUFFER + 2
    volume.calls.clear()
    with open(mounted / "big", "rb") as file:
        while file.read(1000):
            pass
    assert volume.calls.count("pread") <= size // files.READ_BUFFER + 2


def test_reading_a_small_file_is_one_pread(mounted: Path, volume: MemoryVolume) -> None:
    (mounted / "note").write_text("hello")
    volume.calls.clear()
    assert (mounted / "note").read_text() == "hello"
    assert volume.calls.count("pread") <= 2
    assert volume.calls.count("open") == 1


def test_buffering_warnings_are_those_of_io_open(mounted: Path) -> None:
    with pytest.warns(RuntimeWarning, match="line buffering") as caught:
        open(mounted / "x", "wb", 1).close()
    assert caught[0].filename == __file__


def test_line_buffered_text_is_visible_line_by_line(mounted: Path) -> None:
    with open(mounted / "log", "w", 1) as file:
        file.write("one\ntwo")
        assert (mounted / "log").read_text() == "one\ntwo"


def test_new_files_get_the_permissions_that_the_umask_leaves(mounted: Path) -> None:
    former = os.umask(0o027)
    try:
        open(mounted / "a", "w").close()
        os.close(os.open(mounted / "b", os.O_WRONLY | os.O_CREAT, 0o777))
        os.mkdir(mounted / "c")
    finally:
        assert os.umask(former) == 0o027
    assert [(mounted / name).stat().st_mode & 0o777 for name in "abc"] == [0o640, 0o750, 0o750]


def test_files_cannot_be_pickled(mounted: Path) -> None:
    with open(mounted / "a", "wb", 0) as file, pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(file)


def test_all_spellings_of_open_are_one(mounted: Path) -> None:
    import _io

    assert builtins.open is io.open is _io.open
    path = str(mounted / "a")
    with io.open(file=path, mode="w", encoding="utf-8") as file:  # noqa: UP020
        file.write("é")
    with open(os.fsencode(path), "rb") as binary:
        assert binary.name == os.fsencode(path)
        assert binary.read() == "é".encode()
    with io.FileIO(path, "rb") as raw:
        assert raw.readall() == "é".encode()


def test_a_raw_fileio_on_a_mounted_path_commits(mounted: Path, volume: MemoryVolume) -> None:
    with io.FileIO(str(mounted / "a"), "w") as raw:
        raw.write(b"x")
    assert committed(volume, "a") == b"x"
    with pytest.raises(ValueError, match="mode"):
        io.FileIO(str(mounted / "a"), "t")


def test_subclasses_of_fileio_still_work_on_the_disk(mounted: Path, beside: Path) -> None:
    class Noisy(io.FileIO):
        pass

    with Noisy(str(beside / "x"), "w") as raw:
        raw.write(b"y")
    assert isinstance(raw, Noisy)
    assert issubclass(Noisy, io.FileIO)
    assert (beside / "x").read_bytes() == b"y"


def test_standard_writers_work(everywhere: Path) -> None:
    with open(everywhere / "d.json", "w") as text:
        json.dump({"a": [1]}, text)
    with open(everywhere / "d.pickle", "wb") as binary:
        pickle.dump({"a": (1,)}, binary)
    with open(everywhere / "d.csv", "w", newline="") as text:
        csv.writer(text).writerows([["a", "b"], ["1", "x,y"]])
    with gzip.open(everywhere / "d.gz", "wt") as text:
        text.write("zipped")
    assert json.loads((everywhere / "d.json").read_text()) == {"a": [1]}
    assert pickle.loads((everywhere / "d.pickle").read_bytes()) == {"a": (1,)}
    with open(everywhere / "d.csv", newline="") as text:
        assert list(csv.reader(text)) == [["a", "b"], ["1", "x,y"]]
    with gzip.open(everywhere / "d.gz", "rt") as text:
        assert text.read() == "zipped"


def test_reading_a_large_file_in_pieces_needs_little_memory(mounted: Path) -> None:
    with open(mounted / "big", "wb") as file:
        file.truncate(32 * 1024 * 1024)
    tracemalloc.start()
    try:
        with open(mounted / "big", "rb") as file:
            while file.read(65536):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


def test_an_opener_is_called_with_the_path_and_may_open_in_a_mount(mounted: Path, volume: MemoryVolume) -> None:
    seen: list[tuple[object, bool]] = []

    def opener(path: str, flags: int) -> int:
        seen.append((path, bool(flags & os.O_CREAT)))
        return os.open(path, flags, 0o600)

    with open(mounted / "secret", "w", opener=opener) as file:
        assert file.name == str(mounted / "secret")
        file.write("x")
    assert seen == [(str(mounted / "secret"), True)]
    assert committed(volume, "secret") == b"x"
    assert (mounted / "secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ValueError, match="opener returned -1"):
        open(mounted / "secret", opener=lambda path, flags: -1)  # noqa: SIM115


def test_many_threads_open_write_and_read_at_once(everywhere: Path) -> None:
    def work(number: int) -> None:
        for step in range(8):
            own = everywhere / f"own{number}"
            own.write_text(f"{number} {step}")
            assert own.read_text() == f"{number} {step}"
            with open(everywhere / "log", "a") as log:
                log.write(f"{number} {step}\n")
            fd = os.open(everywhere / f"fd{number}", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            os.write(fd, b"x" * step)
            assert os.fstat(fd).st_size == step
            os.close(fd)
            assert os.path.getsize(everywhere / f"fd{number}") == step

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(8)]:
            done.result()
    lines = (everywhere / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{number} {step}" for number in range(8) for step in range(8))


def test_a_subclass_of_fileio_opens_mounted_files(everywhere: Path) -> None:
    class Raw(io.FileIO):
        pass

    with Raw(str(everywhere / "f"), "w") as file:
        file.write(b"content")
        assert file.name == str(everywhere / "f")
    with Raw(str(everywhere / "f")) as file:
        assert file.readall() == b"content"
    assert Raw.__mro__[1] is io.FileIO
    with open(everywhere / "f", "rb", 0) as raw, pytest.raises(TypeError):
        raw.seek(0.0)  # type: ignore[arg-type]
