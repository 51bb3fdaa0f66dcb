"""Read one line as JSON, as strictly as the service does, and say what keeps it from being JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from gemini_tuning.dataset.codes import Fault

NOT_STR = "It was written with str() or repr(): write each object with json.dumps()."
_ON_ONE_LINE = "write the whole object on one line (jq -c . does)."
DEEPEST = 100  # levels; where protobuf's JSON readers stop, and far below where Python's do
_PYTHON_WORDS = ("None", "True", "False")
_OF_SEVERAL_LINES = re.compile(r'\s*(?:[\]}][\]},\s]*$|"(?:[^"\\]|\\.)*"\s*:)')  # a closing bracket, or a key
_TOKEN = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?|(?P<word>-?\b(?:NaN|Infinity)\b)|(?P<brace>[{}])')


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
        return None, error.fault._replace(column=error.column(text))
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" starting at").removesuffix(" at")
        return None, Fault("invalid-json", f"not valid JSON: {reason}", _advice(error), column=error.colno)
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
    if rest[:1] in {"}", "]"} and error.doc[: error.pos].rstrip().endswith(","):
        return "Remove the comma before it: nothing follows."
    if error.msg == "Extra data" and rest.startswith("{"):
        return "Begin the next object on the next line."
    if error.msg.startswith("Unterminated string"):
        return r"The line ends inside a text: write a line break in a text as \n, and the whole object on one line."
    if error.msg.startswith("Invalid control character"):
        return r"Write it as an escape, such as \t."
    if rest.startswith("'"):
        return f"Single quotes: {NOT_STR[0].lower()}{NOT_STR[1:]}"
    if rest.startswith(_PYTHON_WORDS):
        return f"That is Python, not JSON. {NOT_STR}"
    if not rest:
        return f"The line ends inside the JSON: {_ON_ONE_LINE}"
    if _OF_SEVERAL_LINES.match(error.doc):
        return f"It looks like a piece of an object spread over several lines: {_ON_ONE_LINE}"
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
    """What the decoder is told to refuse. It says no place, so that one is looked for once it is needed."""

    def __init__(self, fault: Fault, column: Callable[[str], int | None]) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.column = column


def _refuse_constant(name: str) -> None:
    def column(text: str) -> int | None:
        return next((token.start() + 1 for token in _TOKEN.finditer(text) if token["word"] == name), None)

    raise _FoundFault(Fault("invalid-json", f"{name} is not JSON", "Write a number, or null."), column)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    keys = [key for key, _ in pairs]
    twin = next(key for key in keys if keys.count(key) > 1)

    def column(text: str) -> int | None:
        within: list[int] = []  # how often the key stands in each of the objects around a place
        for token in _TOKEN.finditer(text):
            if token["brace"] == "{":
                within.append(0)
            elif token["brace"]:
                within.pop()
            elif token["colon"] and json.loads(token["text"]) == twin:
                within[-1] += 1
                if within[-1] > 1:
                    return token.start() + 1
        return None

    fault = Fault("duplicate-key", f"key {twin[:80]!r} stands twice in one object", "Keep one of them.")
    raise _FoundFault(fault, column)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
