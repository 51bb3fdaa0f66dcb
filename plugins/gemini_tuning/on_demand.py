"""From the fields of the trigger form to a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemini_tuning.errors import ConfigError
from gemini_tuning.pipeline import Hyperparameters, PipelineConfig

NOT_ON_THE_FORM = frozenset({"hyperparameters", "wait", "schedule", "notifications", "checks"})


def pipeline_of_form(form: Mapping[str, Any]) -> PipelineConfig:
    """Return the pipeline a form describes; empty fields count as unset.

    :param form: the fields of ``PipelineConfig``, its hyperparameters beside the rest instead of nested.
    :raises ConfigError: naming field and reason.
    """
    if elsewhere := NOT_ON_THE_FORM & form.keys():
        raise ConfigError(
            f"trigger form: field {min(elsewhere)!r} has no place here; set epochs, adapter_size and "
            "learning_rate_multiplier by themselves, and the rest in a pipeline file."
        )
    filled = {field: value for field, value in form.items() if value not in (None, "")}
    chosen = {field: filled.pop(field) for field in Hyperparameters.model_fields if field in filled}
    return PipelineConfig.parse({**filled, "hyperparameters": chosen}, "trigger form")
