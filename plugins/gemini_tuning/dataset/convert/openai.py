"""OpenAI lines, chat and completion, into ``contents``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gemini_tuning.dataset.convert.conversation import Conversation, require_some
from gemini_tuning.dataset.convert.functions import declarations
from gemini_tuning.dataset.convert.losses import Code, Notes
from gemini_tuning.dataset.convert.openai_calls import Calls
from gemini_tuning.dataset.convert.openai_content import (
    OF_ANSWERS,
    OF_USERS,
    TEXT_ONLY,
    parts_of,
    refusal_parts,
)
from gemini_tuning.dataset.lines.conversation import word

_LINE_FIELDS = frozenset({"messages", "tools", "functions", "system"})
_FIELDS = frozenset({"role", "content"})
_ANSWER_FIELDS = _FIELDS | {"weight", "tool_calls", "function_call", "refusal"}
_RESPONSE_FIELDS = _FIELDS | {"tool_call_id", "name"}


def convert_chat(document: dict[str, Any], notes: Notes, *, keep_weights: bool) -> dict[str, Any] | None:
    """Return the line as ``contents``, or None when it is refused.

    :param keep_weights: write turns with another weight than 1 all the same, though Gemini would learn them.
    """
    messages = document.get("messages")
    if not isinstance(messages, list):
        notes.refuse(Code.MISSING_FIELD, "messages", "the list of messages is missing")
        return None
    notes.left_out(document, _LINE_FIELDS, "")
    if document.get("system"):
        hint = "Write it as the first message, with the role system."
        notes.refuse(Code.LATE_SYSTEM_MESSAGE, "system", "a system prompt outside of the messages", hint)
    functions = declarations(document, notes)
    chat = _Chat({function.get("name", "") for function in functions}, notes, keep_weights=keep_weights)
    for index, message in enumerate(messages):
        chat.add(message, f"messages[{index}]")
    return chat.end().document("messages", functions)


def convert_completion(document: dict[str, Any], notes: Notes) -> dict[str, Any] | None:
    """Return a ``prompt`` with its ``completion`` as ``contents``, or None when it is refused."""
    notes.left_out(document, frozenset({"prompt", "completion"}), "")
    chat = _Chat(set(), notes, keep_weights=False)
    for role, key in (("user", "prompt"), ("assistant", "completion")):
        if isinstance(document.get(key), str):
            chat.add({"role": role, "content": document[key]}, key, content_path=key)
        else:
            notes.refuse(Code.WRONG_TYPE if key in document else Code.MISSING_FIELD, key, "must be a string")
    return chat.end().document("completion")


class _Chat:
    """Reads messages in order."""

    def __init__(self, declared: set[str], notes: Notes, *, keep_weights: bool) -> None:
        self._notes = notes
        self._keep_weights = keep_weights
        self._conversation = Conversation(notes)
        self._calls = Calls(declared, notes)

    def add(self, message: Any, path: str, content_path: str | None = None) -> None:
        """Read one message.

        :param content_path: where its content stands, if not below ``path``.
        """
        if not isinstance(message, dict):
            self._notes.refuse(Code.WRONG_TYPE, path, "must be an object")
            return
        role = message.get("role")
        read = _ROLES.get(role) if isinstance(role, str) else None
        if read is None:
            known = ", ".join(_ROLES)
            message_ = f"{word(role)} is not a role" if "role" in message else "the role is missing"
            self._notes.refuse(Code.UNKNOWN_ROLE, f"{path}.role", message_, f"Write one of {known}.")
        else:
            read(self, message, path, content_path or f"{path}.content")

    def end(self) -> Conversation:
        """Return the conversation, once all messages have been added."""
        self._conversation.say("user", self._calls.close(at_end=True))
        return self._conversation

    def _system(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _FIELDS)
        self._conversation.instruct(parts_of(message.get("content"), content_path, TEXT_ONLY, self._notes), path)

    def _user(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _FIELDS)
        before = self._notes.refusals
        parts = parts_of(message.get("content"), content_path, OF_USERS, self._notes)
        require_some(parts, path, before, self._notes)
        self._conversation.say("user", parts)

    def _assistant(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _ANSWER_FIELDS)
        self._weigh(message.get("weight"), f"{path}.weight")
        before = self._notes.refusals
        parts = parts_of(message.get("content"), content_path, OF_ANSWERS, self._notes)
        if message.get("refusal") is not None:
            parts += refusal_parts(message["refusal"], f"{path}.refusal", self._notes)
        parts += self._calls.make(message, path)
        require_some(parts, path, before, self._notes)
        self._conversation.say("model", parts)

    def _response(self, message: dict[str, Any], path: str, _: str) -> None:
        self._notes.left_out(message, _RESPONSE_FIELDS, path)
        self._calls.answer(message, path)

    def _next(self, message: dict[str, Any], path: str, known: frozenset[str]) -> None:
        """Close what the messages before left open, for this one is no response to it."""
        self._conversation.say("user", self._calls.close())
        self._notes.left_out(message, known, path)

    def _weigh(self, weight: Any, path: str) -> None:
        if weight is None or weight == 1:
            return
        if self._keep_weights:
            self._notes.lost(Code.TRAINING_WEIGHT, path, "this turn will be learned like every other")
        else:
            self._notes.refuse(Code.TRAINING_WEIGHT, path, "this turn is not to be learned, or not fully")


_ROLES: dict[str, Callable[[_Chat, dict[str, Any], str, str], None]] = {
    "system": _Chat._system,
    "developer": _Chat._system,
    "user": _Chat._user,
    "assistant": _Chat._assistant,
    "tool": _Chat._response,
    "function": _Chat._response,
}
