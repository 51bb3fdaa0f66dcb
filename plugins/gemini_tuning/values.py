"""The base of every value that passes from one stage to the next."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen, typed value that turns into JSON and back, so that XCom and the command line show the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types only: what Airflow stores as XCom and the command line prints."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read back what ``to_json`` wrote.

        :raises pydantic.ValidationError: when the document is of another shape.
        """
        return cls.model_validate(document)
