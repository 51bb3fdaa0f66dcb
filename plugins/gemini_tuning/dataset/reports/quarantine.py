"""Set rejected lines aside with the reasons, so that somebody can mend them; the dataset itself is never touched.

One JSON object per line: ``file``, ``line``, ``faults`` (each with code, path, message, hint) and the line itself as
``text``, or as ``base64`` where it isn't UTF-8. ``cut`` is true where a line was too long to be kept whole.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gemini_tuning.dataset.reading.scanning import bounded_line
from gemini_tuning.dataset.reports.report import Finding
from gemini_tuning.errors import UnusableInputError


class RejectedLine(NamedTuple):
    """A line of a dataset without its line feed, and why it was rejected."""

    file: str
    line: int
    raw: bytes
    faults: Sequence[Finding]
    cut: bool = False


def rejected_lines(
    reference: str, stream: BinaryIO, numbers: Iterable[int], judge: Callable[[int, bytes], Sequence[Finding]]
) -> Iterator[RejectedLine]:
    """Read the rejected lines of a dataset again, in one more pass that holds one line at a time.

    :param stream: the dataset, opened anew; it needs no seeking, so it may be unpacked or fetched on the way.
    :param numbers: the lines to look at, counted from 1, ascending; they may be millions.
    :param judge: says again what rejects a line, given its number and its bytes without line feed; a line that nothing
        rejects is left out. A line over the limit comes cut just beyond it.
    :raises UnusableInputError: when the dataset ends before the last of them: it was changed in the meantime.
    """
    read = 0
    for number in numbers:
        line, whole = b"", 0
        while read < number:
            line, whole = bounded_line(stream)
            if not line:
                raise UnusableInputError(f"{reference}: was changed while it was checked; check it again.")
            read += 1
        raw = line.removesuffix(b"\n")
        if faults := judge(number, raw):
            yield RejectedLine(reference, number, raw, faults, cut=whole > len(line))


def write_quarantine(
    target: Path, rejected: Iterable[RejectedLine], *, inputs: Iterable[Path] = (), force: bool = False
) -> int:
    """Write rejected lines into a file that only its owner may read, all of them or none; return how many.

    :param inputs: local files that are being checked: never written to, under whatever name.
    :param force: replace an existing file.
    :raises UnusableInputError: when the target may not be written, or can't be.
    """
    check_target(target, inputs, force=force)
    with _os_errors(target):
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)  # mode 0600: it is data
    stream = os.fdopen(descriptor, "wb")
    written = 0
    try:
        for line in rejected:
            with _os_errors(target):
                stream.write(_encoded(line))
            written += 1
        check_target(target, inputs, force=force)
        with _os_errors(target):
            stream.close()
            Path(name).replace(target)
    finally:
        with suppress(OSError):
            stream.close()
        Path(name).unlink(missing_ok=True)
    return written


def check_target(target: Path, inputs: Iterable[Path], *, force: bool) -> None:
    """Refuse a file to write that would destroy something; call it before a long check too.

    :raises UnusableInputError: when the target is one of the inputs (also through links), no regular file, or exists
        and isn't to be replaced.
    """
    with _os_errors(target):
        for path in inputs:
            if os.path.realpath(path) == os.path.realpath(target) or _same_file(target, path):
                raise UnusableInputError(f"{target}: is the dataset itself; name another file.")
        if target.exists() and not target.is_file():
            raise UnusableInputError(f"{target}: is not a file that could be replaced; name a new one.")
        if not target.parent.is_dir():
            raise UnusableInputError(f"{target}: can't be written: there is no such folder; make it, or name another.")
        if os.path.lexists(target) and not force:
            raise UnusableInputError(f"{target}: exists already; name another file, or replace it with --force.")


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names mean one file, by hard links too."""
    return one.exists() and other.exists() and one.samefile(other)


@contextmanager
def _os_errors(target: Path) -> Iterator[None]:
    """Word the refusals of the file system."""
    try:
        yield
    except OSError as error:
        raise UnusableInputError(f"{target}: can't be written: {error.strerror or error}; name another.") from None


def _encoded(rejected: RejectedLine) -> bytes:
    faults = [
        {"code": fault.code, "path": fault.path, "message": fault.message, "hint": fault.hint}
        for fault in rejected.faults
    ]
    document: dict[str, Any] = {"file": rejected.file, "line": rejected.line, "faults": faults}
    if rejected.cut:
        document["cut"] = True
    try:
        document["text"] = rejected.raw.decode("utf-8")
    except UnicodeDecodeError:
        document["base64"] = base64.b64encode(rejected.raw).decode()
    # half a surrogate pair, from a file name or a key, becomes the escape that JSON has for it
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
