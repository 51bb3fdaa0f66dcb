"""Cut a file into ranges of whole lines: by looking for line feeds on disk, or while the bytes stream by."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from gemini_tuning.dataset.reading.scanning import RANGE
from gemini_tuning.dataset.reading.source import LARGEST_LINE
from gemini_tuning.dataset.reading.worker import Task

UNPACKING_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)  # a damaged gzip file raises one of them
_BLOCK = 1024 * 1024


def of_file(path: Path, size: int) -> Iterator[Task]:
    """Yield the ranges of the first ``size`` bytes of a file on disk; those who check them read them."""
    start = 0
    with path.open("rb") as stream:
        while start < size:
            end = min(start + RANGE, size)
            if end < size:
                stream.seek(end - 1)
                while (rest := stream.readline(_BLOCK)) and not rest.endswith(b"\n"):
                    pass
                end = min(stream.tell(), size)
            yield Task(path=str(path), start=start, size=end - start)
            start = end


def of_stream(read: Callable[[int], bytes], *, head: bytes = b"") -> Iterator[Task]:
    """Yield the ranges of a stream, their bytes with them.

    What exceeds ``LARGEST_LINE`` of a line is left out, but for the byte that shows it was there.

    :param read: returns at most so many bytes, and none at the end.
    :param head: what was read before.
    """
    held = bytearray(head)
    skipping = False  # in the rest of a line that is too long
    while block := read(min(_BLOCK, RANGE)):
        if skipping:
            _, feed, block = block.partition(b"\n")
            skipping = not feed
            held += feed
        held += block
        if len(held) >= RANGE and (cut := held.rfind(b"\n") + 1):
            yield Task(data=bytes(held[:cut]))
            del held[:cut]
        if len(held) > LARGEST_LINE and b"\n" not in held:
            del held[LARGEST_LINE + 1 :]
            skipping = True
    if held:
        yield Task(data=bytes(held))


class Readable(Protocol):
    """Anything that bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, and none at the end."""


class Tee:
    """A stream that shows every block it hands out to somebody else too."""

    def __init__(self, stream: Readable, update: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._update = update

    def read(self, size: int = _BLOCK) -> bytes:
        """Return the next bytes."""
        block = self._stream.read(size)
        self._update(block)
        return block

    def drain(self) -> None:
        """Read to the end."""
        while self.read(_BLOCK):
            pass
