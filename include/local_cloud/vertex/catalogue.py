"""Base models: which exist, which can be tuned where, with which adapter sizes, and where the result is served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from local_cloud.vertex.errors import failed_precondition, invalid_argument, not_found

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_ADAPTER_SIZE = 4
"""Used when a job leaves the adapter size open. Google documents no default for the current models."""


@dataclass(frozen=True)
class Thinking:
    """How much a model can be told to think.

    Attributes:
        levels: the levels it takes; none before Gemini 3.
        least: smallest token budget but 0; None where no range is documented (Gemini 3).
        most: largest token budget.
        can_be_off: whether a budget of 0 is possible.
    """

    levels: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    can_be_off: bool = True


@dataclass(frozen=True)
class BaseModel:
    """One row of the models table; ``cmek``: whether a job may name a customer-managed encryption key."""

    name: str
    status: str
    adapter_sizes: tuple[int, ...] = ()
    tokens_per_example: int | None = None
    images_per_example: int | None = None
    dropped_share: float = 0.1
    tuning_locations: tuple[str, ...] | None = None
    serving_locations: dict[str, str] = field(default_factory=dict)
    cmek: bool = True
    thinking: Thinking | None = None

    @property
    def default_adapter_size(self) -> int:
        """The adapter size of a job that leaves it open."""
        supported = DEFAULT_ADAPTER_SIZE in self.adapter_sizes
        return DEFAULT_ADAPTER_SIZE if supported or not self.adapter_sizes else self.adapter_sizes[0]

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

    def for_tuning(self, name: str, location: str, *, retired_too: bool = False) -> BaseModel:
        """Return the base model of a new job.

        Raises:
            ApiError: what Vertex AI answers at creation: 400 for an unknown model and for the location ``global``, 404
                for a retired model (unless ``retired_too``) or a region that does not tune this one.
        """
        if location == "global":
            raise failed_precondition("Tuning is not supported in location global. Use a regional location.")
        model = self._models.get(name)
        if model is None:
            raise invalid_argument(f"Base model {name} is not supported.")
        retired = model.status == "retired" and not retired_too
        if retired or location not in (model.tuning_locations or (location,)):
            raise not_found(f"Base model {name} was not found in location {location}.")
        return model

    def base(self, name: str) -> BaseModel | None:
        """Return a model, retired or not, or None when it is unknown."""
        return self._models.get(name)

    def current(self) -> list[BaseModel]:
        """Return the models that are not retired."""
        return [model for model in self._models.values() if model.status != "retired"]

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
    limits = row.get("limits")
    limits = limits if isinstance(limits, dict) else {}
    return BaseModel(
        name=name,
        status=str(row["status"]),
        adapter_sizes=tuple(int(str(item)) for item in items("adapter_sizes")),
        tokens_per_example=limits.get("tokens_per_example"),
        images_per_example=limits.get("images_per_example"),
        dropped_share=limits.get("dropped_share", BaseModel.dropped_share),
        tuning_locations=locations,
        serving_locations={str(k): str(v) for k, v in serving.items()} if isinstance(serving, dict) else {},
        cmek=bool(row.get("cmek", True)),
        thinking=_thinking(row.get("thinking")),
    )


def _thinking(row: object) -> Thinking | None:
    if not isinstance(row, dict):
        return None
    budgets = row.get("budgets") or {}
    return Thinking(
        levels=tuple(row.get("levels") or ()),
        least=budgets.get("least"),
        most=budgets.get("most"),
        can_be_off=budgets.get("can_be_off", True),
    )
