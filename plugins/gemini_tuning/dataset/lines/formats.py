"""Recognise the formats that tuning files are written in elsewhere, or were written in for older models."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any


class Format(StrEnum):
    """A known format that is not Gemini's ``contents``."""

    OPENAI = "openai"
    OPENAI_COMPLETION = "openai-completion"
    GEMINI_1_0 = "gemini-1.0"
    PALM = "palm"
    DEVELOPER_API = "developer-api"
    PREFERENCE = "preference"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"

    @property
    def label(self) -> str:
        """What people call it, as it reads inside a sentence."""
        return _LABELS[self]

    @property
    def convertible(self) -> bool:
        """Whether ``gemini-tuning convert`` reads it."""
        return self not in _REMEDIES

    def remedy(self, reference: str) -> str:
        """Return what to do with a file in this format, as one sentence.

        :param reference: the file as the user named it, a local path or ``gs://`` URI.
        """
        return _REMEDIES.get(self) or f"Run: {convert_command(reference)}"


def convert_command(reference: str) -> str:
    """Return the command line that converts a file; its output lies beside a local one, and here for ``gs://``."""
    path = PurePosixPath(reference)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    target = path.with_name(f"{stem or 'train'}.gemini.jsonl") if path.name else PurePosixPath("train.gemini.jsonl")
    output = target.name if reference.startswith("gs://") else str(target)
    return shlex.join(["gemini-tuning", "convert", reference, "--to", output])


def recognise(document: object) -> Format | None:
    """Return the known format of one parsed line, or None: Gemini's own ``contents``, and everything unheard of.

    Looks at the fewest keys that tell the formats apart; a recognised line may still be full of faults.
    """
    if not isinstance(document, dict):
        return None
    if "contents" in document:
        return Format.PREFERENCE if "completions" in document else None
    messages = document.get("messages")
    if isinstance(messages, list):
        return _of_messages(document, messages)
    return next((known for keys, known in _BY_KEYS if keys <= document.keys()), None)


def _of_messages(document: dict[Any, Any], messages: list[Any]) -> Format:
    """Tell apart the formats that share the key ``messages``."""
    turns = [message for message in messages if isinstance(message, dict)]
    if any("author" in turn and "role" not in turn for turn in turns):
        return Format.PALM
    roles = [turn.get("role") for turn in turns]
    if "model" in roles and not ("assistant" in roles or "tools" in document):
        return Format.GEMINI_1_0
    return Format.OPENAI


# In this order: `prompt` stands in preference lines and in completion lines, `output` in several.
_BY_KEYS = (
    ({"input", "preferred_output"}, Format.PREFERENCE),
    ({"input", "non_preferred_output"}, Format.PREFERENCE),
    ({"chosen", "rejected"}, Format.PREFERENCE),
    ({"prompt", "completion"}, Format.OPENAI_COMPLETION),
    ({"input_text"}, Format.PALM),
    ({"output_text"}, Format.PALM),
    ({"text_input"}, Format.DEVELOPER_API),
    ({"conversations"}, Format.SHAREGPT),
    ({"instruction", "output"}, Format.ALPACA),
)

_LABELS = {
    Format.OPENAI: "OpenAI chat messages",
    Format.OPENAI_COMPLETION: "OpenAI prompt and completion",
    Format.GEMINI_1_0: "gemini-1.0 messages",
    Format.PALM: "PaLM",
    Format.DEVELOPER_API: "Gemini Developer API text_input and output",
    Format.PREFERENCE: "preference pairs",
    Format.SHAREGPT: "ShareGPT conversations",
    Format.ALPACA: "Alpaca instruction and output",
}

# These are not converted, for the reason each sentence holds.
_REMEDIES = {
    Format.PREFERENCE: (
        "Preference pairs are for preference tuning; for supervised tuning write the preferred answer "
        "as the model turn that ends contents."
    ),
    Format.SHAREGPT: (
        "Its role names differ from file to file: rename conversations to messages, from to role and value to content, "
        "write the roles system, user and assistant, and convert that."
    ),
    Format.ALPACA: (
        "How instruction and input become one prompt is the author's choice: join them into prompt, "
        "rename output to completion, and convert that."
    ),
}
