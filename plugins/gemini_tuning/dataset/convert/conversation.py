"""Gather the turns of one conversation into a ``contents`` document."""

from __future__ import annotations

from typing import Any

from gemini_tuning.dataset.convert.losses import Code, Notes

Part = dict[str, Any]


class Conversation:
    """Turns in order. Messages of one role in a row become the parts of one turn, for turns alternate."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._system: list[Part] = []
        self._turns: list[dict[str, Any]] = []

    def instruct(self, parts: list[Part], path: str) -> None:
        """Add to the system instruction.

        One that comes later is moved to the front, unless something was answered without knowing it: there, the
        answer would be learned as one to an instruction that its author had not read.
        """
        if not parts:
            return
        answered = any(turn["role"] == "model" for turn in self._turns)
        if answered:
            self._notes.refuse(Code.LATE_SYSTEM_MESSAGE, path, "a system message after the first answer")
        elif self._turns:
            self._notes.lost(Code.LATE_SYSTEM_MESSAGE, path, "a system message after a user's: moved to the front")
        self._system += parts

    def say(self, role: str, parts: list[Part]) -> None:
        """Add what ``user`` or ``model`` says."""
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["parts"] += parts
        elif parts:
            self._turns.append({"role": role, "parts": list(parts)})

    def document(self, path: str, declarations: list[dict[str, Any]] | None = None) -> dict[str, Any] | None:
        """Return the line, or None when it is refused.

        :param path: where the conversation stands in the source.
        :param declarations: the functions the model may call.
        """
        if not self._notes.refused:
            self._judge(path)
        if self._notes.refused:
            return None
        document: dict[str, Any] = {}
        if self._system:
            document["systemInstruction"] = {"parts": self._system}
        document["contents"] = self._turns
        if declarations:
            document["tools"] = [{"functionDeclarations": declarations}]
        return document

    def _judge(self, path: str) -> None:
        if not self._turns:
            self._notes.refuse(Code.FIRST_TURN, path, "no turn by a user and no answer")
        elif self._turns[0]["role"] != "user":
            self._notes.refuse(Code.FIRST_TURN, path, "the conversation starts with an answer")
        elif self._turns[-1]["role"] != "model":
            self._notes.refuse(Code.LAST_TURN, path, "the conversation ends without an answer")


def require_some(parts: list[Part], path: str, before: int, notes: Notes) -> None:
    """Refuse a message without parts, unless the reason is noted.

    :param before: how many refusals there were before the message was read.
    """
    if not parts and notes.refusals == before:
        notes.refuse(Code.EMPTY_MESSAGE, path, "the message says nothing")
