"""Read a well-shaped line as a conversation: whose turn it is, what is called and answered, which files it shows."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gemini_tuning.dataset.codes import Fault
from gemini_tuning.dataset.lines import declarations
from gemini_tuning.dataset.lines.rules import MODALITY_NAMES, Rules

_NEARLY = 0.9  # image/jpg is image/jpeg, image/tiff is no other type
Turn = dict[str, Any]
Named = tuple[int, str]  # the index of a part, and the function it names
_TEXT_ONLY = {"text"}
_SNAKE = {
    "mimeType": "mime_type",
    "functionCall": "function_call",
    "functionResponse": "function_response",
    "functionDeclarations": "function_declarations",
    "systemInstruction": "system_instruction",
}


def faults(document: dict[str, Any], rules: Rules) -> Iterator[Fault]:
    """Yield every fault of a line's conversation.

    :param document: a line without violations of the schema.
    """
    turns = document["contents"]
    yield from _order(turns)
    if any(part.keys() != _TEXT_ONLY for turn in turns for part in turn["parts"]):
        yield from _functions(turns, document.get("tools"))
        yield from _files(turns, rules)
    if tools := document.get("tools"):
        yield from declarations.faults(tools)


def role_of(turn: Turn) -> str:
    """Return the role; turns without one (function responses in Google's own samples) speak for the user."""
    return str(turn.get("role", "user"))


def word(value: Any) -> str:
    """Quote a value only if it can be nothing but a word, such as a role: anything else may be private."""
    return repr(value) if isinstance(value, str) and re.fullmatch(r"[A-Za-z_-]{1,40}", value) else "this value"


def member(node: dict[str, Any], camel: str) -> Any:
    """Return a field in either spelling, or None."""
    return node.get(camel) or node.get(_SNAKE[camel])


def files_of(turns: list[Turn]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the JSON path and ``fileData`` of every file."""
    for index, turn in enumerate(turns):
        for number, part in enumerate(turn["parts"]):
            field = "fileData" if "fileData" in part else "file_data"
            if field in part:
                yield f"contents[{index}].parts[{number}].{field}", part[field]


def modality_of(file: dict[str, Any], media_types: dict[str, str]) -> str | None:
    """Return what kind of medium a file is, or None where its MIME type doesn't tell."""
    return media_types.get(_mime_type(file))


def _mime_type(file: dict[str, Any]) -> str:
    return str(member(file, "mimeType") or "").split(";")[0].strip().lower()


def _order(turns: list[Turn]) -> Iterator[Fault]:
    roles = [role_of(turn) for turn in turns]
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


def _functions(turns: list[Turn], tools: Any) -> Iterator[Fault]:
    calls = [_named(turn, "functionCall") for turn in turns]
    responses = [_named(turn, "functionResponse") for turn in turns]
    declared = _declared(tools)
    if any(calls) and not declared:
        hint = "Add tools with its functionDeclarations, as the model will be given them."
        yield Fault("no-tools", "functions are called, but none is declared", hint)
    for index, turn in enumerate(turns):
        where = f"contents[{index}]"
        yield from _misplaced(where, role_of(turn), calls[index], responses[index])
        for number, name in calls[index]:
            if declared and name not in declared:
                part = turn["parts"][number]
                field = "functionCall" if "functionCall" in part else _SNAKE["functionCall"]
                yield _undeclared(f"{where}.parts[{number}].{field}.name", name, declared)
        yield from _unpaired(index, calls, responses)


def _named(turn: Turn, field: str) -> list[Named]:
    found = ((number, member(part, field)) for number, part in enumerate(turn["parts"]))
    return [(number, node["name"]) for number, node in found if node is not None]


def _declared(tools: Any) -> set[str]:
    return {function["name"] for tool in tools or () for function in member(tool, "functionDeclarations") or ()}


def _misplaced(where: str, role: str, calls: list[Named], responses: list[Named]) -> Iterator[Fault]:
    if role != "model":
        for number, _ in calls:
            hint = "Only the model calls functions: move it into a model turn."
            yield Fault("misplaced-call", "a function call in a user turn", hint, f"{where}.parts[{number}]")
    else:
        for number, _ in responses:
            hint = "Put it into a turn of its own, after the call."
            yield Fault("misplaced-response", "a function response in a model turn", hint, f"{where}.parts[{number}]")


def _undeclared(path: str, name: str, declared: set[str]) -> Fault:
    from gemini_tuning.explain import did_you_mean

    guess = did_you_mean(name, sorted(declared)).removeprefix("; ")
    hint = guess[:1].upper() + guess[1:] or "Declare it in tools, or correct its name."
    return Fault("undeclared-function", f"{_function(name)} is called, but not declared in tools", hint, path)


def _function(name: str) -> str:
    quoted = word(name)
    return f"function {quoted}" if quoted == repr(name) else "a function"


def _unpaired(index: int, calls: list[list[Named]], responses: list[list[Named]]) -> Iterator[Fault]:
    """Yield calls of this turn that the next turn leaves unanswered, and responses of it that nobody called for."""
    if index + 1 < len(calls):
        answered = Counter(name for _, name in responses[index + 1])
        for number, name in calls[index]:
            answered[name] -= 1
            if answered[name] < 0:
                hint = "Answer it in the next turn with a functionResponse of the same name."
                path = f"contents[{index}].parts[{number}]"
                yield Fault("unanswered-call", f"{_function(name)} is called, and no response follows", hint, path)
    called = Counter(name for _, name in calls[index - 1]) if index else Counter[str]()
    for number, name in responses[index]:
        called[name] -= 1
        if called[name] < 0:
            message = f"a response of {_function(name)}, which the turn before doesn't call"
            hint = "Add the call before it, under the same name."
            yield Fault("response-without-call", message, hint, f"contents[{index}].parts[{number}]")


def _files(turns: list[Turn], rules: Rules) -> Iterator[Fault]:
    by_model = {f"contents[{index}]" for index, turn in enumerate(turns) if role_of(turn) == "model"}
    counts: Counter[str] = Counter()
    for path, file in files_of(turns):
        if path.partition(".")[0] in by_model:
            hint = "The model answers in text and calls: put the file into a user turn, or leave it out."
            yield Fault("misplaced-file", "a file in a model turn", hint, path)
        kind = _mime_type(file)
        if not kind:
            yield Fault("missing-mime-type", "a file without its MIME type", "Add mimeType, such as image/png.", path)
            continue
        modality = rules.media_types.get(kind)
        if rules.media_types and modality is None:
            hint = _taken(kind, sorted(rules.media_types))
            shown = kind if re.fullmatch(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}", kind) else "this"
            yield Fault("unsupported-media", f"{shown} is not a type the service takes", hint, path)
        elif modality is not None and rules.modalities is not None and modality not in rules.modalities:
            message = f"{rules.base_model} is not tuned on {modality}, only on {', '.join(rules.modalities)}"
            yield Fault("unsupported-media", message, "Leave the example out, or tune another model.", path)
        counts[modality or ""] += 1
    for modality, most in rules.files_per_example.items():
        if counts[modality] > most:
            message = f"{counts[modality]} {MODALITY_NAMES[modality]}, the service takes {most} in an example"
            yield Fault("too-many-files", message, "The service drops such examples: split it.")


def _taken(kind: str, known: list[str]) -> str:
    """Say which types of file are taken: the one that was meant, those of the same family, or all."""
    if meant := difflib.get_close_matches(kind, known, n=1, cutoff=_NEARLY):
        return f"Did you mean {meant[0]!r}?"
    family = [one for one in known if one.split("/")[0] == kind.split("/")[0]]
    return f"Taken are {', '.join(family or known)}."
