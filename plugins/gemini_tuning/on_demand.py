"""From the fields of the trigger form to a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gemini_tuning.pipeline import Hyperparameters, PipelineConfig


def pipeline_of_form(form: Mapping[str, Any]) -> PipelineConfig:
    """Return the pipeline a form describes; empty fields count as unset.

    :param form: the fields of ``PipelineConfig``, its hyperparameters beside the rest instead of nested.
    :raises ConfigError: naming field and reason.
    """
    filled = {field: value for field, value in form.items() if value not in (None, "")}
    chosen = {field: filled.pop(field) for field in Hyperparameters.model_fields if field in filled}
    return PipelineConfig.parse({**filled, "hyperparameters": chosen}, "trigger form")
