"""The suite file: prompts, and what their answers must hold up to (the shape of promptfoo's tests)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import explain
from gemini_tuning.values import Value
from gemini_tuning.yaml_files import load_yaml

AssertionType = Literal[
    "equals",
    "contains",
    "icontains",
    "regex",
    "is-json",
    "not-equals",
    "not-contains",
    "not-icontains",
    "not-regex",
    "not-is-json",
]


class GenerationSettings(Value):
    """How answers are generated (``GenerationConfig`` of the Gemini API). Unset = the model's default."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)

    def merged_with(self, other: GenerationSettings) -> GenerationSettings:
        """Return these settings with those of ``other`` that are set."""
        return self.model_copy(update=other.model_dump(exclude_none=True))


class Assertion(Value):
    """One thing an answer must (or, with ``not-``, must not) be.

    ``value`` is the text or the regular expression; ``is-json`` takes none.
    """

    type: AssertionType
    value: str | None = None

    @model_validator(mode="after")
    def _value_fits_type(self) -> Self:
        kind = self.type.removeprefix("not-")
        if kind == "is-json":
            if self.value is not None:
                raise ValueError(f"{self.type} takes no value")
            return self
        if self.value is None:
            raise ValueError(f"{self.type} needs a value")
        if kind == "regex":
            try:
                re.compile(self.value)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return self


class SmokeTest(BaseModel):
    """One prompt and its assertions."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=True)

    description: str | None = None
    prompt: str = Field(min_length=1)
    system_instruction: str | None = Field(default=None, alias="systemInstruction")
    settings: GenerationSettings = GenerationSettings()
    assertions: tuple[Assertion, ...] = Field(alias="assert", min_length=1)


class SmokeSuite(BaseModel):
    """A file of smoke tests, with the settings and system instruction they share."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=True)

    description: str | None = None
    system_instruction: str | None = Field(default=None, alias="systemInstruction")
    settings: GenerationSettings = GenerationSettings()
    concurrency: int = Field(default=4, ge=1, le=32)
    tests: tuple[SmokeTest, ...] = Field(min_length=1)

    def settings_of(self, test: SmokeTest) -> GenerationSettings:
        """Return a test's settings: its own, else the suite's, else temperature 0, so that verdicts repeat."""
        return GenerationSettings(temperature=0).merged_with(self.settings).merged_with(test.settings)

    @classmethod
    def load(cls, path: Path) -> SmokeSuite:
        """Read a suite.

        :raises ConfigError: when the file is missing or malformed; names file, field and reason.
        """
        if not path.exists():
            raise ConfigError(f"smoke suite {path} does not exist; check the pipeline's 'smoke_suite'.")
        document = load_yaml(path)
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{path}: {explain(error, cls)}.") from None
