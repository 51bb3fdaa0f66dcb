"""OpenAI chat lines into ``contents``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gemini_tuning.dataset.convert.conversation import Conversation, require_some
from gemini_tuning.dataset.convert.functions import declarations
from gemini_tuning.dataset.convert.losses import EMPTY, Code, Notes
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
_WEIGHTS = ("weight", "loss_weight")  # the second is LLaMA-Factory's
_ANSWER_FIELDS = _FIELDS | {*_WEIGHTS, "tool_calls", "function_call", "refusal"}
_RESPONSE_FIELDS = _FIELDS | {"tool_call_id", "name"}
_CALLING = ("tool_calls", "function_call", "refusal")


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
    chat = Chat(functions, notes, keep_weights=keep_weights)
    for index, message in enumerate(messages):
        chat.add(message, f"messages[{index}]")
    return chat.document("messages")


class Chat:
    """Reads messages in order.

    :param functions: the declarations of what may be called.
    """

    def __init__(self, functions: list[dict[str, Any]], notes: Notes, *, keep_weights: bool) -> None:
        self._notes = notes
        self._keep_weights = keep_weights
        self._conversation = Conversation(notes)
        self._functions = functions
        self._calls = Calls({function.get("name", "") for function in functions}, notes)

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
            message_ = f"{word(role)} is not a role" if "role" in message else "the role is missing"
            self._notes.refuse(Code.UNKNOWN_ROLE, f"{path}.role", message_, f"Write one of {', '.join(_ROLES)}.")
        else:
            read(self, message, path, content_path or f"{path}.content")

    def call(self, message: dict[str, Any], functions: list[Any], path: str, content_path: str) -> None:
        """Read an answer that is nothing but calls.

        :param message: its other fields.
        :param functions: names and arguments; no response can name an id.
        """
        self._next(message, path, _FIELDS | set(_WEIGHTS))
        self._weigh(message, path)
        for function in functions:
            self._conversation.say("model", self._calls.call(function, None, content_path))

    def document(self, path: str) -> dict[str, Any] | None:
        """Return the line, once all messages have been added, or None when it is refused."""
        self._conversation.say("user", self._calls.close(at_end=True))
        return self._conversation.document(path, self._functions)

    def _system(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _FIELDS)
        self._require_content(message, path)
        self._conversation.instruct(parts_of(message.get("content"), content_path, TEXT_ONLY, self._notes), path)

    def _user(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _FIELDS)
        before = self._notes.refusals
        self._require_content(message, path)
        parts = parts_of(message.get("content"), content_path, OF_USERS, self._notes)
        require_some(parts, path, before, self._notes)
        self._conversation.say("user", parts)

    def _assistant(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._next(message, path, _ANSWER_FIELDS)
        self._weigh(message, path)
        before = self._notes.refusals
        if all(message.get(field) in EMPTY for field in _CALLING):
            self._require_content(message, path)
        parts = parts_of(message.get("content"), content_path, OF_ANSWERS, self._notes)
        if message.get("refusal") is not None:
            parts += refusal_parts(message["refusal"], f"{path}.refusal", self._notes)
        parts += self._calls.make(message, path)
        require_some(parts, path, before, self._notes)
        self._conversation.say("model", parts)

    def _response(self, message: dict[str, Any], path: str, content_path: str) -> None:
        self._notes.left_out(message, _RESPONSE_FIELDS | _not_learned(message), path)
        self._calls.answer(message, path, content_path)

    def _require_content(self, message: dict[str, Any], path: str) -> None:
        if "content" not in message:
            self._notes.missing(message, "content", _FIELDS | {"name"}, path)

    def _next(self, message: dict[str, Any], path: str, known: frozenset[str]) -> None:
        """Close what the messages before left open, for this one is no response to it."""
        self._conversation.say("user", self._calls.close())
        self._notes.left_out(message, known | _not_learned(message), path)

    def _weigh(self, message: dict[str, Any], path: str) -> None:
        for field in _WEIGHTS:
            if message.get(field) is None or message[field] == 1:
                continue
            here = f"{path}.{field}"
            if self._keep_weights:
                self._notes.lost(Code.TRAINING_WEIGHT, here, "this turn will be learned like every other")
            else:
                self._notes.refuse(Code.TRAINING_WEIGHT, here, "this turn is not to be learned, or not fully")


def _not_learned(message: dict[str, Any]) -> set[str]:
    """Return the fields that say a message is not to be learned: of what isn't an answer, Gemini learns nothing."""
    return {weight for weight in _WEIGHTS if weight in message and message[weight] == 0}


_ROLES: dict[str, Callable[[Chat, dict[str, Any], str, str], None]] = {
    "system": Chat._system,
    "developer": Chat._system,
    "user": Chat._user,
    "assistant": Chat._assistant,
    "tool": Chat._response,
    "function": Chat._response,
}
