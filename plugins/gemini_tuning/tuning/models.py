"""The table of base models (``include/models.yaml``): what may be tuned, where, within which limits, at which price."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import did_you_mean, explain
from gemini_tuning.settings import include_root
from gemini_tuning.values import Value
from gemini_tuning.yaml_files import load_yaml


class Retirement(Value):
    """The date a model stops working; ``firm`` is false where Google only says "not before"."""

    date: dt.date
    firm: bool


class Limits(Value):
    """What the tuning service accepts: counts, bytes, tokens ("Supervised fine-tuning", limits table).

    ``validation_share`` is a share of the training examples; ``dropped_share`` the share of examples over a limit of
    their own (tokens, files) beyond which the job fails before it trains.
    """

    as_of: dt.date
    tokens_per_example: int
    training_examples: int
    multimodal_training_examples: int
    training_bytes: int
    validation_examples: int
    validation_share: float
    recommended_training_examples: int
    images_per_example: int
    audio_files_per_example: int
    videos_per_example: int
    pdfs_per_example: int
    dropped_share: float


class Price(Value):
    """USD per million training tokens, with the day it was read."""

    usd_per_million_tokens: float
    as_of: dt.date
    verified: bool


class ThinkingBudgets(Value):
    """The token budgets a model takes; ``can_be_off``: whether 0 is one of them."""

    least: int
    most: int
    can_be_off: bool


class Thinking(Value):
    """How thinking is kept lowest when a tuned model answers: tuning data holds no thoughts ("Thinking").

    ``levels`` and ``budgets`` say what the model takes at all.
    """

    budget: int | None = None
    level: str | None = None
    levels: tuple[str, ...] = ()
    budgets: ThinkingBudgets | None = None


class BaseModelInfo(Value):
    """One row of the table. Retired models carry no limits or price."""

    status: Literal["ga", "preview", "retired"]
    retires: Retirement
    successor: str | None = None
    modalities: tuple[str, ...] = ()
    adapter_sizes: tuple[int, ...] = ()
    tuning_locations: tuple[str, ...] | None = None
    serving_locations: dict[str, str] | None = None
    cmek: bool = True
    limits: Limits | None = None
    price: Price | None = None
    thinking: Thinking | None = None


class ModelTable(Value):
    """All base models known on ``as_of``; ``media_types`` are MIME types by modality."""

    as_of: dt.date
    source: str
    assumed_epochs: int
    media_types: dict[str, tuple[str, ...]] = {}  # noqa: RUF012  # Pydantic copies it
    models: dict[str, BaseModelInfo]

    @classmethod
    def load(cls, path: Path | None = None) -> ModelTable:
        """Read the table.

        :raises ConfigError: when the file is missing or malformed.
        """
        path = path or include_root() / "models.yaml"
        try:
            return cls.model_validate(load_yaml(path))
        except ValidationError as error:
            raise ConfigError(f"{path}: {explain(error, cls)}.") from None

    def tunable(self) -> list[str]:
        """Return the ids a form may offer: every model that isn't retired."""
        return [model_id for model_id, info in self.models.items() if info.status != "retired"]

    def find(self, model_id: str) -> BaseModelInfo | None:
        """Return the row of a base model, or None for an unknown id or a tuned model's resource name."""
        return self.models.get(model_id)


def is_tuned_model(base_model: str) -> bool:
    """Whether the base model is itself a tuned one (continuous tuning): ``projects/…/models/…``."""
    return base_model.startswith("projects/")


def check_tunable(
    table: ModelTable, base_model: str, adapter_size: int | None, location: str | None, today: dt.date
) -> list[str]:
    """Refuse what the service would refuse; return what a person should know (warnings, maybe none).

    :param location: where the job is to run; None = not decided yet.
    :raises ConfigError: retired model, adapter size the model doesn't have, location without tuning.
    """
    if location == "global":
        raise ConfigError("location 'global' offers no tuning; choose a region such as us-central1.")
    if is_tuned_model(base_model):
        return []
    info = table.find(base_model)
    if info is None:
        return [
            f"base model {base_model!r} is not in the models table of {table.as_of}"
            f"{did_you_mean(base_model, table.tunable())} No limit or price is known for it."
        ]
    if info.status == "retired":
        advice = f"; tune {info.successor!r} instead, with hyperparameters chosen anew" if info.successor else ""
        raise ConfigError(
            f"base model {base_model!r} was retired on {info.retires.date} and can't be tuned any more{advice}."
        )
    if adapter_size is not None and adapter_size not in info.adapter_sizes:
        sizes = ", ".join(map(str, info.adapter_sizes))
        raise ConfigError(
            f"adapter size {adapter_size} is not supported for {base_model}; choose one of {sizes}, "
            "or leave it unset for the service's recommendation."
        )
    if location and info.tuning_locations is not None and location not in info.tuning_locations:
        places = ", ".join(info.tuning_locations)
        raise ConfigError(f"{base_model} can't be tuned in {location}; choose one of {places}.")
    return _warnings(base_model, info, today)


def _warnings(base_model: str, info: BaseModelInfo, today: dt.date) -> list[str]:
    warnings = []
    if info.status == "preview":
        warnings.append(f"tuning {base_model} is in preview: no service level is promised.")
    if today >= info.retires.date:
        kind = "was to retire" if info.retires.firm else "may retire any day since"
        warnings.append(f"{base_model} {kind} {info.retires.date}; plan to move to a newer base model.")
    return warnings
