"""ShareGPT lines into ``contents``, tool calls as LLaMA-Factory writes them.

Only the speakers that mean the same in every such file are known; others are refused.
"""

from __future__ import annotations

from typing import Any

from gemini_tuning.dataset.convert.functions import declarations
from gemini_tuning.dataset.convert.losses import Code, Notes
from gemini_tuning.dataset.convert.openai import Chat
from gemini_tuning.dataset.lines.conversation import word
from gemini_tuning.dataset.lines.parsing import parse

_CALL = "function_call"
_ROLES = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    _CALL: "assistant",
    "observation": "tool",
    "tool": "tool",
}


def convert_sharegpt(document: dict[str, Any], notes: Notes, *, keep_weights: bool) -> dict[str, Any] | None:
    """Return the line as ``contents``, or None when it is refused.

    :param keep_weights: see ``convert_chat``.
    """
    key = "conversations" if "conversations" in document else "messages"
    turns = document.get(key)
    if not isinstance(turns, list):
        notes.refuse(Code.MISSING_FIELD, key, "the list of messages is missing")
        return None
    notes.left_out(document, frozenset({key, "system", "tools", "functions"}), "")
    functions = declarations(document, notes)
    chat = Chat(functions, notes, keep_weights=keep_weights)
    if document.get("system") is not None:
        chat.add({"role": "system", "content": document["system"]}, "system", "system")
    for index, turn in enumerate(turns):
        _add(chat, turn, f"{key}[{index}]", notes)
    return chat.document(key)


def _add(chat: Chat, turn: Any, path: str, notes: Notes) -> None:
    if not isinstance(turn, dict):
        notes.refuse(Code.WRONG_TYPE, path, "must be an object")
        return
    speaker, text = ("from" if "from" in turn else "role"), ("value" if "value" in turn else "content")
    name = turn.get(speaker)
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        reason = f"{word(name)} is not a speaker known here" if speaker in turn else "the speaker is missing"
        notes.refuse(Code.UNKNOWN_ROLE, f"{path}.{speaker}", reason, f"Write one of {', '.join(_ROLES)}.")
        return
    message = {field: value for field, value in turn.items() if field not in {speaker, text}}
    notes.left_out({field: message.pop(field) for field in ("role", "content") if field in message}, frozenset(), path)
    message["role"] = role
    if name == _CALL and text in turn:
        chat.call(message, _calls(turn[text], f"{path}.{text}", notes), path, f"{path}.{text}")
    else:
        chat.add(message | ({"content": turn[text]} if text in turn else {}), path, f"{path}.{text}")


def _calls(value: Any, path: str, notes: Notes) -> list[Any]:
    """Return the calls that a turn holds, one or a list of them, as JSON inside a string."""
    document, fault = parse(value.encode()) if isinstance(value, str) else (value, None)
    if fault is None and isinstance(document, dict):
        return [document]
    if fault is None and isinstance(document, list) and document:
        return document
    notes.refuse(Code.BAD_ARGUMENTS, path, "not the JSON of a call", "Write the call as JSON: its name and arguments.")
    return []
