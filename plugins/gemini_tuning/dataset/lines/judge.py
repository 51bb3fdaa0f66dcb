"""Judge one parsed line: its shape by the schema, then its conversation. The only author of what people read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines import conversation
from gemini_tuning.dataset.lines.names import LONGEST_KEY, Path, camel, json_path
from gemini_tuning.dataset.lines.rules import Rules
from gemini_tuning.dataset.lines.violations import SCHEMA_FILE, Violation, counted, explained

_DATA_MEMBERS = {"fileData", "functionCall", "functionResponse"}


def faults(document: Any, rules: Rules) -> list[Fault]:
    """Return everything wrong with a parsed line: shape first; a well-shaped one is then read as a conversation."""
    violations = explained(document)
    found = [fault for violation in violations for fault in _worded(violation)]
    return [*found, *conversation.faults(document, rules)] if _readable(violations) else found


def codes(document: Any, rules: Rules) -> list[str]:
    """Return the codes of the same faults, without their words and so much faster."""
    violations = counted(document)
    found = [code for violation in violations for code in _codes(violation)]
    if _readable(violations):
        found += [fault.code for fault in conversation.faults(document, rules)]
    return found


def _readable(violations: Iterable[Violation]) -> bool:
    """Whether the line can be read as a conversation all the same: only fields that don't belong there."""
    return all(violation.keyword == "additionalProperties" for violation in violations)


def _codes(violation: Violation) -> list[str]:
    match violation.keyword:
        case "required":
            return ["missing-field"]
        case "additionalProperties":
            return [_unknown_code(violation.path, field) for field in _unknown(violation)]
        case "type":
            return ["double-encoded-args" if _holds_json_object(violation) else "wrong-type"]
        case "enum":
            return ["wrong-value"]
        case "pattern":
            return ["empty-text" if violation.path[-1] == "text" else "wrong-uri"]
        case "minItems":
            return ["empty-list"]
        case "oneOf":
            return ["both-casings" if _twins(violation) else "part-members"]
        case "not":
            return ["both-casings"]
        case _:
            return ["wrong-shape"]


def _worded(violation: Violation) -> Iterator[Fault]:
    path, rule = json_path(violation.path), violation.rule
    for code in dict.fromkeys(_codes(violation)):
        if code in {"unknown-field", "system-not-text"}:
            fields = [field for field in _unknown(violation) if _unknown_code(violation.path, field) == code]
            yield from (_unknown_fault(code, field, violation) for field in fields)
        else:
            yield Fault(code, *_words(code, violation, rule), path)


def _words(code: str, violation: Violation, rule: Any) -> tuple[str, str]:
    """Return message and hint."""
    match code:
        case "missing-field":
            return f"field {violation.missing!r} is missing", "Add it."
        case "double-encoded-args":
            return "the arguments are a string of JSON", "Write the object itself, not a string of its JSON."
        case "wrong-type":
            kind = _JSON_TYPES.get(type(violation.instance), "something else")
            return f"must be {rule}, is {kind}", "Correct its type."
        case "wrong-value":
            hint = _role_hint(violation) or f"Write one of {', '.join(map(repr, rule))}."
            return f"{conversation.word(violation.instance)} is not allowed", hint
        case "both-casings":
            fields = " and ".join(map(repr, _twins(violation) or rule["required"]))
            return f"{fields} are one field written twice", "Keep one of them."
        case "part-members":
            members = ", ".join(sorted({camel(branch["required"][0]) for branch in rule}))
            return f"needs exactly one of {members}", "Split it, or add what is missing."
        case "wrong-uri" if any(map(str.isspace, violation.instance)):
            return "a URI with white space in it", "Name the file without it."
        case "wrong-uri" if violation.instance.startswith("gs://"):
            return "a gs:// URI without a bucket or without an object", "Write gs://bucket/path/of/the/file."
        case _:
            return _WORDS.get(code) or (f"violates {violation.keyword!r} of the schema", f"See {SCHEMA_FILE}.")


_WORDS = {
    "empty-text": ("empty text", "Write the text, or leave the part out."),
    "wrong-uri": ("not a gs:// or http(s):// URI", "Upload the file and name its URI."),
    "empty-list": ("empty list", "It needs at least one element."),
}


def _unknown(violation: Violation) -> list[str]:
    return sorted(violation.instance.keys() - set(violation.known))


def _unknown_code(path: Path, field: str) -> str:
    in_instruction = bool(path) and path[0] in {"systemInstruction", "system_instruction"}
    return "system-not-text" if in_instruction and camel(field) in _DATA_MEMBERS else "unknown-field"


def _unknown_fault(code: str, field: str, violation: Violation) -> Fault:
    from gemini_tuning.explain import did_you_mean

    path = json_path((*violation.path, field))
    if code == "system-not-text":
        hint = "Move it into the first user turn."
        return Fault(code, f"a system instruction holds text only, not {field!r}", hint, path)
    guess = did_you_mean(field[:LONGEST_KEY], violation.known).removeprefix("; ")
    known = ", ".join(sorted(set(map(camel, violation.known))))
    hint = _HINTS.get(camel(field)) or guess[:1].upper() + guess[1:] or f"Known here: {known}."
    return Fault(code, f"unknown field {field[:LONGEST_KEY]!r}", hint, path)


_HINTS = {
    "inlineData": "Upload the file and name it in fileData.",
    "arguments": "Did you mean 'args'?",
    "weight": "Every model turn is learned; leave it out.",
}


_ROLE_HINTS = {
    **dict.fromkeys(("system", "developer"), "Move its text into systemInstruction, before contents."),
    **dict.fromkeys(("assistant", "ai", "bot", "gpt", "chatbot", "chatgpt"), "Write 'model'."),
    "human": "Write 'user'.",
    **dict.fromkeys(
        ("function", "tool"), "Write 'user', or leave the role out; what a function gave back is a functionResponse."
    ),
}


def _role_hint(violation: Violation) -> str | None:
    """Return what to do about a role that other formats, or other letters, have; None = unknown."""
    if violation.path[-1] != "role" or not isinstance(violation.instance, str):
        return None
    role = violation.instance.strip().lower()
    return f"Write {role!r}." if role in violation.rule else _ROLE_HINTS.get(role)


def _twins(violation: Violation) -> list[str]:
    """Return both spellings of one field, where that is all that an object has of its alternatives."""
    if violation.keyword != "oneOf":
        return []
    present = [branch["required"][0] for branch in violation.rule if branch["required"][0] in violation.instance]
    return present if len(present) > 1 and len({*map(camel, present)}) == 1 else []


def _holds_json_object(violation: Violation) -> bool:
    if not (violation.path and violation.path[-1] == "args" and isinstance(violation.instance, str)):
        return False
    try:
        return isinstance(json.loads(violation.instance), dict)
    except (ValueError, RecursionError):
        return False


_JSON_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}
