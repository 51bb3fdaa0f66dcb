"""Where this installation keeps its data; the only place that reads the project's environment variables."""

from __future__ import annotations

import os
from pathlib import Path

INCLUDE_VARIABLE = "GEMINI_TUNING_INCLUDE"
DATA_ROOT_VARIABLE = "GEMINI_TUNING_DATA_ROOT"


def include_root() -> Path:
    """Return the folder of pipelines, suites, schemas and the models table.

    ``GEMINI_TUNING_INCLUDE``, or ``include/`` beside the ``plugins/`` folder this package lies in.
    """
    return _folder(INCLUDE_VARIABLE, Path(__file__).resolve().parents[2] / "include")


def data_root() -> Path:
    """Return the one folder local datasets may come from: ``GEMINI_TUNING_DATA_ROOT`` or ``include/datasets``."""
    return _folder(DATA_ROOT_VARIABLE, include_root() / "datasets")


def _folder(variable: str, default: Path) -> Path:
    configured = os.environ.get(variable)
    return Path(configured).expanduser().resolve() if configured else default
