"""Makes Airflow know the package's operator links. Nothing heavy belongs here: every task start loads it."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from gemini_tuning.links import VertexTuningJobLink


class GeminiTuningPlugin(AirflowPlugin):
    """The plugin of the ``gemini_tuning`` package."""

    name = "gemini_tuning"
    operator_extra_links: ClassVar = [VertexTuningJobLink()]
