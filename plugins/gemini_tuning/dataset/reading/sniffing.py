"""Recognise files that are no JSON Lines at all, so that they are told so once and not on every line."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines.formats import recognise
from gemini_tuning.dataset.lines.parsing import NOT_STR

GZIP = b"\x1f\x8b"
SAMPLE = 64 * 1024
_LFS = b"version https://git-lfs.github.com/spec/"
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
    b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle",
    b"<!DOCTYPE html": "an HTML page, such as a login that came in place of a download",
    b"\x1e{": "a JSON text sequence, with a record separator before each object",
}
_SPACE = " \t\r\n"  # as JSON has it
_TAR, _TAR_AT = b"ustar", 257
_CONTROLS = bytes({*range(0x20)} - set(b"\t\n\v\f\r\x1b"))  # which no text has, in whatever encoding
_HINT = "Write JSON Lines: one complete JSON object in each line, and nothing between the lines."
_SCALAR = r'(?:"[^"\\]*"|[\w.+-]+)'
_WRAPPER = re.compile(rf'\{{\s*(?:"[^"\\]*"\s*:\s*{_SCALAR}\s*,\s*)*"(?P<key>[^"\\]+)"\s*:\s*\[\s*')
_OPENING = re.compile(r'\{[ \t\r]*\n|\[\s*[\[{"]')
_LONGEST_TOKEN = len(r"\u0000")  # of JSON's words and escapes, any of which may be cut


def sniff(head: bytes) -> Fault | None:
    """Return why a file can't be read as lines of JSON, or None.

    A file that mostly is such lines is read line by line, whatever the others hold.

    :param head: its first bytes, at least ``SAMPLE`` of them where it has so many.
    """
    if head.startswith(_LFS):
        message = "the file is a Git LFS pointer, not the data it stands for"
        return Fault("not-json-lines", message, "Fetch the data: git lfs pull.")
    if (encoding := _wide_encoding(head)) is not None:
        return Fault("utf-16", f"the file is {encoding}, not UTF-8", "Save it as UTF-8.")
    sample = head[:SAMPLE].removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").lstrip(_SPACE)
    cut = len(head) >= SAMPLE
    text = sample[: sample.rfind("\n") + 1] or sample if cut else sample.rstrip(_SPACE)
    return _json(text, cut=cut) if text[:1] in {"{", "["} else _no_json(head, text)


def _wide_encoding(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        start = head[: min(len(head), 64) // 4 * 4].decode(encoding, "replace")
        # zeros alone are no sign: archives and programs are full of them
        if all(c.isprintable() or c.isspace() for c in start) and sum(map(str.isascii, start)) * 4 > len(start):
            return encoding[:6].upper()
    return None


def _no_json(head: bytes, text: str) -> Fault | None:
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return Fault("not-json-lines", f"the file is {name}", _HINT)
    if head.startswith(_TAR, _TAR_AT):
        return Fault("not-json-lines", "the file is a tar archive", "Unpack it, and name a file in it.")
    lines = text.split("\n")
    if _mostly(lines, _is_object):
        return None
    if _is_binary(head[:SAMPLE]):
        return Fault("not-json-lines", "the file is binary, no text", _HINT)
    return _table(lines[:20])


def _is_binary(sample: bytes) -> bool:
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    return controls * 50 > len(sample) or 0 in sample[:16]


def _json(text: str, *, cut: bool) -> Fault | None:
    """Tell a file that is one JSON document, or several over many lines each.

    :param cut: the text is but the beginning of the file.
    """
    document, end, unfinished = _first_document(text)
    rest = text[end:].strip(" \t")
    if end and not rest and not cut:
        return _single(document, over_lines="\n" in text)
    if _mostly(rest.split("\n"), _is_object):
        return None
    if rest.startswith("\r") and "\n" not in text:
        message = "its lines end with a carriage return alone, as on old Macs"
        return Fault("not-json-lines", message, "Save it with line feeds.")
    if _mostly(rest.split("\n"), _is_python):
        return Fault("not-json-lines", "the file holds Python dictionaries with single quotes, not JSON", NOT_STR)
    if end:
        return _several_lines(text) if "\n" in text[:end] else None
    if (key := _first_wrapper(text)) is not None:
        return _wrapped(key)
    over_lines = unfinished and "\n" in text
    return _several_lines(text) if over_lines or _OPENING.match(text) else None


def _first_document(text: str) -> tuple[Any, int, bool]:
    """Return the document a text begins with, where it ends, and whether the text ends before it does."""
    try:
        return *json.JSONDecoder().raw_decode(text), False
    except json.JSONDecodeError as error:
        in_the_end = error.pos >= len(text.rstrip()) - _LONGEST_TOKEN or error.msg.startswith("Unterminated")
        return None, 0, in_the_end
    except (ValueError, RecursionError):  # a number of thousands of digits, a nesting bomb
        return None, 0, False


def _mostly(lines: Sequence[str], kind: Callable[[str], bool]) -> bool:
    """Whether lines of a kind make up most of the text."""
    return 2 * sum(len(line) for line in lines if kind(line)) > sum(map(len, lines))


def _is_object(line: str) -> bool:
    """Whether a line is a whole JSON object; one that is indented belongs to something greater."""
    document, end, _ = _first_document(line)
    return isinstance(document, dict) and not line[end:].strip()


def _is_python(line: str) -> bool:
    return line.startswith(("{'", "[{'"))


def _single(document: Any, *, over_lines: bool) -> Fault | None:
    if isinstance(document, list):
        return _several_lines("[")
    if (key := _wrapper(document)) is not None:
        return _wrapped(key)
    return _several_lines("{") if over_lines else None


def _several_lines(text: str) -> Fault:
    if text.startswith("["):
        hint = "Write each element of the array on a line of its own, without brackets and commas (jq -c '.[]' does)."
        return Fault("not-json-lines", "the file is one JSON array, not one JSON object per line", hint)
    hint = "Write each object on one line (jq -c . does)."
    return Fault("not-json-lines", "the file is pretty-printed JSON: objects spread over several lines", hint)


def _wrapper(document: dict[str, Any]) -> str | None:
    """Return the key of the list in which an object, no example itself, holds examples."""
    if _is_example(document):
        return None
    lists = ((key, value) for key, value in document.items() if isinstance(value, list))
    return next((key for key, elements in lists if elements and _is_example(elements[0])), None)


def _first_wrapper(text: str) -> str | None:
    """Return the same for an object whose end isn't known, as far as plain values stand before the list."""
    if (found := _WRAPPER.match(text)) is None:
        return None
    return _wrapper({found["key"]: [_first_document(text[found.end() :])[0]]})


def _is_example(document: Any) -> bool:
    return isinstance(document, dict) and ("contents" in document or recognise(document) is not None)


def _wrapped(key: str) -> Fault:
    shown = repr(key[:80])
    hint = f"Write each element of {shown} on a line of its own, without what is around them."
    return Fault("not-json-lines", f"the file is one JSON object with its examples in the list {shown}", hint)


def _table(lines: Sequence[str]) -> Fault | None:
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
