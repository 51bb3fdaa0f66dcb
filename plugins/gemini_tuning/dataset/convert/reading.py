"""Read the lines of a file that is not ours: compressed or not, with lines of any length."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from gemini_tuning.dataset.reading.ranges import UNPACKING_ERRORS
from gemini_tuning.dataset.reading.scanning import bounded_line
from gemini_tuning.dataset.reading.sniffing import GZIP, SAMPLE, sniff
from gemini_tuning.dataset.reading.source import LARGEST_LINE
from gemini_tuning.errors import UnusableInputError

_BUFFER = 1024 * 1024


class Line(NamedTuple):
    """A line without its line feed; its number counts from 1; ``too_long``: longer than ``LARGEST_LINE``."""

    number: int
    data: bytes
    too_long: bool


def lines(reference: str, stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file.

    Splits at line feeds only: other separators may stand inside a JSON string. The byte order mark that some editors
    begin a file with is left out; of a line that is too long, everything behind ``LARGEST_LINE`` is.

    :param reference: the file's name in errors.
    :raises UnusableInputError: when the file is no JSON Lines, or its compression is damaged.
    """
    try:
        plain = _buffered(stream)
        if plain.peek(len(GZIP)).startswith(GZIP):
            plain = _buffered(gzip.GzipFile(fileobj=plain))
        if (fault := sniff(plain.peek(SAMPLE))) is not None:
            raise UnusableInputError(f"{reference}: {fault.message}. {fault.hint}")
        number = 0
        while line := bounded_line(plain)[0]:
            number += 1
            data = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            yield Line(number, data.removesuffix(b"\n"), too_long=len(line) > LARGEST_LINE)
    except UNPACKING_ERRORS as error:
        raise UnusableInputError(f"{reference}: damaged gzip file ({error}); nothing was written.") from None


def _buffered(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER)
