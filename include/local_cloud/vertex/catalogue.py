"""Base models: which exist, which can be tuned where, with which adapter sizes, and where the result is served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from local_cloud.vertex.errors import failed_precondition, invalid_argument, not_found
from local_cloud.vertex.schema import ADAPTER_SIZES

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_ADAPTER_SIZE = 4
"""Used when a job leaves the adapter size open. Google documents no default for the current models."""


@dataclass(frozen=True)
class BaseModel:
    """One row of the models table."""

    name: str
    status: str
    adapter_sizes: tuple[int, ...] = ()
    tuning_locations: tuple[str, ...] | None = None
    serving_locations: dict[str, str] = field(default_factory=dict)

    @property
    def default_adapter_size(self) -> int:
        """The adapter size of a job that leaves it open."""
        supported = DEFAULT_ADAPTER_SIZE in self.adapter_sizes
        return DEFAULT_ADAPTER_SIZE if supported else self.adapter_sizes[0]

    def serving_location(self, job_location: str) -> str:
        """Return where models tuned in ``job_location`` are served: Gemini 3 uses ``us`` and ``eu``."""
        return self.serving_locations.get(job_location, job_location)


class Catalogue:
    """The base models, by id."""

    def __init__(self, models: dict[str, BaseModel]) -> None:
        self._models = models

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Read the models table from a YAML file."""
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
        return cls({name: _base_model(name, row) for name, row in rows.items()})

    def for_tuning(self, name: str, location: str, adapter_size: str | None) -> BaseModel:
        """Return the base model of a new job.

        Raises:
            ApiError: what Vertex AI answers at creation: 400 for an unknown model or adapter size and for the
                location ``global``, 404 for a retired model or a region that does not tune this one.
        """
        if location == "global":
            raise failed_precondition("Tuning is not supported in location global. Use a regional location.")
        model = self._models.get(name)
        if model is None:
            raise invalid_argument(f"Base model {name} is not supported.")
        if model.status == "retired" or location not in (model.tuning_locations or (location,)):
            raise not_found(f"Base model {name} was not found in location {location}.")
        if adapter_size and ADAPTER_SIZES.get(adapter_size) not in model.adapter_sizes:
            raise invalid_argument("The adapter size is not supported for this base model.")
        return model

    def get(self, name: str) -> BaseModel | None:
        """Return a model that can still be called, or None when it is unknown or retired."""
        model = self._models.get(name)
        return None if model is None or model.status == "retired" else model


def _base_model(name: str, row: dict[str, object]) -> BaseModel:
    def items(key: str) -> list[object]:
        value = row.get(key) or []
        return value if isinstance(value, list) else []

    locations = tuple(str(item) for item in items("tuning_locations")) or None
    serving = row.get("serving_locations")
    return BaseModel(
        name=name,
        status=str(row["status"]),
        adapter_sizes=tuple(int(str(item)) for item in items("adapter_sizes")),
        tuning_locations=locations,
        serving_locations={str(k): str(v) for k, v in serving.items()} if isinstance(serving, dict) else {},
    )
