"""Convert one line: its bytes in, the bytes of its ``contents`` line out, and notes on what did not come along."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gemini_tuning.dataset.convert.losses import Code, Loss, Notes, at
from gemini_tuning.dataset.convert.older_google import convert_gemini_1_0, convert_palm
from gemini_tuning.dataset.convert.openai import convert_chat
from gemini_tuning.dataset.convert.pairs import convert_pair
from gemini_tuning.dataset.convert.sharegpt import convert_sharegpt
from gemini_tuning.dataset.lines.formats import PAIRS, Format, is_example, recognise, wrapper
from gemini_tuning.dataset.lines.parsing import DEEPEST, parse

_KEYS_NAMED = 6


class Converted(NamedTuple):
    """What became of a line; ``data`` is None where it was refused, and ends with a line feed otherwise.

    ``format`` is None where none is known, and of a line that is in ``contents`` already: that is handed on as it is.
    """

    data: bytes | None
    format: Format | None
    losses: list[Loss]


def convert_line(line: bytes, wanted: Format | None, *, keep_weights: bool) -> Converted:
    """Convert one line.

    :param line: without its line feed.
    :param wanted: the format it is in, be it wrapped or not; None = look.
    :param keep_weights: see ``convert_chat``.
    """
    notes = Notes()
    document, fault = parse(line)
    if fault is not None:
        column = f" (column {fault.column})" if fault.column else ""
        notes.refuse(fault.code, None, f"{fault.message}{column}", fault.hint)
    elif not isinstance(document, dict):
        notes.refuse(Code.NOT_AN_OBJECT, None, "not a JSON object")
    if notes.refused:
        return Converted(None, None, notes.losses)
    known = wanted or recognise(document)
    if known is None and "contents" in document:
        return Converted(line + b"\n", None, [])
    key = wrapper(document)
    example = document if key is None else document[key]
    inner = recognise(example) if known is Format.WRAPPED else known
    converted = _convert(example, inner, notes, keep_weights=keep_weights)
    data = None if converted is None else _written(converted, notes)
    losses = notes.losses
    if key is not None:
        losses = [loss._replace(path=_below(key, loss.path)) for loss in losses]
    return Converted(data, known, losses)


def _below(key: str, path: str | None) -> str:
    """Return the path of something inside the object that stands under a key."""
    return f"{at('', key)}.{path}" if path else at("", key)


def _written(converted: dict[str, Any], notes: Notes) -> bytes | None:
    try:
        data = orjson.dumps(converted, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # of what is parsed, it fails to write nothing else
        notes.refuse(Code.LONG_INTEGER, None, "an integer of more than 64 bits, which would be rounded")
        return None
    if data.count(b"{") + data.count(b"[") > DEEPEST:  # arguments lie deeper here than in their string
        _, fault = parse(data)
        if fault is not None:
            notes.refuse(fault.code, None, fault.message, fault.hint)
            return None
    return data


def _convert(
    document: dict[str, Any], known: Format | None, notes: Notes, *, keep_weights: bool
) -> dict[str, Any] | None:
    match known:
        case Format.OPENAI | Format.OPENAI_PROMPT:
            return convert_chat(document, notes, keep_weights=keep_weights)
        case Format.SHAREGPT:
            return convert_sharegpt(document, notes, keep_weights=keep_weights)
        case Format.GEMINI_1_0:
            return convert_gemini_1_0(document, notes)
        case Format.PALM:
            return convert_palm(document, notes)
        case Format() if known in PAIRS:
            return convert_pair(document, PAIRS[known], notes)
        case None if "contents" in document:  # it was wrapped
            return document
        case None:
            keys = ", ".join(repr(key[:80]) for key in list(document)[:_KEYS_NAMED]) or "none"
            notes.refuse(Code.UNKNOWN_FORMAT, None, f"no known format has these keys: {keys}", _take_out(document))
        case other:
            notes.refuse(Code.UNSUPPORTED_FORMAT, None, f"convert does not read {other.label}", other.remedy(""))
    return None


def _take_out(document: dict[str, Any]) -> str | None:
    """Return what to do with a line that holds an example beside other things."""
    key = next((key for key, value in document.items() if is_example(value)), None)
    return None if key is None else f"Write what is in {key[:80]!r} on the line, without what stands around it."
