"""A text that is asked and one that answers it, under one of several pairs of names, into ``contents``."""

from __future__ import annotations

from typing import Any

from gemini_tuning.dataset.convert.conversation import Conversation, require_some
from gemini_tuning.dataset.convert.losses import EMPTY, Code, Notes
from gemini_tuning.dataset.convert.openai_content import text_parts

# What stands under these names beside a question, the model may be meant to see: where, is the author's choice.
_OF_PROMPTS = frozenset({"choices", "context", "history", "input", "instruction", "options", "passage"})


def convert_pair(document: dict[str, Any], keys: tuple[str, str], notes: Notes) -> dict[str, Any] | None:
    """Return a line of a question and its answer as ``contents``, or None when it is refused.

    :param keys: the names of the question and of the answer.
    """
    conversation = Conversation(notes)
    others = _OF_PROMPTS - set(keys)
    notes.left_out(document, others | {*keys, "system"}, "")
    for key in sorted(others & document.keys()):
        if document[key] not in EMPTY:
            message = f"stands beside {keys[0]!r}, and how they make one prompt is the author's choice"
            notes.refuse(Code.PART_OF_PROMPT, key, message, f"Join it into {keys[0]!r}, and leave it empty.")
    if document.get("system") is not None:
        conversation.instruct(text_parts(document["system"], "system", notes), "system")
    return add_pair(conversation, document, keys, notes)


def add_pair(
    conversation: Conversation, document: dict[str, Any], keys: tuple[str, str], notes: Notes
) -> dict[str, Any] | None:
    """Say the question and its answer; return the line, or None when it is refused."""
    for role, key in zip(("user", "model"), keys, strict=True):
        if key in document:
            say(conversation, role, document[key], key, notes)
        else:
            notes.refuse(Code.MISSING_FIELD, key, "the field is missing")
    return conversation.document(keys[1])


def say(conversation: Conversation, role: str, text: Any, path: str, notes: Notes) -> None:
    """Say a text that must not be empty."""
    before = notes.refusals
    parts = text_parts(text, path, notes)
    require_some(parts, path, before, notes)
    conversation.say(role, parts)
