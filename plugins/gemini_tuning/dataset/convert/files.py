"""Convert a file, line by line: the input is never touched, the output appears when it is complete."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from gemini_tuning.dataset.convert.lines import convert_line
from gemini_tuning.dataset.convert.losses import Code, Notes
from gemini_tuning.dataset.convert.reading import Line, lines
from gemini_tuning.dataset.convert.report import ConversionReport, Losses
from gemini_tuning.dataset.lines.formats import Format
from gemini_tuning.dataset.reading.progress import Progress, Report
from gemini_tuning.dataset.reading.source import LARGEST_LINE, OpenSource, in_cloud_storage, local_file, open_source
from gemini_tuning.errors import ConfigError, UnusableInputError

if TYPE_CHECKING:
    from google.cloud.storage import Client

_BUFFER = 1024 * 1024
_LINES_BETWEEN_REPORTS = 1000


def convert_file(
    reference: str,
    target: str,
    *,
    wanted: Format | None,
    keep_weights: bool,
    loss_report: str | None,
    force: bool,
    storage: Callable[[], Client],
    progress: Report | None = None,
) -> ConversionReport:
    """Write every line that can be carried over as a ``contents`` line, and report the rest.

    Lines that are in ``contents`` already are written as they are.

    :param reference: local path or ``gs://`` URI of JSON Lines, gzip or plain.
    :param target: local path of the file to write; where no line can be written, there is none.
    :param wanted: the format of all lines; None = look at each.
    :param keep_weights: write turns that are not to be learned all the same.
    :param loss_report: local path of a file that is to hold every loss, one JSON object per line.
    :param force: replace files that exist.
    :param storage: makes a Cloud Storage client; called for ``gs://`` only.
    :param progress: is told from time to time how far the input is read.
    :raises ConfigError: when a file to be written is in the way, or can't be where it is wanted.
    :raises UnusableInputError: when the input can't be read, or the output can't be written.
    :raises TransientError: when Cloud Storage can't be reached.
    """
    try:
        source = None if in_cloud_storage(reference) else local_file(reference, None)
        output = _writable(target, "--to", source, force=force)
        report = _writable(loss_report, "--loss-report", source, force=force) if loss_report else None
        if report and report.resolve() == output.resolve():
            raise ConfigError(f"{loss_report}: --loss-report names the same file as --to; name another.")
        with ExitStack() as stack:
            opened = stack.enter_context(open_source(reference, root=None, storage=storage))
            out = stack.enter_context(_draft(output))
            losses = Losses(_json_lines(stack.enter_context(_draft(report, even_empty=True))) if report else None)
            read = _reported(opened, progress) if progress else lines(reference, opened.stream)
            _convert(read, out, losses, keep_weights=keep_weights, wanted=wanted)
            if not losses.lines_with_content:
                raise UnusableInputError(f"{reference}: the file is empty; there is nothing to convert.")
    except OSError as error:
        place = error.filename or target
        raise UnusableInputError(f"{place}: {error.strerror or error}; nothing was written.") from None
    return losses.report(reference, target)


def _reported(source: OpenSource, progress: Report) -> Iterator[Line]:
    """Yield the lines of a source, and tell how far it is read, in the bytes of the file as it lies there."""
    started = time.monotonic()
    for line in lines(source.reference, source.stream):
        if line.number % _LINES_BETWEEN_REPORTS == 0:
            seconds = time.monotonic() - started
            progress(Progress(source.reference, source.stream.tell(), source.size, line.number, seconds))
        yield line


def _convert(read: Iterator[Line], out: BinaryIO, losses: Losses, *, keep_weights: bool, wanted: Format | None) -> None:
    for number, line, too_long in read:
        if too_long:
            notes = Notes()
            notes.refuse(Code.LINE_TOO_LONG, None, f"longer than {LARGEST_LINE // 2**20} MiB")
            losses.add(number, None, notes.losses, written=False)
        elif not line.strip():
            losses.blank()
        else:
            converted = convert_line(line, wanted, keep_weights=keep_weights)
            losses.add(number, converted.format, converted.losses, written=converted.data is not None)
            if converted.data is not None:
                out.write(converted.data)


def _writable(name: str, option: str, source: Path | None, *, force: bool) -> Path:
    """Return the path of a file to write, once nothing stands in its way."""
    if in_cloud_storage(name):
        raise ConfigError(f"{name}: {option} writes to this machine; name a local file and upload that.")
    path = Path(name)
    if path.name.endswith(".gz"):
        raise ConfigError(f"{name}: {option} writes plain JSON Lines, which is what tuning reads; leave out .gz.")
    if not name or not path.parent.is_dir():
        raise ConfigError(f"{name or option}: no folder to write it into; create the folder, or name another file.")
    if path.exists():
        if source is not None and path.samefile(source):
            raise ConfigError(f"{name}: {option} names the input itself; name another file.")
        if not path.is_file():
            raise ConfigError(f"{name}: {option} must name a file, and this is something else.")
        if not force:
            raise ConfigError(f"{name}: exists already; name another file, or replace it with --force.")
    return path


@contextmanager
def _draft(path: Path, *, even_empty: bool = False) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place when all went well and it holds something."""
    draft = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with draft.open("xb", buffering=_BUFFER) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if even_empty or draft.stat().st_size:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _json_lines(stream: BinaryIO) -> Callable[[dict[str, Any]], object]:
    return lambda document: stream.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
