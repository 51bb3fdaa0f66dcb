"""Recognise the formats that tuning files are written in elsewhere, or were written in for older models."""

from __future__ import annotations

import os
import shlex
from collections.abc import Set as AbstractSet
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any


class Format(StrEnum):
    """A known format that is not Gemini's ``contents``."""

    OPENAI = "openai"
    OPENAI_PROMPT = "openai-prompt"
    OPENAI_COMPLETION = "openai-completion"
    GEMINI_1_0 = "gemini-1.0"
    PALM = "palm"
    DEVELOPER_API = "developer-api"
    SHAREGPT = "sharegpt"
    ALPACA = "alpaca"
    INSTRUCTION_RESPONSE = "instruction-response"
    QUESTION_ANSWER = "question-answer"
    QUERY_RESPONSE = "query-response"
    PROMPT_RESPONSE = "prompt-response"
    INPUT_OUTPUT = "input-output"
    PREFERENCE = "preference"
    SELF_INSTRUCT = "self-instruct"
    PLAIN_TEXT = "plain-text"
    WRAPPED = "wrapped"

    @property
    def label(self) -> str:
        """What people call it, as it reads inside a sentence."""
        return _LABELS[self]

    @property
    def convertible(self) -> bool:
        """Whether ``gemini-tuning convert`` has a use for it."""
        return self not in _REMEDIES

    def remedy(self, reference: str) -> str:
        """Return what to do with a file in this format, as one sentence or two.

        :param reference: the file as the user named it, a local path or ``gs://`` URI.
        """
        return _REMEDIES.get(self) or f"{_BEFORE.get(self, '')}Run: {convert_command(reference)}"


# A text that is asked and one that answers it, under names that leave no doubt which is which.
PAIRS = {
    Format.OPENAI_COMPLETION: ("prompt", "completion"),
    Format.DEVELOPER_API: ("text_input", "output"),
    Format.ALPACA: ("instruction", "output"),
    Format.INSTRUCTION_RESPONSE: ("instruction", "response"),
    Format.QUESTION_ANSWER: ("question", "answer"),
    Format.QUERY_RESPONSE: ("query", "response"),
    Format.PROMPT_RESPONSE: ("prompt", "response"),
    Format.INPUT_OUTPUT: ("input", "output"),
}


_LONGEST_NAME = 255  # bytes, of a file on Linux and elsewhere


def convert_command(reference: str) -> str:
    """Return the command line that converts a file; its output lies beside a local one, and here for ``gs://``."""
    path = PurePosixPath(reference)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
    name = f"{stem}.gemini.jsonl"
    if not stem or len(os.fsencode(name)) > _LONGEST_NAME:
        name = "train.gemini.jsonl"
    target = path.with_name(name) if path.name else PurePosixPath(name)
    output = target.name if reference.startswith("gs://") else str(target)
    return f"gemini-tuning convert {as_argument(reference)} --to {as_argument(output)}"


def as_argument(file: str) -> str:
    r"""Return a file's name as a shell passes it on unchanged, and a command doesn't take it for an option.

    What can't be printed is written as an escape inside ``$'…'``, for a report shows it as one in any case.
    """
    name = f"./{file}" if file.startswith("-") else file
    if name.isprintable():
        return shlex.quote(name)
    return "$'" + "".join(map(_escaped, name)) + "'"


def _escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "\\'" else character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def recognise(document: object) -> Format | None:
    """Return the known format of one parsed line, or None: Gemini's own ``contents``, and everything unheard of.

    Looks at the fewest keys that tell the formats apart; a recognised line may still be full of faults. Of what is
    wrapped, a format that can't be converted counts for more than the wrapping.
    """
    if not isinstance(document, dict):
        return None
    if (key := wrapper(document)) is not None:
        inner = _bare(document[key])
        return Format.WRAPPED if inner is None or inner.convertible else inner
    return _bare(document)


def wrapper(document: dict[str, Any]) -> str | None:
    """Return the key an example is wrapped in, as evaluations have ``item``; None where anything stands beside it."""
    key, value = next(iter(document.items())) if len(document) == 1 else ("", None)
    return key if is_example(value) and not is_example(document) else None


def is_example(document: object) -> bool:
    """Whether an object is, unwrapped, in ``contents`` or in a known format that more than a key ``text`` tells."""
    return isinstance(document, dict) and ("contents" in document or _bare(document) not in {None, Format.PLAIN_TEXT})


def _bare(document: dict[str, Any]) -> Format | None:
    """Return the same as ``recognise`` of an object that is taken as it is."""
    if "contents" in document:
        return Format.PREFERENCE if "completions" in document else None
    messages = document.get("messages")
    if isinstance(messages, list):
        return _of_messages(document, messages)
    keys: AbstractSet[str] = document.keys()
    return next((known for some, known in _BY_KEYS if keys >= some), None) or (
        Format.PLAIN_TEXT if keys == {"text"} else None
    )


def _of_messages(document: dict[Any, Any], messages: list[Any]) -> Format:
    """Tell apart the formats that share the key ``messages``."""
    turns = [message for message in messages if isinstance(message, dict)]
    if any("author" in turn and "role" not in turn for turn in turns):
        return Format.PALM
    roles = [turn.get("role") for turn in turns]
    if any(speaker in _SHAREGPT for speaker in (*roles, *(turn.get("from") for turn in turns))):
        return Format.SHAREGPT
    if "model" in roles and not ("assistant" in roles or "tools" in document):
        return Format.GEMINI_1_0
    return Format.OPENAI if _answered(roles) else Format.OPENAI_PROMPT


def _answered(roles: list[Any]) -> bool:
    """Whether messages end with an answer, or hold none that could be answered; instructions may stand anywhere."""
    spoken = [role for role in roles if role not in _INSTRUCTING]
    return not spoken or spoken[-1] not in _ANSWERED


_INSTRUCTING = ("system", "developer")
_ANSWERED = ("user", "tool", "function")
_SHAREGPT = ("human", "gpt", "function_call", "observation")  # speakers that no other format has

# In this order: `prompt` stands in preference lines and in pairs, `output` in several.
_BY_KEYS: tuple[tuple[set[str], Format], ...] = (
    ({"input", "preferred_output"}, Format.PREFERENCE),
    ({"input", "non_preferred_output"}, Format.PREFERENCE),
    ({"chosen", "rejected"}, Format.PREFERENCE),
    ({"chosen_messages"}, Format.PREFERENCE),
    ({"rejected_messages"}, Format.PREFERENCE),
    ({"input_text"}, Format.PALM),
    ({"output_text"}, Format.PALM),
    ({"text_input"}, Format.DEVELOPER_API),
    ({"conversations"}, Format.SHAREGPT),
    ({"instruction", "instances"}, Format.SELF_INSTRUCT),
    *((set(pair), known) for known, pair in PAIRS.items()),
)

_LABELS = {known: f"pairs of {question} and {answer}" for known, (question, answer) in PAIRS.items()} | {
    Format.OPENAI: "OpenAI chat messages",
    Format.OPENAI_PROMPT: "OpenAI chat messages without an answer at the end",
    Format.OPENAI_COMPLETION: "OpenAI prompt and completion",
    Format.GEMINI_1_0: "gemini-1.0 messages",
    Format.PALM: "PaLM",
    Format.DEVELOPER_API: "Gemini Developer API text_input and output",
    Format.SHAREGPT: "ShareGPT conversations",
    Format.ALPACA: "Alpaca instruction and output",
    Format.PREFERENCE: "preference pairs",
    Format.SELF_INSTRUCT: "Self-Instruct tasks",
    Format.PLAIN_TEXT: "text without a question",
    Format.WRAPPED: "examples wrapped in an object with one key",
}

# What convert does not decide, told before the command.
_BEFORE = {
    Format.ALPACA: (
        "How instruction and input become one prompt is the author's choice: where input is not empty, "
        "join it into instruction and leave it empty. "
    ),
    Format.INSTRUCTION_RESPONSE: (
        "How instruction and context, or input, become one prompt is the author's choice: where it is not empty, "
        "join it into instruction and leave it empty. "
    ),
    Format.WRAPPED: "Only what stands under the key, such as item, belongs on the line; convert unwraps it. ",
}

# These are not converted, for the reason each sentence holds.
_REMEDIES = {
    Format.OPENAI_PROMPT: (
        "Prompts without answers are for reinforcement tuning; supervised tuning has nothing to learn from them: "
        "end messages with an answer, of the role assistant, or cut what stands behind the last one, and convert that."
    ),
    Format.PREFERENCE: (
        "Preference pairs are for preference tuning; for supervised tuning write the prompt and the preferred answer "
        "alone, as prompt and completion or as messages that end with the answer, and convert that."
    ),
    Format.SELF_INSTRUCT: (
        "A task may hold several examples, and how instruction and input become one prompt is the author's choice: "
        "write a line with prompt and completion for each of its instances, and convert that."
    ),
    Format.PLAIN_TEXT: (
        "Supervised tuning learns answers: write what is asked as prompt and what is answered as completion, "
        "and convert that."
    ),
}
