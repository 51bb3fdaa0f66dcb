"""Recognise files that are no JSON Lines at all, so that they are told so once and not on every line."""

from __future__ import annotations

import codecs
import csv
import json

from gemini_tuning.dataset.codes import Fault

GZIP = b"\x1f\x8b"
SAMPLE = 64 * 1024
_MAGIC = {
    b"PK\x03\x04": "a ZIP archive or an Excel sheet",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
}
_LEAST_LINES_OF_PRETTY_JSON = 4
_HINT = "Write JSON Lines: one complete JSON object in each line, and nothing between the lines."


def sniff(head: bytes) -> Fault | None:
    """Return why a file can't be read as lines of JSON, or None.

    :param head: its first bytes, at least ``SAMPLE`` of them where it has so many.
    """
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return Fault("not-json-lines", f"the file is {name}", _HINT)
    if (encoding := _wide_encoding(head)) is not None:
        return Fault("utf-16", f"the file is {encoding}, not UTF-8", "Save it as UTF-8.")
    text = head[:SAMPLE].removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").lstrip()
    if text[:1] in {"{", "["}:
        return _one_document(text)
    return _table(text)


def _wide_encoding(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    start = head[:64]
    half = len(start) // 2
    return "UTF-16" if half > 1 and max(start[::2].count(0), start[1::2].count(0)) > half * 3 // 4 else None


def _one_document(text: str) -> Fault | None:
    first, _, rest = text.partition("\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        whole = None
    else:
        whole = first
    if text.startswith("["):
        if whole is not None and rest.strip():
            return None  # a line among others
        hint = "Write each element of the array on a line of its own, without brackets and commas."
        return Fault("not-json-lines", "the file is one JSON array, not one JSON object per line", hint, column=1)
    if whole is None and (first.strip() == "{" or _spans_lines(text)):
        hint = "Write each object on one line."
        return Fault("not-json-lines", "the file is pretty-printed JSON: objects spread over several lines", hint)
    return None


def _spans_lines(text: str) -> bool:
    """Whether the first object of a text goes on over several lines."""
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[:end].count("\n") >= _LEAST_LINES_OF_PRETTY_JSON - 1


def _table(text: str) -> Fault | None:
    lines = text.split("\n")[:20]
    if len(lines) > 2:
        lines = lines[:-1]  # the last one may be cut
    if any(line.lstrip().startswith("{") for line in lines):
        return None
    for delimiter, name in ((",", "CSV"), ("\t", "TSV"), (";", "CSV with semicolons")):
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if len(rows) > 1 and len(rows[0]) > 1 and len({len(row) for row in rows[:2]}) == 1:
            hint = "Write each row as a JSON object with 'contents'."
            return Fault("not-json-lines", f"the file is {name}, not JSON Lines", hint)
    return None
