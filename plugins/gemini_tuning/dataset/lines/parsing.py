"""Read one line as JSON, as strictly as the service does, and say what keeps it from being JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson

from gemini_tuning.dataset.codes import Fault

DEEPEST = 100  # levels; where protobuf's JSON readers stop, and far below where Python's do


def parse_fast(line: bytes) -> tuple[Any, Fault | None]:
    """Return the same as ``parse``, faster where there is no fault.

    Of integers beyond 64 bits the last digits are lost: no rule looks at them.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return parse(line)
    if line.count(b"{") + line.count(b"[") > DEEPEST or _may_have_twins(line, document):
        return parse(line)
    return document, None


def _may_have_twins(line: bytes, document: Any) -> bool:
    """Whether a line may hold more strings than came out of it, as it does when a key stands twice."""
    written = orjson.dumps(document)
    if b"\\\\" in line or b"\\\\" in written:  # then it isn't plain which quotation marks end a string
        return True
    return line.count(b'"') - line.count(b'\\"') != written.count(b'"') - written.count(b'\\"')


def parse(line: bytes) -> tuple[Any, Fault | None]:
    """Return the JSON document of a line, or the fault that keeps it from being one."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, Fault(
            "not-utf-8",
            f"byte {error.start + 1} of the line is not UTF-8",
            "Save the file as UTF-8.",
            column=error.start + 1,
        )
    if text.startswith("\ufeff"):
        return None, Fault("byte-order-mark", "starts with a byte order mark", "Save as UTF-8 without BOM.")
    if not text.strip():
        return None, Fault("blank-line", "blank line", "Remove it: every line is one example.")
    return _parse(text)


def _parse(text: str) -> tuple[Any, Fault | None]:
    try:
        document = _DECODER.decode(text)
    except _FoundFault as error:
        return None, error.fault
    except json.JSONDecodeError as error:
        return None, Fault("invalid-json", f"not valid JSON: {error.msg}", _advice(error), column=error.colno)
    except ValueError:  # Python refuses numbers of thousands of digits
        return None, _number_too_long()
    except RecursionError:
        return None, _too_deep()
    if r"\ud" in text.lower() and _has_lone_surrogate(document):
        hint = "A text was cut inside an emoji or the like: write the character whole."
        return None, Fault("lone-surrogate", "half of a surrogate pair, which is no character", hint)
    if _deeper_than(document, text, DEEPEST):
        return None, _too_deep()
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:  # what only Python reads: 1e999, and integers beyond any float
        return None, _number_too_long()
    return document, None


def _advice(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].strip()
    if error.msg == "Extra data" and rest == ",":
        return "Remove the comma at the end: lines stand for themselves."
    return "Write one complete JSON object per line."


def _number_too_long() -> Fault:
    return Fault("invalid-json", "a number is too long to be one", "Shorten it, or write it as text.")


def _too_deep() -> Fault:
    return Fault("nested-too-deep", "nested too deep to be an example", "Check how it was written.")


def _has_lone_surrogate(document: Any) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _deeper_than(document: Any, text: str, deepest: int) -> bool:
    if text.count("{") + text.count("[") <= deepest:
        return False
    level = [document]
    for _ in range(deepest):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        ]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)


class _FoundFault(ValueError):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _refuse_constant(name: str) -> None:
    raise _FoundFault(Fault("invalid-json", f"{name} is not JSON", "Write a number, or null."))


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for key in keys if keys.count(key) > 1)
        raise _FoundFault(Fault("duplicate-key", f"key {twin[:80]!r} stands twice in one object", "Keep one of them."))
    return document


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
