"""The content of a file as a table of pieces, some of them stored, some in memory; and what was changed in it.

Pure: nothing here reads or writes a store.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

MERGE_LIMIT = 1 << 20  # bytes; neighbouring pieces in memory are joined up to here


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of something immutable.

    Attributes:
        source: where the bytes are: "b:NAME" a blob, "c:INO/ID" a chunk entity, "d:PATH" a deployed file.
        offset: bytes from the source's start.
        length: bytes.
    """

    source: str
    offset: int
    length: int

    def cut(self, start: int, end: int) -> "Extent":
        """Return the part from `start` to `end`, counted from this piece's start."""
        return Extent(self.source, self.offset + start, end - start)


@dataclass(frozen=True, slots=True)
class Hole:
    """A range of zeros that takes no room."""

    length: int

    def cut(self, start: int, end: int) -> "Hole":
        """Return the part from `start` to `end`."""
        return Hole(end - start)


class Memory:
    """Bytes that are not stored yet, or are stored inline; changed in place by the view that holds them."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self.data = bytearray(data)

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)

    def cut(self, start: int, end: int) -> "Memory":
        """Return a copy of the part from `start` to `end`."""
        return Memory(memoryview(self.data)[start:end])


Piece = Extent | Hole | Memory
Load = Callable[[Extent], bytes]


class View:
    """A file's content: pieces in order."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self.pieces: list[Piece] = [piece for piece in pieces if piece.length]
        self.size = sum(piece.length for piece in self.pieces)

    def copy(self) -> "View":
        """Return an independent view of the same content."""
        return View(self.slice(0, self.size))

    def parts(self, start: int, end: int) -> Iterator[tuple[Piece, int, int]]:
        """Yield the pieces that overlap `start` to `end`, each with the overlap counted from the piece's start."""
        position = 0
        for piece in self.pieces:
            if position >= end:
                return
            after = position + piece.length
            if after > start:
                yield piece, max(start - position, 0), min(end, after) - position
            position = after

    def slice(self, start: int, end: int) -> list[Piece]:
        """Return copies of the pieces between two offsets."""
        return [piece.cut(a, b) for piece, a, b in self.parts(start, end)]

    def read(self, offset: int, length: int, load: Load) -> bytes:
        """Return up to `length` bytes from `offset`.

        Args:
            offset: bytes from the start.
            length: bytes.
            load: reads an extent.
        """
        if len(self.pieces) == 1 and isinstance(only := self.pieces[0], Memory):  # most files
            return bytes(memoryview(only.data)[offset : offset + length])
        found = []
        for piece, start, end in self.parts(offset, min(self.size, offset + length)):
            if isinstance(piece, Memory):
                found.append(bytes(memoryview(piece.data)[start:end]))
            elif isinstance(piece, Hole):
                found.append(bytes(end - start))
            else:
                found.append(load(piece.cut(start, end)))
        return found[0] if len(found) == 1 else b"".join(found)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put `data` at `offset`, filling a gap before it with a hole."""
        if not len(data):
            return
        if offset > self.size:
            self.truncate(offset)
        if not (self._extend(offset, data) or self._overwrite(offset, data)):
            self._splice(offset, offset + len(data), Memory(data))

    def truncate(self, size: int) -> None:
        """Cut, or extend with a hole, to `size` bytes."""
        if size < self.size:
            self.pieces = self._kept(0, size)
        elif size > self.size:
            self.pieces.append(Hole(size - self.size))
        self.size = size

    def _kept(self, start: int, end: int) -> list[Piece]:
        """Return the pieces between two offsets for this view itself: only those at the ends are copied."""
        return [piece if b - a == piece.length else piece.cut(a, b) for piece, a, b in self.parts(start, end)]

    def replace(self, index: int, pieces: list[Piece]) -> None:
        """Put other pieces with the same content where piece `index` was (after it was stored)."""
        self.pieces[index : index + 1] = pieces

    def _extend(self, offset: int, data: bytes | memoryview) -> bool:
        last = self.pieces[-1] if self.pieces else None
        if offset != self.size or not isinstance(last, Memory):
            return False
        last.data += data
        self.size += len(data)
        return True

    def _overwrite(self, offset: int, data: bytes | memoryview) -> bool:
        for piece, start, end in self.parts(offset, offset + len(data)):
            if isinstance(piece, Memory) and end - start == len(data):
                piece.data[start:end] = data
                return True
            return False
        return False

    def _splice(self, start: int, end: int, piece: Memory) -> None:
        before, after = self._kept(0, start), self._kept(end, self.size)
        if before and isinstance(before[-1], Memory) and before[-1].length + piece.length <= MERGE_LIMIT:
            before[-1].data += piece.data
            piece = before.pop()  # type: ignore[assignment]  # just seen to be Memory
        if after and isinstance(after[0], Memory) and after[0].length + piece.length <= MERGE_LIMIT:
            piece.data += after.pop(0).data  # type: ignore[union-attr]  # just seen to be Memory
        self.pieces = [*before, piece, *after]
        self.size = max(self.size, end)


@dataclass(slots=True)
class Changes:
    """What was done to a content since it was last committed, so that it can be done to a newer one.

    Attributes:
        replaced: the whole content is new; what was there before does not matter.
        cut: the smallest size that the old content was cut to, or None.
        least: the size that the file has at least since it was cut or extended.
        written: ranges (start, end) written in place, disjoint, in order.
        appended: where the appended part begins in the view, or None.
    """

    replaced: bool = False
    cut: int | None = None
    least: int = 0
    written: list[tuple[int, int]] = field(default_factory=list)
    appended: int | None = None

    def __bool__(self) -> bool:
        return bool(self.replaced or self.cut is not None or self.least or self.written or self.appended is not None)

    def on_write(self, start: int, end: int) -> None:
        """Note a write in place; what lies in the appended part belongs to that part."""
        if self.replaced or start == end:
            return
        if self.appended is not None:
            if start >= self.appended:
                return
            end = min(end, self.appended)
        kept = []
        for a, b in self.written:
            if b < start or a > end:
                kept.append((a, b))
            else:
                start, end = min(a, start), max(b, end)
        self.written = sorted([*kept, (start, end)])

    def on_append(self, start: int) -> None:
        """Note an append that began at `start` of the view."""
        if not self.replaced and self.appended is None:
            self.appended = start

    def on_truncate(self, size: int, old_size: int) -> None:
        """Note a truncation from `old_size` to `size`; within the appended part it changes only what is appended."""
        if size == 0:
            self.__init__(replaced=True)  # type: ignore[misc]  # back to the start, nothing old matters
        elif not self.replaced and (self.appended is None or size <= self.appended):
            self._shrink(size) if size < old_size else self._grow(size)

    def applied(self, size: int, now: int) -> None:
        """Note that what was done is stored already, but for what was done since.

        Args:
            size: bytes that the content had when it was stored.
            now: bytes that it has now. What was added since is what is left of an append; all of a content that did not
                grow counts as new.
        """
        if self.appended is None or self.replaced:
            return  # writing the same ranges again changes nothing
        if now > size:
            self.appended = size
        else:
            self.__init__(replaced=True)  # type: ignore[misc]  # as on_truncate

    def _shrink(self, size: int) -> None:
        self.cut = size if self.cut is None else min(self.cut, size)
        self.written = [(a, min(b, size)) for a, b in self.written if a < size]
        self.least = size
        self.appended = None

    def _grow(self, size: int) -> None:
        self.least = max(self.least, size)

    def replay(self, view: View, newest: View) -> View:
        """Return `newest` with the same changes made to it.

        Args:
            view: the changed content, from which what was written is taken.
            newest: a content that others committed meanwhile.
        """
        if self.replaced:
            return view.copy()
        result = newest.copy()
        if self.cut is not None and result.size > self.cut:
            result.truncate(self.cut)
        for start, end in self.written:
            _put(result, start, view.slice(start, end))
        if result.size < self.least:
            result.truncate(self.least)
        if self.appended is not None:
            _put(result, result.size, view.slice(self.appended, view.size))
        return result


def _put(view: View, offset: int, pieces: list[Piece]) -> None:
    if offset > view.size:
        view.truncate(offset)
    end = offset + sum(piece.length for piece in pieces)
    view.pieces = [*view.slice(0, offset), *pieces, *view.slice(end, view.size)]
    view.size = max(view.size, end)
