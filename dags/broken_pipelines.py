"""Reports broken pipeline files as this file's import error.

Airflow takes down every Dag of a file that has an import error, so the Dags of the good pipelines live in another
file, ``tuning_pipelines.py`` (Dag file only in name: it defines no Dag of Airflow's).
"""

from __future__ import annotations

from gemini_tuning.errors import ConfigError
from gemini_tuning.pipeline import load_pipelines
from gemini_tuning.settings import include_root

if _errors := load_pipelines(include_root() / "pipelines")[1]:
    raise ConfigError("\n".join(str(error) for error in _errors))
