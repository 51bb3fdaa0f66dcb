"""What can be chosen about the check of a dataset: in a pipeline file, or on the command line."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gemini_tuning.dataset.codes import ON_SECOND_READING, Severity, severities
from gemini_tuning.dataset.private.checksums import CHECKSUMS
from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import did_you_mean
from gemini_tuning.values import Value

PrivateKind = Literal["api-key", "iban", "card", "email", "phone"]
ALL_KINDS: tuple[PrivateKind, ...] = ("api-key", "iban", "card", "email", "phone")


def _known(chosen: dict[str, Severity]) -> dict[str, Severity]:
    try:
        severities(chosen)
    except ConfigError as error:
        raise ValueError(str(error).removeprefix("severities: ")) from None
    return chosen


def _checksum(name: str) -> str:
    if name not in CHECKSUMS:
        raise ValueError(
            f"there is no checksum {name!r}{did_you_mean(name, CHECKSUMS)}; known are {', '.join(CHECKSUMS)}"
        )
    return name


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class PrivatePattern(Value):
    """A kind of number that an organisation or a country has, such as a citizen number."""

    name: str = Field(min_length=1, description="What findings call it.")
    expression: Annotated[str, AfterValidator(_expression)] = Field(
        min_length=1, description="Regular expression; its first group, if any, is the number."
    )
    checksum: Annotated[str, AfterValidator(_checksum)] | None = Field(
        default=None,
        description="luhn, mod97, iban, mod11, mod11-10 or verhoeff: what its last digits must hold up to.",
    )


class PrivateData(Value):
    """Look for private data in the examples. Matches are never shown in full."""

    found: Literal["warn", "block"] = Field(default="warn", description="block: reject the dataset.")
    kinds: tuple[PrivateKind, ...] = Field(default=ALL_KINDS, description="What to look for.")
    patterns: tuple[PrivatePattern, ...] = ()


class Checks(Value):
    """How a dataset is checked."""

    severities: Annotated[dict[str, Severity], AfterValidator(_known)] = Field(
        default_factory=dict, description="Code -> error, warning or ignore, where it should not be the usual one."
    )
    second_reading: bool | None = Field(
        default=None,
        description="Read the examples once more: for near-duplicates, answers that repeat themselves, and validation "
        "unlike training. Unset: where that takes less than a minute.",
    )
    exact_tokens: bool = Field(
        default=False,
        description="Send examples to Vertex AI to have their tokens counted: a sample, and all that may be too long.",
    )
    private_data: PrivateData | None = Field(default=None, description="Unset: it is not looked for.")

    @model_validator(mode="after")
    def _errors_are_looked_for(self) -> Self:
        errors = [code for code in ON_SECOND_READING if self.severities.get(code) == "error"]
        if errors and self.second_reading is False:
            listed = " and ".join(errors)
            raise ValueError(
                f"the second reading is switched off, and without it not every {listed} is found: "
                "leave it on, or let that be a warning"
            )
        return self


USUAL = Checks()
