"""What the learner reads of a request or of a dataset line: roles and texts. Parts that aren't text are passed over.

Long inputs are cut so that time and memory stay bounded: of each turn the first and the last
:data:`TURN_CHARACTERS` / 2 characters are read, and of a conversation the last :data:`TURNS` turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_cloud.vertex.learner.text import tokens_of

TURN_CHARACTERS = 3_000
TURNS = 12


@dataclass(frozen=True)
class Context:
    """Everything a model turn answers to: the system instruction and the turns before it, oldest first."""

    system: str
    turns: tuple[tuple[str, str], ...]
    """(role, text); the role is ``user`` or ``model``."""


def count_tokens(contents: Sequence[Any], system_instruction: Any = None) -> int:
    """Tokens of a request in the learner's own tokens, uncut."""
    texts = [_text(content) for content in contents]
    return sum(len(tokens_of(text)) for text in [*texts, _text(system_instruction)])


def context_of(contents: Sequence[Any], system_instruction: Any = None) -> Context:
    """The context of a request, cut to the limits of this module."""
    turns = tuple((_role(content), clip(_text(content))) for content in contents[-TURNS:])
    return Context(clip(_text(system_instruction)), turns)


def targets_of(example: Mapping[str, Any]) -> Iterator[tuple[Context, str]]:
    """Each model turn of a dataset line with the context before it. Lines of another shape yield nothing."""
    if not isinstance(example, Mapping):
        return
    contents = example.get("contents")
    if not isinstance(contents, Sequence) or isinstance(contents, str):
        return
    system = example.get("systemInstruction", example.get("system_instruction"))
    for number, content in enumerate(contents):
        text = _text(content)
        if number and text.strip() and _role(content) == "model":
            yield context_of(contents[:number], system), text


def clip(text: str) -> str:
    """The text, or its beginning and end when it is longer than :data:`TURN_CHARACTERS`."""
    if len(text) <= TURN_CHARACTERS:
        return text
    half = TURN_CHARACTERS // 2
    return f"{text[:half]} {text[-half:]}"


def _role(content: Any) -> str:
    return "model" if isinstance(content, Mapping) and content.get("role") == "model" else "user"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        return ""
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))
