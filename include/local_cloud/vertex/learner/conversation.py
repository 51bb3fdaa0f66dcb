"""What the learner reads of a request or of a dataset line: roles and texts. Parts that aren't text are passed over.

Long inputs are cut so that time and memory stay bounded: of each turn the first and the last
:data:`TURN_CHARACTERS` / 2 characters are read, and of a conversation the last :data:`TURNS` turns.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
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

    @property
    def characters(self) -> int:
        """Length of all texts."""
        return len(self.system) + sum(len(text) for _, text in self.turns)


def count_tokens(contents: Sequence[Any], system_instruction: Any = None) -> int:
    """Tokens of a request in the learner's own tokens, uncut."""
    texts = (text_of_content(content) for content in contents)
    return sum(len(tokens_of(text)) for text in texts) + _repeated_count(text_of_content(system_instruction))


@functools.lru_cache(maxsize=16)
def _repeated_count(text: str) -> int:
    """Tokens of a system instruction, which is often the same in a million rows."""
    return len(tokens_of(text))


def context_of(contents: Sequence[Any], system_instruction: Any = None) -> Context:
    """The context of a request, cut to the limits of this module."""
    turns = tuple(
        ("model" if is_model(content) else "user", clip(text_of_content(content))) for content in contents[-TURNS:]
    )
    return Context(clip(text_of_content(system_instruction)), turns)


def clip(text: str) -> str:
    """The text, or its beginning and end when it is longer than :data:`TURN_CHARACTERS`."""
    if len(text) <= TURN_CHARACTERS:
        return text
    half = TURN_CHARACTERS // 2
    return f"{text[:half]} {text[-half:]}"


def is_model(content: Any) -> bool:
    """Whether the model said this; turns without a role, such as function responses, are not the model's."""
    role = content.get("role") if isinstance(content, Mapping) else None
    return isinstance(role, str) and role.lower() == "model"


def text_of_content(content: Any) -> str:
    """The text parts of a content, a line each."""
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        return ""
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))
