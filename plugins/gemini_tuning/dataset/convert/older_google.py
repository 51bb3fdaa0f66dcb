"""Google's older formats into ``contents``: gemini-1.0 and PaLM."""

from __future__ import annotations

from typing import Any

from gemini_tuning.dataset.convert.conversation import Conversation
from gemini_tuning.dataset.convert.losses import EMPTY, Code, Notes
from gemini_tuning.dataset.convert.openai_content import text_parts
from gemini_tuning.dataset.convert.pairs import add_pair, say
from gemini_tuning.dataset.lines.conversation import word

_ROLES = {"user": "user", "model": "model"}
_AUTHORS = {"user": "user", "model": "model", "bot": "model", "assistant": "model"}


def convert_gemini_1_0(document: dict[str, Any], notes: Notes) -> dict[str, Any] | None:
    """Return a gemini-1.0 line as ``contents``, or None when it is refused."""
    notes.left_out(document, frozenset({"messages"}), "")
    conversation = Conversation(notes)
    _add_messages(conversation, document, "role", _ROLES, notes)
    return conversation.document("messages")


def convert_palm(document: dict[str, Any], notes: Notes) -> dict[str, Any] | None:
    """Return a PaLM line, of a text or a chat model, as ``contents``, or None when it is refused."""
    chat = "messages" in document
    pair = ("input_text", "output_text")
    notes.left_out(document, frozenset({"context", "examples", *(("messages",) if chat else pair)}), "")
    if document.get("examples") not in EMPTY:
        notes.lost(Code.FEW_SHOT_EXAMPLES, "examples", "examples in the prompt would be learned as turns")
    conversation = Conversation(notes)
    if document.get("context") is not None:
        conversation.instruct(text_parts(document["context"], "context", notes), "context")
    if chat:
        _add_messages(conversation, document, "author", _AUTHORS, notes)
        return conversation.document("messages")
    return add_pair(conversation, document, pair, notes)


def _add_messages(
    conversation: Conversation, document: dict[str, Any], speaker: str, speakers: dict[str, str], notes: Notes
) -> None:
    messages = document.get("messages")
    if not isinstance(messages, list):
        notes.refuse(Code.MISSING_FIELD, "messages", "the list of messages is missing")
        return
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            notes.refuse(Code.WRONG_TYPE, path, "must be an object")
            continue
        notes.left_out(message, frozenset({speaker, "content"}), path)
        name = message.get(speaker)
        if not isinstance(name, str) or name not in {"system", *speakers}:
            known = ", ".join(["system", *speakers])
            message_ = f"{word(name)} is unknown" if speaker in message else f"the {speaker} is missing"
            notes.refuse(Code.UNKNOWN_ROLE, f"{path}.{speaker}", message_, f"Write one of {known}.")
        elif "content" not in message:
            notes.missing(message, "content", frozenset({speaker}), path)
        elif name == "system":
            conversation.instruct(text_parts(message["content"], f"{path}.content", notes), path)
        else:
            say(conversation, speakers[name], message["content"], f"{path}.content", notes)
