"""The commonest shapes of a good line as types, so that reading such a line already is most of checking it.

A second statement of a part of the schema: they may refuse what it accepts, never the reverse (a property test).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Text = Annotated[str, Meta(min_length=1)]


class TextPart(Struct, forbid_unknown_fields=True, gc=False):
    """A part that is text."""

    text: Text


class Instruction(Struct, forbid_unknown_fields=True, gc=False):
    """A system instruction."""

    parts: Annotated[tuple[TextPart, ...], Meta(min_length=1)]
    role: str | UnsetType = UNSET


class UserTurn(Struct, forbid_unknown_fields=True, gc=False):
    """One text by the user."""

    role: Literal["user"]
    parts: tuple[TextPart]


class ModelTurn(Struct, forbid_unknown_fields=True, gc=False):
    """One text by the model."""

    role: Literal["model"]
    parts: tuple[TextPart]


class Turn(Struct, forbid_unknown_fields=True, gc=False):
    """Any turn of text."""

    parts: Annotated[tuple[TextPart, ...], Meta(min_length=1)]
    role: Literal["user", "model"] | UnsetType = UNSET


class Pair(Struct, forbid_unknown_fields=True, gc=False):
    """One question and one answer: decoding it is the whole check of its shape and order."""

    contents: tuple[UserTurn, ModelTurn]
    systemInstruction: Instruction | UnsetType = UNSET


class Conversation(Struct, forbid_unknown_fields=True, gc=False):
    """Turns of text in any number and order."""

    contents: Annotated[tuple[Turn, ...], Meta(min_length=1)]
    systemInstruction: Instruction | UnsetType = UNSET
    system_instruction: Instruction | UnsetType = UNSET


decode_pair = msgspec.json.Decoder(Pair).decode
decode_conversation = msgspec.json.Decoder(Conversation).decode
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
