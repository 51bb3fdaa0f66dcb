"""What a conversion can't carry over: the codes, and the notes taken while one line is read.

A line is refused, and not written, where writing it would teach something else than it says; what only leaves out a
detail is written and noted as lost.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, NamedTuple

EMPTY: tuple[Any, ...] = (None, "", [], {})
_LONGEST_KEY = 80
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,79}")


class Code(StrEnum):
    """Stable, and documented with their meaning in ``include/datasets/CONVERTING.md``."""

    BAD_ARGUMENTS = "bad-arguments"
    BLANK_TEXT = "blank-text"
    EMPTY_MESSAGE = "empty-message"
    FEW_SHOT_EXAMPLES = "few-shot-examples"
    FIELD_LEFT_OUT = "field-left-out"
    FIRST_TURN = "first-turn"
    FUNCTION_NAME = "function-name"
    INLINE_DATA = "inline-data"
    LAST_TURN = "last-turn"
    LATE_SYSTEM_MESSAGE = "late-system-message"
    LINE_TOO_LONG = "line-too-long"
    LONG_INTEGER = "long-integer"
    MEDIA_TYPE = "media-type"
    MISSING_FIELD = "missing-field"
    NOT_AN_OBJECT = "not-an-object"
    PART_OF_PROMPT = "part-of-prompt"
    REFUSAL_AS_TEXT = "refusal-as-text"
    SCHEMA_KEYWORD = "schema-keyword"
    TRAINING_WEIGHT = "training-weight"
    UNDECLARED_FUNCTION = "undeclared-function"
    UNKNOWN_FORMAT = "unknown-format"
    UNKNOWN_ROLE = "unknown-role"
    UNPAIRED_CALL = "unpaired-call"
    UNSUPPORTED_FORMAT = "unsupported-format"
    UNSUPPORTED_PART = "unsupported-part"
    UNSUPPORTED_TOOL = "unsupported-tool"
    WRONG_TYPE = "wrong-type"
    WRONG_URI = "wrong-uri"

    @property
    def hint(self) -> str:
        """What to do about it."""
        return _HINTS[self]


class Loss(NamedTuple):
    """One thing of one line that did not come along; ``refused`` means that the line was not written for it.

    ``code`` is a ``Code``, or the check's own where the line is no JSON.
    """

    code: str
    path: str | None
    message: str
    hint: str
    refused: bool


class Notes:
    """The losses of one line, in the order they were met."""

    def __init__(self) -> None:
        self._met: list[Loss] = []
        self.refusals = 0

    @property
    def losses(self) -> list[Loss]:
        """What the report tells: of a refused line the refusals only, for nothing is left out of what isn't written."""
        return [loss for loss in self._met if loss.refused] if self.refused else self._met

    def lost(self, code: Code, path: str | None, message: str) -> None:
        """Note something that is left out of a line that is written all the same."""
        self._met.append(Loss(code.value, path, message, code.hint, refused=False))

    def refuse(self, code: str, path: str | None, message: str, hint: str | None = None) -> None:
        """Note a reason for which the line is not written.

        :param hint: what to do; None = the code's own.
        """
        self._met.append(Loss(str(code), path, message, hint or Code(code).hint, refused=True))
        self.refusals += 1

    @property
    def refused(self) -> bool:
        """Whether the line is not to be written."""
        return self.refusals > 0

    def missing(self, mapping: dict[str, Any], field: str, known: frozenset[str], path: str) -> None:
        """Refuse a line for a field that isn't there, and name the one that may stand for it.

        :param known: the fields the mapping may have besides.
        :param path: where the mapping stands.
        """
        texts = [key for key, value in mapping.items() if key not in known and isinstance(value, str)]
        hint = f"Did you mean {texts[0][:_LONGEST_KEY]!r}? Rename it." if len(texts) == 1 else None
        self.refuse(Code.MISSING_FIELD, at(path, field), "the field is missing", hint)

    def left_out(self, mapping: dict[str, Any], known: frozenset[str], path: str) -> None:
        """Note every field that has no place in ``contents``; empty ones hold nothing that could be lost."""
        if mapping.keys() <= known:
            return
        for key in mapping:
            if key not in known and mapping[key] not in EMPTY:
                self.lost(Code.FIELD_LEFT_OUT, at(path, key), "a field without a counterpart")


def at(path: str, key: str) -> str:
    """Return the JSON path of a key below a path; both may come from the data."""
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key[:_LONGEST_KEY]!r}]"
    return f"{path}.{key}" if path else key


_HINTS = {
    Code.BAD_ARGUMENTS: "Write the arguments as one JSON object, encoded once.",
    Code.BLANK_TEXT: "Nothing, unless the white space was meant.",
    Code.EMPTY_MESSAGE: "Write its text, or remove the message.",
    Code.FEW_SHOT_EXAMPLES: "Write each as a line of its own, if it is worth learning.",
    Code.FIELD_LEFT_OUT: "Nothing, unless the training relies on it.",
    Code.FIRST_TURN: "Start with a user message.",
    Code.FUNCTION_NAME: "Start with a letter or underscore; use at most 64 letters, digits, '_', '-', '.', ':'.",
    Code.INLINE_DATA: "Upload the file and name its gs:// URI.",
    Code.LAST_TURN: "End with the answer: it is what is learned.",
    Code.LATE_SYSTEM_MESSAGE: "Begin with the system messages, or split the conversation where they change.",
    Code.LINE_TOO_LONG: "One line holds one example.",
    Code.LONG_INTEGER: "Write it as text.",
    Code.MEDIA_TYPE: "Name the file with an extension of a type Gemini reads: png, jpg, jpeg, webp, heic or heif.",
    Code.MISSING_FIELD: "Add it.",
    Code.NOT_AN_OBJECT: "Write one JSON object per line, not one list for the whole file.",
    Code.PART_OF_PROMPT: "Join it into the question, and leave it empty.",
    Code.REFUSAL_AS_TEXT: "Nothing, if the model shall learn to decline in these words.",
    Code.SCHEMA_KEYWORD: "Say it in the description, if the model has to know.",
    Code.TRAINING_WEIGHT: (
        "Gemini learns every model turn alike: remove the turn, or convert with --weights keep to have it learned."
    ),
    Code.UNDECLARED_FUNCTION: "Declare the function in the line's tools.",
    Code.UNKNOWN_FORMAT: "Write question and answer as prompt and completion, or a conversation as messages.",
    Code.UNKNOWN_ROLE: "Correct the role.",
    Code.UNPAIRED_CALL: (
        "Let every call be followed by exactly one response before anybody else speaks; a call inside a text is none."
    ),
    Code.UNSUPPORTED_FORMAT: "Bring it into one of the formats that are converted.",
    Code.UNSUPPORTED_PART: "Say it in text, or leave it out.",
    Code.UNSUPPORTED_TOOL: "Only functions can be declared: remove the tool.",
    Code.WRONG_TYPE: "Correct its type.",
    Code.WRONG_URI: "Upload the file and name its gs:// or http(s):// URI.",
}
