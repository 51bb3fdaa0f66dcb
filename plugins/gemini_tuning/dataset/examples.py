"""Check one line of a dataset: its JSON, its shape by the schema, and the order of its conversation."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gemini_tuning.explain import did_you_mean
from gemini_tuning.settings import include_root

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

SCHEMA_FILE = "schemas/dataset-line.schema.json"


class Fault(NamedTuple):
    """What is wrong with a line, before it is known which line of which file it is."""

    code: str
    message: str
    hint: str
    path: str | None = None
    column: int | None = None


class Example(NamedTuple):
    """What the statistics need of a good line."""

    roles: tuple[str, ...]
    characters: int
    prompt: str


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
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
        if r"\ud" in text.lower() and _has_lone_surrogate(document):
            hint = "A text was cut inside an emoji or the like: write the character whole."
            return None, Fault("lone-surrogate", "half of a surrogate pair, which is no character", hint)
        return document, None
    except _FoundFault as error:
        return None, error.fault
    except json.JSONDecodeError as error:
        hint = "Write one complete JSON object per line."
        return None, Fault("invalid-json", f"not valid JSON: {error.msg}", hint, column=error.colno)
    except ValueError:  # Python refuses numbers of thousands of digits
        return None, Fault("invalid-json", "a number is too long to be one", "Shorten it, or write it as text.")
    except RecursionError:
        return None, Fault("nested-too-deep", "nested too deep to be an example", "Check how it was written.")


def _has_lone_surrogate(document: Any) -> bool:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def faults(document: Any) -> list[Fault]:
    """Return everything wrong with a parsed line: shape first; a well-shaped one is then read as a conversation."""
    shape = sorted(_validator().iter_errors(document), key=lambda error: (list(map(str, error.path)), error.validator))
    found = [fault for error in shape for fault in _shape_faults(error)]
    return found or list(_conversation_faults(document["contents"]))


def example(document: dict[str, Any]) -> Example:
    """Return the numbers of a line that has no faults."""
    instruction = document.get("systemInstruction") or document.get("system_instruction")
    turns = document["contents"]
    texts = [part.get("text", "") for content in [*turns, instruction or {}] for part in content.get("parts", [])]
    prompt = [_texts(turn) for turn in turns if _role(turn) != "model"]
    return Example(
        roles=tuple(_role(turn) for turn in turns),
        characters=sum(map(len, texts)),
        prompt=json.dumps([_texts(instruction or {}), prompt]),
    )


def _texts(content: dict[str, Any]) -> list[str]:
    return [part["text"] for part in content.get("parts", []) if "text" in part]


@functools.cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    schema = json.loads((include_root() / SCHEMA_FILE).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _shape_faults(error: ValidationError) -> Iterator[Fault]:
    path = error.json_path.removeprefix("$").removeprefix(".") or None
    rule: Any = error.validator_value
    match error.validator:
        case "required":
            missing = error.message.removesuffix(" is a required property").strip("'")
            yield Fault("missing-field", f"field {missing!r} is missing", "Add it.", path)
        case "additionalProperties":
            yield from _unknown_fields(error, path)
        case "type":
            kind = _JSON_TYPES.get(type(error.instance), "something else")
            yield Fault("wrong-type", f"must be {rule}, is {kind}", "Correct its type.", path)
        case "enum":
            allowed = ", ".join(map(repr, rule))
            yield Fault("wrong-value", f"{_word(error.instance)} is not allowed", f"Write one of {allowed}.", path)
        case "pattern" if path and path.endswith("text"):
            yield Fault("empty-text", "empty text", "Write the text, or leave the part out.", path)
        case "pattern":
            yield Fault("wrong-uri", "not a gs:// or http(s):// URI", "Upload the file and name its URI.", path)
        case "minItems":
            yield Fault("empty-list", "empty list", "It needs at least one element.", path)
        case "oneOf":
            members = ", ".join(sorted({_camel(branch["required"][0]) for branch in rule}))
            yield Fault("part-members", f"needs exactly one of {members}", "Split it, or add what is missing.", path)
        case keyword:
            yield Fault("wrong-shape", f"violates {keyword!r} of the schema", f"See {SCHEMA_FILE}.", path)


def _unknown_fields(error: ValidationError, path: str | None) -> Iterator[Fault]:
    schema: Any = error.schema
    known = list(schema["properties"])
    for field in sorted(set(cast("dict[str, Any]", error.instance)) - set(known)):
        guess = did_you_mean(field, known).removeprefix("; ")
        hint = guess[:1].upper() + guess[1:] or f"Known here: {', '.join(sorted(set(map(_camel, known))))}."
        yield Fault("unknown-field", f"unknown field {field[:80]!r}", hint, path)


def _word(value: Any) -> str:
    """Quote a value only if it can be nothing but a word, such as a role: anything else may be private."""
    return repr(value) if isinstance(value, str) and re.fullmatch(r"[A-Za-z_-]{1,40}", value) else "this value"


_JSON_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(map(str.title, rest))


def _conversation_faults(turns: list[dict[str, Any]]) -> Iterator[Fault]:
    roles = [_role(turn) for turn in turns]
    if roles[0] != "user":
        yield Fault("first-turn", "the conversation starts with the model", "Start with a user turn.", "contents[0]")
    for index in range(1, len(roles)):
        if roles[index] == roles[index - 1]:
            yield Fault(
                "same-role-twice",
                f"two {roles[index]!r} turns in a row",
                "Join them, or add the missing turn between them.",
                f"contents[{index}].role",
            )
    if roles[-1] != "model":
        yield Fault(
            "last-turn",
            "the conversation ends without an answer by the model",
            "End with a model turn: it is what is learned.",
            f"contents[{len(roles) - 1}]",
        )


def _role(turn: dict[str, Any]) -> str:
    """Return the role; turns without one (function responses in Google's own samples) speak for the user."""
    return str(turn.get("role", "user"))


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
