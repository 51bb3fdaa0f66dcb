"""The base of every value that passes from one stage to the next."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import explain


class Value(BaseModel):
    """A frozen, typed value that turns into JSON and back, so that XCom and the command line show the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types only: what Airflow stores as XCom and the command line prints."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what ``to_json`` wrote, or what somebody wrote by hand.

        :raises ConfigError: when the document is of another shape; names every field and reason.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(f"{cls.__name__}: {explain(error, cls)}.") from None
