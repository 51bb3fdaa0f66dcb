"""Tool calls and their answers in OpenAI messages, into functionCall and functionResponse parts.

OpenAI pairs them by id, Gemini by their order: the responses to one turn's calls are written in the order of the calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gemini_tuning.dataset.convert.conversation import Part
from gemini_tuning.dataset.convert.functions import is_name
from gemini_tuning.dataset.convert.losses import EMPTY, Code, Notes
from gemini_tuning.dataset.convert.openai_content import value_field
from gemini_tuning.dataset.lines.parsing import parse

_CALL_FIELDS = frozenset({"id", "index", "type", "function"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_RESPONSE_FIELDS = frozenset({"role", "tool_call_id", "name"})


@dataclass
class Call:
    """One call, and its response once it has been met."""

    id: Any
    name: str
    path: str
    response: dict[str, Any] | None = None


class Calls:
    """The calls of the latest answer, until everything that answers them has been read."""

    def __init__(self, declared: set[str], notes: Notes) -> None:
        self._declared = declared
        self._notes = notes
        self._open: list[Call] = []

    def make(self, message: dict[str, Any], path: str) -> list[Part]:
        """Return the parts of the calls an answer makes."""
        parts = []
        calls = message.get("tool_calls")
        if calls in EMPTY:
            calls = []
        elif not isinstance(calls, list):
            self._notes.refuse(Code.WRONG_TYPE, f"{path}.tool_calls", "must be a list")
            calls = []
        for index, call in enumerate(calls):
            here = f"{path}.tool_calls[{index}]"
            if not isinstance(call, dict) or (call.get("type") or "function") != "function":
                self._notes.refuse(Code.UNSUPPORTED_TOOL, here, "not the call of a function")
                continue
            self._notes.left_out(call, _CALL_FIELDS, here)
            parts += self.call(call.get("function"), call.get("id"), f"{here}.function")
        if message.get("function_call") not in EMPTY:
            parts += self.call(message["function_call"], None, f"{path}.function_call")
        return parts

    def answer(self, message: dict[str, Any], path: str, content_path: str) -> None:
        """Keep a ``tool`` or ``function`` message as the response to the call it names.

        One that names neither id nor function can only respond to the one call that waits for it.
        """
        call_id, name = message.get("tool_call_id"), message.get("name")
        waiting = [call for call in self._open if call.response is None]
        if call_id is not None:
            found = next((call for call in waiting if call.id == call_id), None)
        elif name in EMPTY:
            found = waiting[0] if len(waiting) == 1 else None
        else:
            found = next((call for call in waiting if call.name == name), None)
        if found is None:
            several = call_id is None and name in EMPTY and waiting
            message_ = (
                "a response to one of several calls" if several else "a response to no call of the answer before it"
            )
            self._notes.refuse(Code.UNPAIRED_CALL, path, message_)
        elif name not in (None, "", found.name):
            self._notes.refuse(Code.UNPAIRED_CALL, f"{path}.name", "another name than that of the call it responds to")
        elif "content" not in message:
            self._notes.missing(message, "content", _RESPONSE_FIELDS, path)
            found.response = {}
        else:
            found.response = self._response(message["content"], content_path)

    def close(self, *, at_end: bool = False) -> list[Part]:
        """Return the responses, since somebody else speaks now; calls may stay open only where the line ends."""
        calls, self._open = self._open, []
        if at_end and all(call.response is None for call in calls):
            return []
        for call in calls:
            if call.response is None:
                self._notes.refuse(Code.UNPAIRED_CALL, call.path, "a call without a response")
        return [{"functionResponse": {"name": call.name, "response": call.response}} for call in calls]

    def call(self, function: Any, call_id: Any, path: str) -> list[Part]:
        """Return the part of one call, which is open from now on.

        :param function: its name and arguments.
        :param call_id: what a response may name it by; None = nothing.
        """
        if not isinstance(function, dict):
            self._notes.refuse(Code.WRONG_TYPE, path, "must be an object")
            return []
        self._notes.left_out(function, _FUNCTION_FIELDS, path)
        name = function.get("name")
        if not is_name(name):
            self._notes.refuse(Code.FUNCTION_NAME, f"{path}.name", "not a function name Gemini takes")
        elif self._declared and name not in self._declared:  # where none is declared, the check warns
            self._notes.refuse(
                Code.UNDECLARED_FUNCTION, f"{path}.name", "calls a function that is not among those the line declares"
            )
        arguments = self._arguments(function.get("arguments"), f"{path}.arguments")
        self._open.append(Call(call_id, str(name), path))
        return [{"functionCall": {"name": name, "args": arguments}}]

    def _arguments(self, arguments: Any, path: str) -> dict[str, Any]:
        """Return the arguments as an object: they come as JSON inside a string, or, in some files, as they are."""
        if arguments is None or arguments == "":
            return {}
        if isinstance(arguments, str):
            arguments, fault = parse(arguments.encode())
            if fault is not None:
                self._notes.refuse(Code.BAD_ARGUMENTS, path, fault.message)
                return {}
        if not isinstance(arguments, dict):
            self._notes.refuse(Code.BAD_ARGUMENTS, path, "not a JSON object")
            return {}
        return arguments

    def _response(self, content: Any, path: str) -> dict[str, Any]:
        """Return a response as the object it has to be: JSON as it is, other text under ``output``."""
        if isinstance(content, dict):
            return content
        text = self._response_text(content, path)
        if text[:1] in {"{", "["}:
            document, fault = parse(text.encode())
            if fault is None:
                return document if isinstance(document, dict) else {"output": document}
        return {"output": text}

    def _response_text(self, content: Any, path: str) -> str:
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            self._notes.refuse(Code.WRONG_TYPE, path, "must be a string or a list of text parts")
            return ""
        texts = []
        for index, item in enumerate(content):
            here = f"{path}[{index}]"
            field = value_field(item, "text") if isinstance(item, dict) and item.get("type") == "text" else ""
            if not field or not isinstance(item.get(field), str):
                self._notes.refuse(Code.UNSUPPORTED_PART, here, "a response to a function holds text only")
                continue
            self._notes.left_out(item, frozenset({"type", field}), here)
            texts.append(item[field])
        return "\n".join(texts)
